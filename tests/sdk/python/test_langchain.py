"""LangChain's chat model, which is built on the SDK and reads more members of an answer."""

import pytest
from conftest import CALLER_KEY, LUNER_URL
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@pytest.fixture
def model():
    return ChatOpenAI(model="gpt-4o", base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=0)


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def test_model_is_invoked(model):
    message = model.invoke("hello chain")
    assert message.content.endswith("You said: hello chain")
    assert message.usage_metadata["total_tokens"] > 0
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.anyio
async def test_model_is_invoked_async(model):
    assert (await model.ainvoke("hello async")).content.endswith("You said: hello async")


def test_model_streams(model):
    chunks = list(model.stream("hello stream"))
    assert len(chunks) > 3
    assert "".join(chunk.content for chunk in chunks).endswith("You said: hello stream")


def test_model_streams_its_usage(model):
    total = None
    for chunk in model.stream("hello usage", stream_usage=True):
        total = chunk if total is None else total + chunk
    assert total.usage_metadata["total_tokens"] > 0


def test_batch_keeps_its_order(model):
    prompts = [f"number {number}" for number in range(20)]
    answers = model.batch(prompts)
    assert [answer.content.partition("You said: ")[2] for answer in answers] == prompts


def test_bound_tool_is_called(model):
    message = model.bind_tools([get_weather]).invoke("what is the weather in Paris?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert get_weather.invoke(message.tool_calls[0]["args"]) == "rain in Paris"

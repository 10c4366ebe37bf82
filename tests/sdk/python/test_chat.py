"""Chat as applications use it: plain and streamed, synchronous and asynchronous, with tools."""

import json

import pytest
from conftest import eventually, user_message

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_plain_answer_is_complete(client):
    completion = client.chat.completions.create(model="gpt-4o", messages=user_message("hello there"))
    assert completion.object == "chat.completion"
    assert completion.model == "gpt-4o"
    assert completion.choices[0].message.content.endswith("You said: hello there")
    assert completion.choices[0].finish_reason == "stop"
    usage = completion.usage
    assert usage.prompt_tokens > 0 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.anyio
async def test_async_plain_answer_is_complete(async_client):
    completion = await async_client.chat.completions.create(model="gpt-4o", messages=user_message("hello async"))
    assert completion.choices[0].message.content.endswith("You said: hello async")


def test_non_ascii_text_arrives_unchanged(client):
    prompt = "Größe 漢字 🌙 \u2028 \\ \" \t end"
    completion = client.chat.completions.create(model="gpt-4o", messages=user_message(prompt))
    assert completion.choices[0].message.content.endswith(f"You said: {prompt}")
    chunks = client.chat.completions.create(model="gpt-4o", messages=user_message(prompt), stream=True)
    assert text_of(chunks).endswith(f"You said: {prompt}")


def test_long_prompt_passes(client):
    prompt = "x" * 1_000_000
    completion = client.chat.completions.create(model="gpt-4o", messages=user_message(prompt))
    assert completion.usage.prompt_tokens >= 250_000


def test_several_choices_pass(client):
    completion = client.chat.completions.create(model="gpt-4o", messages=user_message("thrice"), n=3)
    assert [choice.index for choice in completion.choices] == [0, 1, 2]


def test_stream_has_the_same_text_as_a_plain_answer(client):
    request = {"model": "gpt-4o", "messages": user_message("say it again")}
    whole = client.chat.completions.create(**request)
    chunks = list(client.chat.completions.create(**request, stream=True))
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_stream_has_no_usage_unless_requested(client):
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=user_message("no usage"), stream=True))
    assert all(chunk.choices for chunk in chunks), "the injected usage chunk was not removed"
    assert all(chunk.usage is None for chunk in chunks)


def test_stream_ends_with_usage_when_requested(client):
    request = {"model": "gpt-4o", "messages": user_message("with usage")}
    whole = client.chat.completions.create(**request).usage
    chunks = list(client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_arrives_piece_by_piece(client, mock):
    stream = client.chat.completions.create(
        model="gpt-4o+words=20+chunk-delay=50", messages=user_message("slowly"), stream=True
    )
    first = next(stream)
    # Independent of timing: the first chunk has arrived, and the provider has not yet sent the last.
    assert mock.entries()[0]["done"] is False
    pieces = [choice.delta.content for chunk in [first, *stream] for choice in chunk.choices if choice.delta.content]
    assert len(pieces) == 20


@pytest.mark.anyio
async def test_async_stream_arrives_piece_by_piece(async_client, mock):
    stream = await async_client.chat.completions.create(
        model="gpt-4o+words=20+chunk-delay=50", messages=user_message("slowly"), stream=True
    )
    chunks = [await anext(stream)]
    assert mock.entries()[0]["done"] is False
    chunks += [chunk async for chunk in stream]
    assert sum(1 for chunk in chunks if chunk.choices[0].delta.content) == 20


def test_streaming_helper_assembles_the_answer(client):
    with client.chat.completions.stream(model="gpt-4o", messages=user_message("helper")) as stream:
        kinds = {event.type for event in stream}
        completion = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert completion.choices[0].message.content.endswith("You said: helper")


def test_closing_a_stream_cancels_it_at_the_provider(client, mock):
    stream = client.chat.completions.create(
        model="gpt-4o+words=2000+chunk-delay=50", messages=user_message("too long"), stream=True
    )
    next(stream)
    stream.close()
    entry = eventually(lambda: mock.entries()[0]["done"] and mock.entries()[0], "the provider sees the caller leave")
    assert entry["peer_closed_ms"] is not None
    assert entry["complete"] is False


@pytest.mark.anyio
async def test_closing_an_async_stream_cancels_it_at_the_provider(async_client, mock):
    stream = await async_client.chat.completions.create(
        model="gpt-4o+words=2000+chunk-delay=50", messages=user_message("too long"), stream=True
    )
    await anext(stream)
    await stream.close()
    entry = eventually(lambda: mock.entries()[0]["done"] and mock.entries()[0], "the provider sees the caller leave")
    assert entry["peer_closed_ms"] is not None


def test_tool_is_called(client):
    completion = client.chat.completions.create(
        model="gpt-4o", messages=user_message("what is the weather in Paris?"), tools=[WEATHER]
    )
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    answered = [
        *user_message("what is the weather in Paris?"),
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    completion = client.chat.completions.create(model="gpt-4o", messages=answered, tools=[WEATHER])
    assert completion.choices[0].finish_reason == "stop"


def test_tool_call_is_streamed(client):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o", messages=user_message("what is the weather in Paris?"), tools=[WEATHER], stream=True
        )
    )
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "get_weather"
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Paris"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_parsed_answer_follows_its_schema(client):
    completion = client.chat.completions.parse(
        model="gpt-4o",
        messages=user_message("in JSON"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}},
        },
    )
    assert list(json.loads(completion.choices[0].message.content)) == ["city"]

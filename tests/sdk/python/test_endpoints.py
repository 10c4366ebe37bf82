"""The other endpoints: models, embeddings, completions, responses."""

import base64
import struct

import openai
import pytest
from conftest import error_code


def test_models_are_listed(client, mock, luner_only):
    models = {model.id: model for model in client.models.list()}
    assert {"gpt-4o", "gpt-4o-mini", "text-embedding-3-small"} <= set(models)
    assert models["gpt-4o"].object == "model"
    assert mock.entries() == [], "the list comes from the config, not from a provider"


def test_model_is_retrieved(client):
    model = client.models.retrieve("gpt-4o")
    assert (model.id, model.object) == ("gpt-4o", "model")


def test_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert error_code(caught.value) == "model_not_found"


def test_embeddings_agree_in_floats_and_base64(client):
    request = {"model": "text-embedding-3-small", "input": ["one", "two"]}
    # By default, the SDK requests base64 and decodes it.
    decoded = client.embeddings.create(**request)
    floats = client.embeddings.create(**request, encoding_format="float")
    encoded = client.embeddings.create(**request, encoding_format="base64")
    assert [item.index for item in floats.data] == [0, 1]
    for by_default, plain, coded in zip(decoded.data, floats.data, encoded.data, strict=True):
        raw = base64.b64decode(coded.embedding)
        assert by_default.embedding == pytest.approx(plain.embedding, abs=1e-6)
        assert by_default.embedding == list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert floats.usage.prompt_tokens > 0


@pytest.mark.anyio
async def test_async_embeddings_are_returned(async_client):
    answer = await async_client.embeddings.create(model="text-embedding-3-small", input="one", dimensions=8)
    assert len(answer.data[0].embedding) == 8


def test_completion_is_returned_plain_and_streamed(client):
    request = {"model": "gpt-3.5-turbo-instruct", "prompt": "once upon"}
    completion = client.completions.create(**request)
    assert completion.choices[0].text.endswith("You said: once upon")
    assert completion.usage.total_tokens > 0
    chunks = list(client.completions.create(**request, stream=True))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == completion.choices[0].text
    assert all(chunk.usage is None for chunk in chunks)


def test_response_is_complete(client):
    response = client.responses.create(model="gpt-4o", input="hello responses")
    assert response.status == "completed"
    assert response.output_text.endswith("You said: hello responses")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_response_is_streamed(client):
    events = list(client.responses.create(model="gpt-4o", input="hello stream", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text
    assert text.endswith("You said: hello stream")
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.anyio
async def test_async_response_is_streamed(async_client):
    stream = await async_client.responses.create(model="gpt-4o", input="hello async", stream=True)
    events = [event async for event in stream]
    assert events[-1].response.output_text.endswith("You said: hello async")


def test_unsupported_endpoint_is_not_found(client, luner_only):
    with pytest.raises(openai.NotFoundError) as caught:
        client.files.list()
    assert error_code(caught.value) == "not_found"

"""Each failure raises the SDK's exception for it, and no truncated stream passes for a complete one."""

import openai
import pytest
from conftest import CALLER_KEY, LUNER_PID, LUNER_URL, error_code, eventually, user_message


def chat(client, model, **more):
    return client.chat.completions.create(model=model, messages=user_message("please fail"), **more)


def test_unknown_model_raises_not_found(client, luner_only):
    with pytest.raises(openai.NotFoundError) as caught:
        chat(client, "no-such-model")
    assert error_code(caught.value) == "model_not_found"
    assert set(caught.value.body) >= {"message", "type", "param", "code"}
    assert caught.value.type == "invalid_request_error"


@pytest.mark.anyio
async def test_unknown_model_raises_not_found_async(async_client, luner_only):
    with pytest.raises(openai.NotFoundError):
        await chat(async_client, "no-such-model", stream=True)


def test_malformed_json_raises_bad_request(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, content=b'{"model": "gpt-4o", "messages": [')
    if LUNER_PID:
        assert error_code(caught.value) == "invalid_json"


def test_repeated_key_raises_bad_request(client, mock, luner_only):
    body = b'{"model": "gpt-4o-mini", "messages": [], "model": "gpt-4o"}'
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, content=body)
    assert error_code(caught.value) == "duplicate_key"
    assert mock.entries() == []


def test_messages_of_the_wrong_type_raise_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        chat(client, "gpt-4o", extra_body={"messages": "not a list"})


def test_providers_429_raises_rate_limit_error_with_its_retry_after(client):
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, "gpt-4o+fault=rate-limit=7")
    assert caught.value.response.headers["retry-after"] == "7"


def test_providers_4xx_passes_through(client):
    with pytest.raises(openai.UnprocessableEntityError):
        chat(client, "gpt-4o+fault=status=422")


@pytest.mark.parametrize("stream", [False, True])
def test_providers_500_raises_internal_server_error(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, "gpt-4o+fault=status=500", stream=stream)
    assert caught.value.status_code >= 500
    assert set(caught.value.body) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True])
def test_refused_connection_raises_502(client, luner_only, stream):
    with pytest.raises(openai.APIStatusError) as caught:
        chat(client, "refused", stream=stream)
    assert (caught.value.status_code, error_code(caught.value)) == (502, "provider_error")
    assert caught.value.type == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_silent_provider_raises_504(client, mock, luner_only, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, "gpt-4o+fault=hang", stream=stream)
    assert (caught.value.status_code, error_code(caught.value)) == (504, "upstream_timeout")
    assert caught.value.type == "timeout"
    entry = eventually(lambda: mock.entries()[0]["done"] and mock.entries()[0], "luner closes the provider's connection")
    assert entry["peer_closed_ms"] is not None


def test_sdk_retries_succeed_once_the_provider_recovers(mock):
    mock.arm("status=503", times=2)
    with openai.OpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=3) as client:
        completion = chat(client, "recovers")
    assert completion.choices[0].message.content.endswith("You said: please fail")
    assert [entry["status"] for entry in mock.entries()] == [503, 503, 200]


def test_retry_by_luner_hides_a_provider_error(client, mock, luner_only):
    mock.arm("status=500", times=1)
    assert chat(client, "retried").choices[0].finish_reason == "stop"
    assert [entry["status"] for entry in mock.entries()] == [500, 200]


@pytest.mark.parametrize("fault", ["close-mid-stream=3", "reset-mid-stream=3", "no-done"])
def test_truncated_stream_raises(client, fault):
    if fault == "no-done" and not LUNER_PID:
        pytest.skip("the SDK alone takes this for a regular end; only luner reports it")
    received = []
    # luner sends an error event, which the SDK raises. Without luner, the transport fails.
    with pytest.raises(openai.APIError) as caught:
        received.extend(chat(client, f"gpt-4o+fault={fault}+chunk-delay=20", stream=True))
    if LUNER_PID:
        assert type(caught.value) is openai.APIError, "an error event, not only a broken connection"
    assert received, "the events before the break are delivered"


@pytest.mark.anyio
async def test_truncated_async_stream_raises(async_client):
    with pytest.raises(openai.APIError):
        async for _ in await chat(async_client, "gpt-4o+fault=close-mid-stream=3", stream=True):
            pass


def test_truncated_response_stream_raises(client):
    with pytest.raises(openai.APIError):
        for _ in client.responses.create(model="gpt-4o+fault=close-mid-stream=3", input="break off", stream=True):
            pass

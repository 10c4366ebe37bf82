"""Each way to fail arrives as the exception that the SDK has for it, and never as silence."""

import openai
import pytest
from conftest import CALLER_KEY, LUNER_PID, LUNER_URL, code_of, eventually, said


def chat(client, model, **more):
    return client.chat.completions.create(model=model, messages=said("please fail"), **more)


def test_an_unknown_model_is_not_found(client, luner_only):
    with pytest.raises(openai.NotFoundError) as caught:
        chat(client, "no-such-model")
    assert code_of(caught.value) == "model_not_found"
    assert set(caught.value.body) >= {"message", "type", "param", "code"}
    assert caught.value.type == "invalid_request_error"


@pytest.mark.anyio
async def test_an_unknown_model_is_not_found_async(async_client, luner_only):
    with pytest.raises(openai.NotFoundError):
        await chat(async_client, "no-such-model", stream=True)


def test_a_body_that_is_not_json_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, content=b'{"model": "gpt-4o", "messages": [')
    if LUNER_PID:
        assert code_of(caught.value) == "invalid_json"


def test_a_key_that_stands_twice_is_a_bad_request(client, mock, luner_only):
    body = b'{"model": "gpt-4o-mini", "messages": [], "model": "gpt-4o"}'
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", cast_to=object, content=body)
    assert code_of(caught.value) == "duplicate_key"
    assert mock.entries() == []


def test_messages_of_the_wrong_shape_are_a_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        chat(client, "gpt-4o", extra_body={"messages": "not a list"})


def test_a_providers_429_is_a_rate_limit_error_with_its_retry_after(client):
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, "gpt-4o+fault=rate-limit=7")
    assert caught.value.response.headers["retry-after"] == "7"


def test_a_providers_own_4xx_passes_through(client):
    with pytest.raises(openai.UnprocessableEntityError):
        chat(client, "gpt-4o+fault=status=422")


@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_500_is_an_internal_server_error(client, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, "gpt-4o+fault=status=500", stream=stream)
    assert caught.value.status_code >= 500
    assert set(caught.value.body) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_connection_is_a_502(client, luner_only, stream):
    with pytest.raises(openai.APIStatusError) as caught:
        chat(client, "refused", stream=stream)
    assert (caught.value.status_code, code_of(caught.value)) == (502, "provider_error")
    assert caught.value.type == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_never_answers_is_a_504(client, mock, luner_only, stream):
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, "gpt-4o+fault=hang", stream=stream)
    assert (caught.value.status_code, code_of(caught.value)) == (504, "upstream_timeout")
    assert caught.value.type == "timeout"
    entry = eventually(lambda: mock.entries()[0]["done"] and mock.entries()[0], "luner hung up on the provider")
    assert entry["peer_closed_ms"] is not None


def test_the_sdks_retries_overcome_a_provider_that_recovers(mock):
    mock.arm("status=503", times=2)
    with openai.OpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=3) as client:
        completion = chat(client, "recovers")
    assert completion.choices[0].message.content.endswith("You said: please fail")
    assert [entry["status"] for entry in mock.entries()] == [503, 503, 200]


def test_luners_own_retry_spares_the_caller_an_error(client, mock, luner_only):
    mock.arm("status=500", times=1)
    assert chat(client, "retried").choices[0].finish_reason == "stop"
    assert [entry["status"] for entry in mock.entries()] == [500, 200]


@pytest.mark.parametrize("fault", ["close-mid-stream=3", "reset-mid-stream=3", "no-done"])
def test_a_stream_that_breaks_off_never_ends_silently(client, fault):
    if fault == "no-done" and not LUNER_PID:
        pytest.skip("the SDK itself takes it for an end; only luner says that it is none")
    received = []
    # With luner an error event says why; the SDK raises it as such. Without, the transport fails.
    with pytest.raises(openai.APIError) as caught:
        received.extend(chat(client, f"gpt-4o+fault={fault}+chunk-delay=20", stream=True))
    if LUNER_PID:
        assert type(caught.value) is openai.APIError, "an error event, not a broken connection alone"
    assert received, "what came before the break is delivered"


@pytest.mark.anyio
async def test_an_async_stream_that_breaks_off_never_ends_silently(async_client):
    with pytest.raises(openai.APIError):
        async for _ in await chat(async_client, "gpt-4o+fault=close-mid-stream=3", stream=True):
            pass


def test_a_response_stream_that_breaks_off_never_ends_silently(client):
    with pytest.raises(openai.APIError):
        for _ in client.responses.create(model="gpt-4o+fault=close-mid-stream=3", input="break off", stream=True):
            pass

"""Headers that luner adds to an answer, and headers that it does not forward to the provider."""

import os

import openai
import pytest
from conftest import CALLER_KEY, LUNER_URL, user_message

pytestmark = pytest.mark.usefixtures("luner_only")


def test_answer_has_trace_provider_model_and_cache_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user_message("headers"))
    assert raw.headers["X-Luner-Trace-Id"]
    assert raw.headers["X-Luner-Provider"] == "plain"
    assert raw.headers["X-Luner-Model"] == "gpt-4o"
    assert raw.headers["X-Luner-Cache"] == "BYPASS"
    assert raw.parse()._request_id == raw.headers["X-Request-Id"] == raw.request_id


def test_stream_has_trace_provider_and_model_headers(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user_message("headers"), stream=True)
    assert raw.headers["X-Luner-Trace-Id"] and raw.headers["X-Request-Id"]
    assert (raw.headers["X-Luner-Provider"], raw.headers["X-Luner-Model"]) == ("plain", "gpt-4o")
    assert "X-Luner-Cost-Usd" not in raw.headers, "the cost is not known when a stream starts"
    assert len(list(raw.parse())) > 1


def test_request_id_of_the_caller_is_kept(client):
    request = {"model": "gpt-4o", "messages": user_message("mine")}
    completion = client.chat.completions.create(**request, extra_headers={"X-Request-Id": "mine-42"})
    assert completion._request_id == "mine-42"


def test_trace_of_the_caller_is_joined(client):
    trace = os.urandom(16).hex()
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=user_message("trace"), extra_headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )
    assert raw.headers["X-Luner-Trace-Id"] == trace


def test_errors_have_a_request_id(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=user_message("lost"))
    assert caught.value.request_id


def test_key_and_identity_of_the_caller_never_reach_the_provider(mock):
    identity = {
        "X-User-ID": "alice-canary",
        "X-Luner-User": "bob-canary",
        "X-Tenant-ID": "acme-canary",
        "X-Luner-Tenant": "umbrella-canary",
        "X-Luner-Agent": "agent-canary",
    }
    with openai.OpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, default_headers=identity) as client:
        client.chat.completions.create(model="gpt-4o", messages=user_message("who am I?"))
        list(client.chat.completions.create(model="gpt-4o", messages=user_message("who am I?"), stream=True))
        client.embeddings.create(model="text-embedding-3-small", input="who am I?")
        client.responses.create(model="gpt-4o", input="who am I?")
    entries = mock.entries()
    assert len(entries) == 4
    for entry in entries:
        headers = [(name.lower(), value) for name, value in entry["headers"]]
        assert [value for name, value in headers if name == "authorization"] == ["Bearer sk-provider-canary-8c1f"]
        assert not {name for name, _ in headers} & {name.lower() for name in identity}
        assert not [value for _, value in headers if CALLER_KEY in value or value in identity.values()]

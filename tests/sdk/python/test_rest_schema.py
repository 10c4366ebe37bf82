"""The REST API against its own description: schemathesis makes calls up from it, sane and odd ones, for a bounded time."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from conftest import CALLER_KEY, LUNER_URL, SETTLE_S, eventually, said

# Arbitrary: the examples, the corners of every parameter, and some seconds of chance.
EXAMPLES = 15
RUN_S = 60
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def ask(path, method="GET"):
    request = urllib.request.Request(LUNER_URL + path, method=method)
    with urllib.request.urlopen(request, timeout=SETTLE_S) as answer:
        body = answer.read()
        return json.loads(body) if body else None


@pytest.fixture
def seeded(client, luner_only):
    """Some history: answers, a hit, an unknown model, a run of two calls. Afterwards, no policy of a made-up call is left."""
    run = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Luner-Agent": "planner"}
    for headers in ({"X-Luner-User": "ann"}, {"X-Luner-User": "ann"}, run, run):
        client.chat.completions.create(
            model="gpt-4o", messages=said("the same again"), temperature=0, extra_headers=headers
        )
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=said("hello"))
    eventually(lambda: ask("/api/traces?q=0af7651916cd43dd")["total"] == 1, "the run is stored")
    yield
    for policy in ask("/api/policies")["items"]:
        ask(f"/api/policies/{policy['id']}", "DELETE")


def test_no_call_fails_and_no_answer_is_other_than_described(seeded, tmp_path):
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{LUNER_URL}/api/openapi.json",
        f"--checks={CHECKS}",
        f"--max-examples={EXAMPLES}",
        "--phases=examples,coverage,fuzzing",
        # It has no end.
        "--exclude-path=/api/traces/stream",
        "--seed=7",
        "--no-color",
    ]
    # It leaves notes where it runs.
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert CALLER_KEY not in done.stdout

"""The REST API against its OpenAPI document: schemathesis generates valid and invalid calls from it, for a limited time."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from conftest import CALLER_KEY, LUNER_URL, WAIT_S, eventually, user_message

# Arbitrary: enough for the examples, the boundary values of every parameter, and some seconds of random calls.
EXAMPLES = 15
RUN_S = 60
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def call(path, method="GET"):
    request = urllib.request.Request(LUNER_URL + path, method=method)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        body = answer.read()
        return json.loads(body) if body else None


@pytest.fixture
def seeded(client, luner_only):
    """Some history: answers, a cache hit, an unknown model, a run of two calls. Afterwards, deletes policies of generated calls."""
    run = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Luner-Agent": "planner"}
    for headers in ({"X-Luner-User": "ann"}, {"X-Luner-User": "ann"}, run, run):
        client.chat.completions.create(
            model="gpt-4o", messages=user_message("the same again"), temperature=0, extra_headers=headers
        )
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="no-such-model", messages=user_message("hello"))
    eventually(lambda: call("/api/traces?q=0af7651916cd43dd")["total"] == 1, "the run is stored")
    yield
    for policy in call("/api/policies")["items"]:
        call(f"/api/policies/{policy['id']}", "DELETE")


def test_generated_calls_get_the_described_answers(seeded, tmp_path):
    command = [
        Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{LUNER_URL}/api/openapi.json",
        f"--checks={CHECKS}",
        f"--max-examples={EXAMPLES}",
        "--phases=examples,coverage,fuzzing",
        # This stream never ends.
        "--exclude-path=/api/traces/stream",
        "--seed=7",
        "--no-color",
    ]
    # schemathesis writes files to its working directory.
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert CALLER_KEY not in done.stdout

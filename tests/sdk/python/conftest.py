"""Shared by the tests: clients of a running luner, and the controls of the mock provider. Run through tests/sdk/run.sh."""

import json
import os
import time
import urllib.request

import openai
import pytest

# Otherwise LangChain would call its tracing service if this machine has a key for it.
os.environ["LANGSMITH_TRACING"] = "false"

# Longest wait for an effect after a request. Arbitrary and generous: nothing is measured with it.
WAIT_S = 30
# A client's timeout for any one byte, so that a hanging gateway fails one test and not the whole run. Arbitrary.
CLIENT_TIMEOUT_S = 45

try:
    LUNER_URL, MOCK_URL, CALLER_KEY = (os.environ[name] for name in ("LUNER_URL", "MOCK_URL", "CALLER_KEY"))
except KeyError as missing:
    pytest.exit(f"{missing} is not set; run tests/sdk/run.sh python", returncode=2)
# Unset when the clients talk to a mock directly (SDK_BASE_URL), for the development of these tests.
LUNER_PID = int(os.environ.get("LUNER_PID", 0)) or None


class Mock:
    """The provider behind luner: arms faults and returns its ledger."""

    def arm(self, fault, times=1):
        self._call("POST", "/mock/fault", {"fault": fault, "times": times})

    def entries(self):
        return self._call("GET", "/mock/ledger")["entries"]

    def in_flight(self):
        return self._call("GET", "/mock/ledger")["totals"]["in_flight"]

    def reset(self):
        self._call("DELETE", "/mock/fault")
        self._call("DELETE", "/mock/ledger")

    def _call(self, method, path, body=None):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(MOCK_URL + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return json.load(answer)


def eventually(condition, what):
    """Waits for the condition's first true value and returns it. Fails if none comes in time."""
    end = time.monotonic() + WAIT_S
    while not (value := condition()):
        assert time.monotonic() < end, f"did not happen within {WAIT_S} s: {what}"
        time.sleep(0.02)
    return value


def user_message(prompt):
    """One user message."""
    return [{"role": "user", "content": prompt}]


def error_code(error):
    return (error.body or {}).get("code")


@pytest.fixture(autouse=True)
def mock():
    mock = Mock()
    mock.reset()
    yield mock
    eventually(lambda: mock.in_flight() == 0, "no call of this test is in flight at the provider")


@pytest.fixture
def luner_only():
    if LUNER_PID is None:
        pytest.skip("only luner does this, and SDK_BASE_URL points to something else")


@pytest.fixture
def client():
    with openai.OpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=0, timeout=CLIENT_TIMEOUT_S) as client:
        yield client


@pytest.fixture
async def async_client():
    async with openai.AsyncOpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=0, timeout=CLIENT_TIMEOUT_S) as client:
        yield client


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

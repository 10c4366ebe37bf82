"""What the tests share: clients of a running luner, and the mock provider's controls. Run through tests/sdk/run.sh."""

import json
import os
import time
import urllib.request

import openai
import pytest

# LangChain would otherwise ask its tracing service, if this machine has a key for it.
os.environ["LANGSMITH_TRACING"] = "false"

# How long something may take that happens by itself, after a request. Arbitrary, generous: nothing is measured with it.
SETTLE_S = 30
# How long a client waits for any one byte, so that a gateway that hangs fails a test and not the run. Arbitrary.
HANG_S = 45

try:
    LUNER_URL, MOCK_URL, CALLER_KEY = (os.environ[name] for name in ("LUNER_URL", "MOCK_URL", "CALLER_KEY"))
except KeyError as missing:
    pytest.exit(f"{missing} is not set; run tests/sdk/run.sh python", returncode=2)
# Unset when the clients talk to a mock directly (SDK_BASE_URL), which is for developing the tests.
LUNER_PID = int(os.environ.get("LUNER_PID", 0)) or None


class Mock:
    """The provider behind luner: arms faults, and tells what it saw."""

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
        with urllib.request.urlopen(request, timeout=SETTLE_S) as answer:
            return json.load(answer)


def eventually(condition, what):
    """Returns the condition's first true value; fails if none comes."""
    end = time.monotonic() + SETTLE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {SETTLE_S} s: {what}"
        time.sleep(0.02)
    return value


def said(prompt):
    """One user message."""
    return [{"role": "user", "content": prompt}]


def code_of(error):
    return (error.body or {}).get("code")


@pytest.fixture(autouse=True)
def mock():
    mock = Mock()
    mock.reset()
    yield mock
    eventually(lambda: mock.in_flight() == 0, "no call of this test is open at the provider any longer")


@pytest.fixture
def luner_only():
    if LUNER_PID is None:
        pytest.skip("only luner does this, and SDK_BASE_URL points elsewhere")


@pytest.fixture
def client():
    with openai.OpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=0, timeout=HANG_S) as client:
        yield client


@pytest.fixture
async def async_client():
    async with openai.AsyncOpenAI(base_url=f"{LUNER_URL}/v1", api_key=CALLER_KEY, max_retries=0, timeout=HANG_S) as client:
        yield client


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

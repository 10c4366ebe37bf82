"""Runs every example against `luner demo`. Runs the tour also against a gateway with an admin token, and without any gateway.

    .venv/bin/python tests/examples/run.py

scripts/sdk-env.sh and scripts/examples-env.sh install what the examples need. LUNER_IO chooses the driver, LUNER_BIN the binary.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sdk"))
from launch import PROVIDER_KEY, STOP_S, Log, binary, mock, wait_until_healthy  # noqa: E402

EXAMPLES = ROOT / "examples"
TOUR = [sys.executable, "-u", EXAMPLES / "production-demo/demo.py"]
# Timeout of one example. Arbitrary, and generous enough for a debug build on a busy machine.
TIMEOUT_S = 180
SECTIONS = ["Health", "Three agents, one trace", "The same question twice", "A provider's rate limit",
            "Policies: create, enforce, change, remove", "Metrics", "Recent traces", "Streaming"]
TOKEN = "examples-admin-token-5f21c9"

CONFIG_WITH_TOKEN = """\
version: v1
server: {{ listen: "127.0.0.1:0", workers: 1, admin: {{ token: {token} }} }}
providers:
  - {{ name: openai, base_url: "{mock}/v1", api_key: {key}, models: [gpt-4o, gpt-4o-mini] }}
  - {{ name: real, base_url: "https://llm.invalid/v1", api_key: {key}, models: [never-asked] }}
cache: {{ enabled: {cache} }}
storage: {{ sqlite: {{ path: "{folder}/luner.db" }} }}
"""


def main():
    with tempfile.TemporaryDirectory(prefix="luner-examples-") as folder:
        folder = Path(folder)
        with demo(folder) as url:
            for check in (tour, interrupted_tour, langchain, node, vercel_ai_sdk, curl, bench):
                say(check.__name__.replace("_", " "))
                check(url)
        with mock(folder) as provider:
            with gateway_with_token(folder, provider, "true") as url:
                say("tour of a gateway with a token")
                tour_with_token(url)
                say("bench of a gateway in front of a real provider")
                bench_refuses_to_spend(url)
            with gateway_with_token(folder, provider, "false") as url:
                say("tour of a gateway without a cache")
                text = run(TOUR, url, code=1, LUNER_ADMIN_TOKEN=TOKEN)
                expect_in(text, "the first call should be a cache MISS")
        say("tour without a gateway")
        tour_without_gateway()


def tour(url):
    text = run(TOUR, url)
    found = re.findall(r"^(\d)  (.*)$", text, re.M)
    assert found == [(str(number), name) for number, name in enumerate(SECTIONS, 1)], found
    expect_in(text, "All of it held", "MISS", "HIT", "rate_limit_exceeded", "403 policy_violation", "answered by gpt-4o-mini", "3 requests")
    assert "\033" not in text, "output to a pipe has no colours"


def interrupted_tour(url):
    """Stops the tour while its policy is in force: the tour must remove the policy."""
    env = environment(url)
    process = subprocess.Popen(TOUR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        output = ""
        for line in process.stdout:
            output += line
            if "created" in line:
                process.send_signal(signal.SIGTERM)
        code = process.wait(TIMEOUT_S)
    finally:
        process.kill()
    assert "created" in output and code == 143, f"exit code {code}\n{output}"
    policies = subprocess.run(["curl", "-sS", f"{url}/api/policies"], capture_output=True, text=True, check=True, env=env).stdout
    assert '"trial budget"' in policies and '"demo ' not in policies, policies


def langchain(url):
    expect_two_answers(run([sys.executable, EXAMPLES / "langchain/main.py"], url), r"\d+ tokens")


def node(url):
    expect_two_answers(run(["node", EXAMPLES / "node/index.mjs"], url), r"\d+ tokens, \$0\.\d+")


def expect_two_answers(text, between):
    """Expects a plain answer, a line about it that matches `between`, and a streamed answer."""
    assert re.fullmatch(rf"\[\w+\] You said: .+\n{between}\n\[\w+\] You said: .+\n", text), text


def vercel_ai_sdk(url):
    text = run(["node", EXAMPLES / "vercel-ai-sdk/index.mjs"], url)
    assert re.fullmatch(r"\[\w+\] You said: What is a gateway for\?\n[1-9]\d* tokens in, [1-9]\d* out\n", text), text


def curl(url):
    text = run([EXAMPLES / "curl/luner.sh"], url)
    expect_in(text, '"status":"ok"', "You said: Hello", "data: [DONE]", "x-luner-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
          '"code":"invalid_json"', '"code":"missing_required_parameter"', "\n404\n", "luner_requests_total{", ignore_case=True)


def bench(url):
    script = ROOT / "bench/bench.sh"
    if not shutil.which("wrk"):
        return say("bench/bench.sh is skipped: wrk is not installed")
    text = run([script, url, "--quick"], url)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["scenario", "cache hit", "cold", "rate-limited"], text
    hit, cold, limited = (dict(zip(lines[0], line)) for line in lines[1:])
    # The rates include the requests of other callers: the demo's.
    assert float(hit["hit rate"].removesuffix("%")) > 90 and float(cold["hit rate"].removesuffix("%")) < 10, text
    assert "429: " in limited["statuses"] and "429: " not in hit["statuses"] + cold["statuses"], text
    assert all(line["memory"].endswith(" MiB") and float(line["requests/s"].replace(",", "")) > 0 for line in (hit, cold, limited)), text
    refused = run([script, url, "--quick", "--limited-model", "gpt-4o"], url, code=1)
    expect_in(refused, "gpt-4o: no provider with a limit", "gpt-4.1-nano")


def bench_refuses_to_spend(url):
    """The bench refuses to call a provider that may be real, unless told to. No provider listens here, and none is called."""
    if shutil.which("wrk"):
        expect_in(run([ROOT / "bench/bench.sh", url, "--quick"], url, code=1), "set LUNER_ADMIN_TOKEN", "--yes-spend")
        refused = run([ROOT / "bench/bench.sh", url, "--quick"], url, code=1, LUNER_ADMIN_TOKEN=TOKEN)
        expect_in(refused, "real (https://llm.invalid) may be real", "--yes-spend")


def tour_with_token(url):
    for env, sentence in (({}, "wants its admin token"), ({"LUNER_ADMIN_TOKEN": "wrong"}, "does not accept the token")):
        expect_in(run(TOUR, url, code=2, **env), sentence)
    # This gateway's provider has no limit: the tour says so and continues.
    expect_in(run(TOUR, url, LUNER_ADMIN_TOKEN=TOKEN), "All of it held", "left out")


def tour_without_gateway():
    # The socket is bound but does not listen: connections are refused, and no other program gets the port.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        expect_in(run(TOUR, url, code=2), f"cannot be reached at {url}", "luner demo")


def environment(url, **variables):
    """The environment of an example: no LUNER_ or OPENAI_ variables but these, and no proxy for the loopback address."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LUNER_", "OPENAI_"))}
    return {**env, "NO_PROXY": "*", "no_proxy": "*", "LUNER_URL": url, **variables}


def run(command, url, code=0, **variables):
    """Runs a command and returns its stdout, and its stderr too if it is expected to fail."""
    stderr = subprocess.PIPE if code == 0 else subprocess.STDOUT
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=TIMEOUT_S, env=environment(url, **variables))
    assert done.returncode == code, f"{command[-1]}: exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr or ''}"
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def expect_in(text, *parts, ignore_case=False):
    fold = str.lower if ignore_case else str
    missing = [part for part in parts if fold(part) not in fold(text)]
    assert not missing, f"missing {missing} in:\n{text}"


@contextlib.contextmanager
def demo(folder):
    """`luner demo`. Its address is in the greeting that it prints."""
    with open(folder / "demo.log", "wb") as log:
        command = [binary("LUNER_BIN", "luner"), "demo", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    with stopped(process):
        greeting = ""
        for line in process.stdout:
            greeting += line
            if "ctrl-c" in line:
                break
        found = re.search(r"Console +(http://\S+)/\n", greeting)
        assert found, f"luner demo did not print its console's address\n{greeting}\n{(folder / 'demo.log').read_text()}"
        expect_in(greeting, f'OpenAI(base_url="{found[1]}/v1"')
        say(f"luner demo at {found[1]} on {os.environ.get('LUNER_IO', 'the default driver')}")
        yield found[1]


@contextlib.contextmanager
def gateway_with_token(folder, provider, cache):
    config = folder / "with-token.yaml"
    config.write_text(CONFIG_WITH_TOKEN.format(token=TOKEN, mock=provider, key=PROVIDER_KEY, cache=cache, folder=folder))
    command = [binary("LUNER_BIN", "luner"), "serve", "--config", config, "--log", "json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log = Log(process.stderr, folder / "with-token.log")
    with stopped(process):
        url = f"http://{log.address()}"
        wait_until_healthy(url, log)
        yield url
    log.close()


@contextlib.contextmanager
def stopped(process):
    """Stops the process at the end: in order after success, and in any case."""
    try:
        yield
        process.terminate()
        code = process.wait(STOP_S)
        assert code == 0, f"luner exited with {code} on SIGTERM"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def say(text):
    print(f"==> examples: {text}", flush=True)


if __name__ == "__main__":
    start = time.monotonic()
    main()
    say(f"passed in {time.monotonic() - start:.0f} s")

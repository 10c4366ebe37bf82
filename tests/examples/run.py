"""Runs every example against `luner demo`, and the tour also against a gateway with an admin token and against none at all.

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
# Of one example; generous: a debug build on a busy machine.
PATIENCE_S = 180
SECTIONS = ["Health", "Three agents, one trace", "The same question twice", "A provider's rate limit",
            "Policies: create, enforce, change, remove", "Metrics", "Recent traces", "Streaming"]
TOKEN = "examples-admin-token-5f21c9"

GUARDED = """\
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
            with guarded(folder, provider, "true") as url:
                say("tour of a gateway with a token")
                guarded_tour(url)
                say("bench of a gateway before a real provider")
                no_money(url)
            with guarded(folder, provider, "false") as url:
                say("tour of a gateway without a cache")
                text = run(TOUR, url, code=1, LUNER_ADMIN_TOKEN=TOKEN)
                wants(text, "the first call should be a cache MISS")
        say("tour of nothing")
        tour_of_nothing()


def tour(url):
    text = run(TOUR, url)
    found = re.findall(r"^(\d)  (.*)$", text, re.M)
    assert found == [(str(number), name) for number, name in enumerate(SECTIONS, 1)], found
    wants(text, "All of it held", "MISS", "HIT", "rate_limit_exceeded", "403 policy_violation", "answered by gpt-4o-mini", "3 requests")
    assert "\033" not in text, "colours, where nobody looks"


def interrupted_tour(url):
    """Stopped while its policy acts: the policy goes with it."""
    env = environment(url)
    process = subprocess.Popen(TOUR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    try:
        said = ""
        for text in process.stdout:
            said += text
            if "created" in text:
                process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)
    finally:
        process.kill()
    assert "created" in said and code == 143, f"exit code {code}\n{said}"
    names = subprocess.run(["curl", "-sS", f"{url}/api/policies"], capture_output=True, text=True, check=True, env=env).stdout
    assert '"trial budget"' in names and '"demo ' not in names, names


def langchain(url):
    answered_twice(run([sys.executable, EXAMPLES / "langchain/main.py"], url), r"\d+ tokens")


def node(url):
    answered_twice(run(["node", EXAMPLES / "node/index.mjs"], url), r"\d+ tokens, \$0\.\d+")


def answered_twice(text, between):
    """A line of an answer, one about it, one of a stream."""
    assert re.fullmatch(rf"\[\w+\] You said: .+\n{between}\n\[\w+\] You said: .+\n", text), text


def vercel_ai_sdk(url):
    text = run(["node", EXAMPLES / "vercel-ai-sdk/index.mjs"], url)
    assert re.fullmatch(r"\[\w+\] You said: What is a gateway for\?\n[1-9]\d* tokens in, [1-9]\d* out\n", text), text


def curl(url):
    text = run([EXAMPLES / "curl/luner.sh"], url)
    wants(text, '"status":"ok"', "You said: Hello", "data: [DONE]", "x-luner-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
          '"code":"invalid_json"', '"code":"missing_required_parameter"', "\n404\n", "luner_requests_total{", ignore_case=True)


def bench(url):
    script = ROOT / "bench/bench.sh"
    if not shutil.which("wrk"):
        return say("bench/bench.sh was left out: wrk is not installed")
    text = run([script, url, "--quick"], url)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert [line[0] for line in lines] == ["scenario", "cache hit", "cold", "rate-limited"], text
    hit, cold, limited = (dict(zip(lines[0], line)) for line in lines[1:])
    # Other callers' requests are in it: the demo's.
    assert float(hit["hit rate"].removesuffix("%")) > 90 and float(cold["hit rate"].removesuffix("%")) < 10, text
    assert "429: " in limited["statuses"] and "429: " not in hit["statuses"] + cold["statuses"], text
    assert all(line["memory"].endswith(" MiB") and float(line["requests/s"].replace(",", "")) > 0 for line in (hit, cold, limited)), text
    told = run([script, url, "--quick", "--limited-model", "gpt-4o"], url, code=1)
    wants(told, "gpt-4o: no provider with a limit", "gpt-4.1-nano")


def no_money(url):
    """A provider that may be real is not benched unasked: nobody listens here, and nobody is called."""
    if shutil.which("wrk"):
        wants(run([ROOT / "bench/bench.sh", url, "--quick"], url, code=1), "set LUNER_ADMIN_TOKEN", "--yes-spend")
        told = run([ROOT / "bench/bench.sh", url, "--quick"], url, code=1, LUNER_ADMIN_TOKEN=TOKEN)
        wants(told, "real (https://llm.invalid) may be real", "--yes-spend")


def guarded_tour(url):
    for given, sentence in (({}, "wants its admin token"), ({"LUNER_ADMIN_TOKEN": "wrong"}, "does not accept the token")):
        wants(run(TOUR, url, code=2, **given), sentence)
    # Its provider has no limit: the tour says so and goes on.
    wants(run(TOUR, url, LUNER_ADMIN_TOKEN=TOKEN), "All of it held", "left out")


def tour_of_nothing():
    with socket.socket() as closed:  # bound and not listening: refused, and nobody else gets the port
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        wants(run(TOUR, url, code=2), f"cannot be reached at {url}", "luner demo")


def environment(url, **more):
    """Nothing of ours but what is given; no proxy between the example and the loopback address."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LUNER_", "OPENAI_"))}
    return {**env, "NO_PROXY": "*", "no_proxy": "*", "LUNER_URL": url, **more}


def run(command, url, code=0, **more):
    """What it prints; its errors too when it is to fail."""
    errors = subprocess.PIPE if code == 0 else subprocess.STDOUT
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=PATIENCE_S, env=environment(url, **more))
    assert done.returncode == code, f"{command[-1]}: exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr or ''}"
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def wants(text, *parts, ignore_case=False):
    fold = str.lower if ignore_case else str
    missing = [part for part in parts if fold(part) not in fold(text)]
    assert not missing, f"missing {missing} in:\n{text}"


@contextlib.contextmanager
def demo(folder):
    """`luner demo`, found by what it tells its reader."""
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
        assert found, f"luner demo did not say where its console is\n{greeting}\n{(folder / 'demo.log').read_text()}"
        wants(greeting, f'OpenAI(base_url="{found[1]}/v1"')
        say(f"luner demo at {found[1]} on {os.environ.get('LUNER_IO', 'the default driver')}")
        yield found[1]


@contextlib.contextmanager
def guarded(folder, provider, cache):
    config = folder / "guarded.yaml"
    config.write_text(GUARDED.format(token=TOKEN, mock=provider, key=PROVIDER_KEY, cache=cache, folder=folder))
    command = [binary("LUNER_BIN", "luner"), "serve", "--config", config, "--log", "json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log = Log(process.stderr, folder / "guarded.log")
    with stopped(process):
        url = f"http://{log.address()}"
        wait_until_healthy(url, log)
        yield url
    log.close()


@contextlib.contextmanager
def stopped(process):
    """Stops it afterwards: as one should, and whatever happened."""
    try:
        yield
        process.terminate()
        code = process.wait(STOP_S)
        assert code == 0, f"luner ended with {code} on SIGTERM"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def say(text):
    print(f"==> examples: {text}", flush=True)


if __name__ == "__main__":
    start = time.monotonic()
    main()
    say(f"all of it held, in {time.monotonic() - start:.0f} s")

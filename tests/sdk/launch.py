"""Starts mock-llm and luner on free ports, runs a command against them, and stops both.

    python3 tests/sdk/launch.py COMMAND [ARG…]

The command gets their addresses in LUNER_URL, LUNER_PID, MOCK_URL and CALLER_KEY. The launcher fails if the command fails, if
luner does not exit with 0 on SIGTERM, or if its log contains a key. If SDK_BASE_URL=http://host:port/v1 is set, nothing is
started: the clients talk to that server, which should be a mock, and tests of what only luner does are skipped.

Standard library only, so that it runs before anything is installed.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")

# Canaries: no log may contain either, and the caller's key must never reach the provider.
PROVIDER_KEY = "sk-provider-canary-8c1f"
CALLER_KEY = "sk-caller-canary-27ad"

# Arbitrary, and generous enough for a debug build on a busy machine. Nothing is measured with them.
START_S = 30
STOP_S = 30
# sizeof(struct io_uring_params) in linux/io_uring.h.
IO_URING_PARAMS_BYTES = 120

# One provider per fault, so that a circuit breaker that opens for one does not affect the others. The suffix of a model's name
# tells the mock what to do: `gpt-4o+fault=hang`.
CONFIG = """\
version: v1
server:
  listen: "127.0.0.1:0"
  workers: 2
  drain_timeout: 10s
providers:
  - name: plain
    base_url: "{mock}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["gpt-4o", "gpt-4o-mini", "gpt-4o+words=*", "gpt-4o+latency=*", "text-embedding-3-small", "gpt-3.5-turbo-instruct"]
    timeout: 20s
    retries: 0
  - name: refuses
    base_url: "http://127.0.0.1:{closed_port}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["refused"]
    retries: 0
  - name: hangs
    base_url: "{mock}"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["gpt-4o+fault=hang"]
    timeout: 500ms
    retries: 0
  - name: fails
    base_url: "{mock}/v1/"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["gpt-4o+fault=status=*"]
    retries: 0
  - name: limits
    base_url: "{mock}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["gpt-4o+fault=rate-limit=*"]
    retries: 0
  - name: recovers
    base_url: "{mock}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["recovers"]
    retries: 0
  - name: retried
    base_url: "{mock}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["retried"]
    retries: 1
  - name: breaks-off
    base_url: "{mock}/v1"
    api_key: "${{SDK_PROVIDER_KEY}}"
    models: ["gpt-4o+fault=close-mid-stream=*", "gpt-4o+fault=reset-mid-stream=*", "gpt-4o+fault=no-done*"]
    retries: 0
cache: {{ enabled: true, max_items: 1000, default_ttl: 1h }}
rate_limit: {{ enabled: false }}
pricing: {{ unknown: allow }}
storage:
  backend: sqlite
  sqlite: {{ path: "{folder}/luner.db" }}
telemetry: {{ log: info }}
"""


def main(command):
    if not command:
        sys.exit("launch: no command given")
    given = os.environ.get("SDK_BASE_URL")
    if given:
        url = given.removesuffix("/").removesuffix("/v1")
        return run(command, {"LUNER_URL": url, "MOCK_URL": url, "CALLER_KEY": CALLER_KEY})

    folder = TARGET / "sdk" / f"{os.environ.get('LUNER_IO', 'default')}-{os.getpid()}"
    folder.mkdir(parents=True)
    # A call takes two descriptors of luner, so the usual limit of 1,024 is too low for 500 calls at once.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    with mock(folder) as mock_url, luner(folder, mock_url) as (luner_url, pid):
        env = {"LUNER_URL": luner_url, "LUNER_PID": str(pid), "MOCK_URL": mock_url, "CALLER_KEY": CALLER_KEY}
        failed = run(command, env)
    if failed:
        print(f"launch: the logs are in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return failed


def run(command, env):
    # The clients must reach the loopback address without this machine's proxy.
    return subprocess.call(command, cwd=ROOT, env={**os.environ, **env, "NO_PROXY": "*", "no_proxy": "*"})


@contextmanager
def mock(folder):
    argv = [binary("MOCK_LLM_BIN", "mock-llm"), "--listen", "127.0.0.1:0", "--require-key", PROVIDER_KEY]
    with open(folder / "mock.log", "wb") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"launch: mock-llm did not print its address: {line!r}; see {folder}/mock.log")
        yield line.split()[-1].rstrip("/")
    finally:
        process.terminate()
        process.wait(STOP_S)


@contextmanager
def luner(folder, mock_url):
    # A socket that is bound but does not listen: connections are refused, and no other program gets the port.
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(mock=mock_url, closed_port=closed.getsockname()[1], folder=folder))
    argv = [binary("LUNER_BIN", "luner"), "--config", config, "--listen", "127.0.0.1:0", "--log", "json"]
    env = {**os.environ, "SDK_PROVIDER_KEY": PROVIDER_KEY}
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env, cwd=folder)
    log = Log(process.stderr, folder / "luner.log")
    try:
        url = f"http://{log.address()}"
        health = wait_until_healthy(url, log)
        wanted = os.environ.get("LUNER_IO")
        print(f"==> sdk: luner {health['version']} at {url}, {health['workers']} workers on {health['io']}", flush=True)
        if wanted == "io_uring" and health["io"] == "epoll" and not io_uring_is_allowed():
            print("launch: this machine does not allow io_uring, so luner runs on epoll", file=sys.stderr)
        elif wanted and health["io"] != wanted:
            raise SystemExit(f"launch: LUNER_IO is {wanted}, but luner runs on {health['io']}\n{log.tail()}")
        yield url, process.pid
        if process.poll() is not None:
            raise SystemExit(f"launch: luner exited by itself with {process.returncode}\n{log.tail()}")
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"launch: luner still runs {STOP_S} s after SIGTERM\n{log.tail()}") from None
        log.close()
        if code != 0:
            raise SystemExit(f"launch: luner exited with {code} on SIGTERM, not 0\n{log.tail()}")
        for key in (PROVIDER_KEY, CALLER_KEY):
            if key in log.path.read_text(errors="replace"):
                raise SystemExit(f"launch: luner's log contains a key: {log.path}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()
        closed.close()


class Log:
    """luner's stderr, copied to a file as it arrives, so that luner never blocks on a full pipe."""

    def __init__(self, pipe, path):
        self.path = path
        self._address = None
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe):
        with open(self.path, "wb", buffering=0) as file, pipe:
            for line in pipe:
                file.write(line)
                if self._address is None and b"listening" in line:
                    self._address = address_of(line)
                    if self._address:
                        self._listening.set()
        # luner has ended, so no address will come.
        self._listening.set()

    def address(self):
        self._listening.wait(START_S)
        if not self._address:
            raise SystemExit(f"launch: luner did not log its address\n{self.tail()}")
        return self._address

    def tail(self):
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-20:])

    def close(self):
        self._reader.join(STOP_S)


def address_of(line):
    """The address in a line such as `{"message":"listening","address":"127.0.0.1:1234",…}`. None for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event.get("address") if event.get("message") == "listening" else None


def wait_until_healthy(url, log):
    end = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"{url}/api/health", timeout=START_S) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > end:
                raise SystemExit(f"launch: luner is not healthy: {error}\n{log.tail()}") from None
            time.sleep(0.05)


def io_uring_is_allowed():
    """Tries to set up a ring, because containers often forbid it. 425 is io_uring_setup on every architecture."""
    descriptor = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(IO_URING_PARAMS_BYTES))
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def binary(variable, name):
    given = os.environ.get(variable)
    candidates = [Path(given).absolute()] if given else [TARGET / "debug" / name, TARGET / "release" / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise SystemExit(f"launch: no {name} at {' or '.join(map(str, candidates))}; run cargo build --workspace, or set {variable}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs the commands of a document as a reader would: in order, in a fresh copy of the tree, against a running `luner demo`.

The debug binaries replace `make build`, and free ports replace the ports that the documents name, so that several runs can work at
once. Every process that is started is stopped through its own process group.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import documents
from documents import ROOT
from programs import LUNER, MOCK_LLM

# Seconds. Arbitrary, and generous: the binaries are debug builds, the machine may be busy, and packages may come from a registry.
BLOCK_S = 300
START_S = 60
STOP_S = 60

# Replaces the release binary: a server listens on the port of this run.
LUNER_SCRIPT = """#!/bin/bash
case "${{1-}}" in
  demo | serve | --config) [[ " $* " == *" --listen "* ]] || set -- "$@" --listen "127.0.0.1:$LUNER_DOCS_PORT" ;;
esac
exec {luner} "$@"
"""
# Replaces make for the targets that would build for minutes.
MAKE_SCRIPT = """#!/bin/bash
case "${{1-}}" in
  build) exit 0 ;;
  demo) exec ./bin/luner demo ;;
esac
exec {make} "$@"
"""


class Failed(Exception):
    pass


class Scratch:
    """A copy of the tree with binaries, and a demo that runs until the copy is closed."""

    def __init__(self, folder):
        self.root = folder / "luner"
        self.state = folder / "state"
        self.port = free_port()
        self.environment = self.prepare(folder)
        self.demo = None

    def prepare(self, folder):
        for path in documents.files():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, self.root / path)
        shims = folder / "shims"
        write(self.root / "bin/luner", LUNER_SCRIPT.format(luner=LUNER.absolute()))
        write(shims / "make", MAKE_SCRIPT.format(make=shutil.which("make")))
        (self.root / "bin/mock-llm").symlink_to(MOCK_LLM.absolute())
        (self.root / "node_modules").symlink_to(ROOT / "tests/sdk/node/node_modules")
        return {
            **os.environ,
            "PATH": f"{shims}:{self.root}/bin:{ROOT}/.venv/bin:{os.environ['PATH']}",
            # The examples find the gateway by this variable.
            "LUNER_URL": f"http://127.0.0.1:{self.port}",
            # pip checks that the packages are available, and leaves the project's environment alone.
            "PIP_DRY_RUN": "1",
            "LUNER_DOCS_STATE": str(self.state),
            "LUNER_DOCS_PORT": str(self.port),
            "NO_PROXY": "*",
            "no_proxy": "*",
        }

    def __enter__(self):
        self.demo = Server(["./bin/luner", "demo"], self.root, self.environment, self.port)
        return self

    def __exit__(self, *_):
        self.demo.stop()

    def run(self, document):
        """Runs the blocks of a document in order.

        Raises Failed with the block's place and its output.
        """
        state = {"environment": self.environment, "folder": self.root / document.folder}
        runs = {"sh": self.shell, "python": self.python, "js": self.javascript}
        self.state.unlink(missing_ok=True)
        for block in document.blocks:
            run = runs.get(block.language)
            if run and block.runs:
                try:
                    run(block, state)
                except Failed as failure:
                    raise Failed(f"{document.path}:{block.line}: {failure}") from None

    def shell(self, block, state):
        if block.mark == "serves":
            port = free_port()
            environment = {**state["environment"], "LUNER_DOCS_PORT": str(port)}
            script = self.script(block.text, port)
            Server(["bash", "-euo", "pipefail", "-c", script], state["folder"], environment, port).stop()
            return
        resume = f'[[ ! -e "{self.state}" ]] || {{ source "{self.state}"; cd "$(<"{self.state}.cwd")"; }}'
        # Not in a subshell: the blocks after this one need its variables and its folder.
        leave = "trap 'declare -px >\"$LUNER_DOCS_STATE\"; pwd >\"$LUNER_DOCS_STATE.cwd\"' EXIT"
        # An answer of 4xx or 5xx fails the block. Scripts that the block calls have their own curl, and handle errors themselves.
        resume += '\ncurl() { command curl --fail-with-body --silent --show-error "$@"; }'
        self.finish(["bash", "-c", f"{resume}\n{leave}\nset -euo pipefail\n{self.script(block.text, self.port)}"], state)

    def script(self, text, port):
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("localhost:8080", f"127.0.0.1:{port}")

    def python(self, block, state):
        self.finish([str(ROOT / ".venv/bin/python"), "-c", self.script(block.text, self.port)], state)

    def javascript(self, block, state):
        file = self.root / "block.mjs"
        file.write_text(self.script(block.text, self.port))
        self.finish(["node", str(file)], state)

    def finish(self, command, state):
        process = subprocess.Popen(
            command, cwd=state["folder"], env=state["environment"], text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        try:
            output, _ = process.communicate(timeout=BLOCK_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end within {BLOCK_S} s") from None
        finally:
            end(process)
        if process.returncode != 0:
            raise Failed(f"exit code {process.returncode}\n{output}")


class Server:
    """A command that must start to serve on a local port."""

    def __init__(self, command, folder, environment, port):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        try:
            self.wait(port)
        except BaseException:
            end(self.process)
            raise

    def wait(self, port):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_S
        while True:
            try:
                with opener.open(f"http://127.0.0.1:{port}/api/health", timeout=START_S) as answer:
                    if json.load(answer)["status"] == "ok":
                        return
            except (urllib.error.URLError, ConnectionError):
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise Failed(f"no server on port {port}; exit code {self.process.poll()}\n{self.log.read()}")
            time.sleep(0.05)

    def stop(self):
        code = end(self.process)
        self.log.seek(0)
        output = self.log.read()
        self.log.close()
        if code not in (0, -signal.SIGTERM):
            raise Failed(f"the server exited with {code}\n{output}")


def end(process):
    """Ends a process and its whole group."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return process.wait()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        print(f"scratch: {process.args} did not end and was killed", file=sys.stderr)
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)

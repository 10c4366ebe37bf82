"""The debug binaries that the checks ask about commands, flags, configurations and policies."""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

from documents import ROOT

TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
LUNER = Path(os.environ.get("LUNER_BIN", TARGET / "debug" / "luner"))
MOCK_LLM = Path(os.environ.get("MOCK_LLM_BIN", TARGET / "debug" / "mock-llm"))


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)


def failure(*command):
    """What a command printed when it failed; None when it succeeded."""
    result = run(*command)
    return None if result.returncode == 0 else (result.stderr or result.stdout).strip() or f"exit code {result.returncode}"


@cache
def flags(program, *subcommand):
    result = run(program, *subcommand, "--help")
    return set(re.findall(r"--[a-z-]+", result.stdout)) if result.returncode == 0 else set()


@cache
def subcommands(*subcommand):
    help_text = run(LUNER, *subcommand, "--help").stdout
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", help_text, re.MULTILINE)
    return set(re.findall(r"^  ([a-z]+)", listed.group(1), re.MULTILINE)) - {"help"} if listed else set()

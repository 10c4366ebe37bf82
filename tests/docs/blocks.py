"""Checks that the content of each code block is valid in the language that the block names."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import yaml

from programs import LUNER, failure

# Completes a part of a configuration, so that `luner check` accepts it.
MISSING_KEYS = {
    "version": "version: v1\n",
    "providers": "providers:\n  - { name: openai, base_url: https://api.openai.com/v1, api_key: key, models: ['*'] }\n",
}


def blocks(document):
    for block in document.blocks:
        check = CHECKS.get(block.language)
        if not block.language:
            yield f"{document.path}:{block.line}: this block names no language, so nothing checks it: fence it and name one"
        problem = check and check(block)
        if problem:
            yield f"{document.path}:{block.line}: {problem}"


def json_problem(block):
    try:
        json.loads(block.text)
    except ValueError as error:
        return f"invalid JSON: {error}"


def configuration_problem(block):
    try:
        keys = yaml.safe_load(block.text)
    except yaml.YAMLError as error:
        return f"invalid YAML: {error}"
    if block.mark.startswith("not luner's:"):
        return None
    added = "".join(text for key, text in MISSING_KEYS.items() if key not in keys)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(added + block.text)
        file.flush()
        return failure(LUNER, "check", "--config", file.name)


def javascript_problem(block):
    with tempfile.NamedTemporaryFile("w", suffix=".mjs") as file:
        file.write(block.text)
        file.flush()
        return failure("node", "--check", file.name)


def shell_problem(block):
    return failure("bash", "-n", "-c", block.text)


def nginx_problem(block):
    """Checks the block as the content of an nginx `server`. Accepts anything on a machine without nginx."""
    if not (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        logs = "pid pid; error_log stderr; events {} http { access_log off; "
        bodies = "".join(f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        server = f"server {{ listen 127.0.0.1:8081;\n{block.text}\n}}"
        (Path(folder) / "nginx.conf").write_text(f"{logs}{bodies} {server} }}")
        return failure(nginx, "-t", "-q", "-p", folder, "-c", "nginx.conf")


def python_problem(block):
    try:
        compile(block.text, "block", "exec")
    except SyntaxError as error:
        return f"invalid Python: {error}"


CHECKS = {
    "json": json_problem,
    "yaml": configuration_problem,
    "js": javascript_problem,
    "sh": shell_problem,
    "python": python_problem,
    "nginx": nginx_problem,
}

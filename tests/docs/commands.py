"""Checks that commands name make targets, subcommands, flags and files that exist, whether the commands are run or not."""

import json
import re
import shlex
from functools import cache

from documents import ROOT
from programs import LUNER, MOCK_LLM, flags, subcommands

# Files that only exist after a build or at run time.
GENERATED = re.compile(r"^(\./)?(bin|book|data|target|web/dist|\.venv)(/|$)|(^|/)node_modules(/|$)|(^|/)\.env$|\.db$")
FILE_NAME = re.compile(r"^[\w.-]+\.(ya?ml|sh|py|mjs|toml|json)$")
PROGRAMS = "luner|mock-llm|make|docker|kubectl|cp|cd|bash|python3?|npm"
INLINE_COMMAND = re.compile(rf"(\./bin/)?({PROGRAMS}|(scripts|bench|deployments|tests)/\S+) [^=]")


def commands(document):
    # A reader may be at the root or in the document's own folder: the folder with fewer problems is the right one.
    folders = (ROOT, (ROOT / document.path).parent)
    for block in document.blocks:
        if block.language == "sh":
            attempts = [list(script_problems(block, folder)) for folder in folders]
            yield from (f"{document.path}:{block.line}: {problem}" for problem in min(attempts, key=len))
    for code, line in document.codes:
        if INLINE_COMMAND.match(code):
            words = code.replace("[", "").replace("]", "").split()
            attempts = [list(command_problems(words, folder, check_files=True)) for folder in folders]
            yield from (f"{document.path}:{line}: {problem}" for problem in min(attempts, key=len))


def script_problems(block, folder):
    for words in invocations(block.text):
        yield from command_problems(words, folder, check_files=not block.runs)
        if words[0] == "cd" and len(words) == 2:
            folder = folder / words[1]


def command_problems(words, folder, check_files):
    name = words[0].removeprefix("./bin/")
    if name == "make":
        for target in words[1:]:
            if "=" not in target and not target.startswith("-") and target not in make_targets():
                yield f"make has no target {target}"
    elif name == "luner":
        yield from luner_problems(words[1:])
    elif words[:2] == ["npm", "run"] and words[2] not in npm_scripts(folder):
        yield f"npm has no script {words[2]}"
    elif name == "mock-llm":
        known = flags(MOCK_LLM) | {"--help"}
        yield from (f"mock-llm has no flag {word}" for word in words[1:] if word.startswith("--") and word not in known)
    if name == "kubectl":
        # Resources such as service/luner look like files.
        words = [name, *(word for flag, word in zip(words, words[1:]) if flag in ("-f", "-k"))]
    for word in words if check_files else []:
        looks_like_file = "/" in word or FILE_NAME.match(word)
        if looks_like_file and re.match(r"^[\w.-][\w./-]*$", word) and not GENERATED.search(word) and not (folder / word).exists():
            yield f"{' '.join(words)}: there is no {word}"


def luner_problems(words):
    subcommand = []
    while words and words[0] in subcommands(*subcommand):
        subcommand.append(words.pop(0))
    if words and not subcommand and re.match(r"^[a-z]", words[0]):
        yield f"luner has no command {words[0]}"
    known = flags(LUNER, *subcommand) | {"--help", "--version"}
    for word in words:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in known:
            yield f"luner {' '.join(subcommand)} has no flag {flag}"


def invocations(script):
    """The simple commands of a script as lists of words. A quoted word may span lines."""
    pending = ""
    for line in script.replace("\\\n", " ").splitlines():
        pending += line + "\n"
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=";&|<>()")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quote is still open
            continue
        pending, current = "", []
        for word in [*words, ";"]:
            if word and set(word) <= set(";&|<>()"):
                if current := without_prefixes(current):
                    yield current
                current = []
            else:
                current.append(word)


def without_prefixes(words):
    while words and (words[0] in ("sudo", "exec", "time") or re.match(r"^\w+=", words[0])):
        words = words[1:]
    return words


@cache
def make_targets():
    text = (ROOT / "Makefile").read_text()
    text += "".join((ROOT / included).read_text() for included in re.findall(r"^include (\S+)$", text, re.MULTILINE))
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


def npm_scripts(folder):
    file = folder / "package.json"
    return json.loads(file.read_text())["scripts"] if file.exists() else {}

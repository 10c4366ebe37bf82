"""What holds for the documents: each rule takes a document and returns complaints. It runs luner only to ask it about itself
and about pieces of configuration; commands are run by scratch.py.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import yaml

from documents import ROOT

TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
LUNER = Path(os.environ.get("LUNER_BIN", TARGET / "debug" / "luner"))
MOCK = Path(os.environ.get("MOCK_LLM_BIN", TARGET / "debug" / "mock-llm"))

# What a piece of configuration is put before, to be whole.
FRAME = {
    "version": "version: v1\n",
    "providers": "providers:\n  - { name: openai, base_url: https://api.openai.com/v1, api_key: key, models: ['*'] }\n",
}
# Paths of the tree, as text names them. What is built or made at run time is not there to be found.
TREE_PATH = re.compile(r"^(src|tests|config|deployments|examples|bench|scripts|web|\.github|\.ci)/[\w./-]+$")
MADE = re.compile(r"^(\./)?(bin|data|target|web/dist|\.venv)(/|$)|(^|/)node_modules(/|$)|(^|/)\.env$|\.db$")
FILE_NAME = re.compile(r"^[\w.-]+\.(ya?ml|sh|py|mjs|toml|json)$")
# How a comment looks, to the end of its line.
COMMENTS = {**dict.fromkeys(("sh", "yaml", "nginx", "python"), r"(^|\s+)#.*$"), "js": r"(^|\s+)//.*$"}
# Inline code that is a command.
PROGRAMS = "luner|mock-llm|make|docker|kubectl|cp|cd|bash|python3?|npm"
INLINE = re.compile(rf"(\./bin/)?({PROGRAMS}|(scripts|bench|deployments|tests)/\S+) [^=]")
# Pictures, whose words may be translated.
PICTURES = {"mermaid", "text"}


def links(document, at=None):
    """Files and anchors exist; other sites are named by a whole URL."""
    folder = (ROOT / document.path).parent
    for target, line in document.links:
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("http", "https", "mailto") or not (parts.netloc or parts.scheme == "mailto"):
                yield f"{document.path}:{line}: {target} is no URL"
            continue
        file = (folder / unquote(parts.path)).resolve() if parts.path else ROOT / document.path
        if parts.path and not file.exists():
            yield f"{document.path}:{line}: {target}: there is no such file"
        elif parts.fragment:
            anchors = document.anchors if file == ROOT / document.path else at(file) if at else None
            if anchors is not None and unquote(parts.fragment) not in anchors:
                yield f"{document.path}:{line}: {target}: there is no such heading"


def summary(document, chapters):
    """Lists each chapter exactly once, under the title that the chapter has."""
    folder = PurePosixPath(document.path).parent
    titles = {chapter.path: chapter.headings[0][1] if chapter.headings else "" for chapter in chapters}
    listed = [(str(folder / link), title) for title, link in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", document.text)]
    for path, count in Counter(path for path, _ in listed).items():
        if count > 1:
            yield f"{document.path} lists {path} {count} times"
    for path, title in listed:
        if path in titles and title != titles[path]:
            yield f"{document.path} calls {path} {title!r}, its first heading is {titles[path]!r}"
    yield from (f"{document.path} does not list {path}" for path in titles.keys() - {path for path, _ in listed})


def paths(document):
    """Files of the tree that the text names exist, from the root or from the document's own folder."""
    folder = (ROOT / document.path).parent
    for code, line in document.codes:
        if TREE_PATH.match(code) and not MADE.search(code) and not ((ROOT / code).exists() or (folder / code).exists()):
            yield f"{document.path}:{line}: `{code}`: there is no such file"


def twins(one, other):
    """Two languages of one document: the same outline, the same code but for comments."""
    levels = [[level for level, _ in document.headings] for document in (one, other)]
    if levels[0] != levels[1]:
        pairs = zip(one.headings + [(0, "")] * 99, other.headings + [(0, "")] * 99)
        first = next(pair for pair in pairs if pair[0][0] != pair[1][0])
        yield f"{one.path} and {other.path}: their headings part at {first[0]} and {first[1]}"
    if len(one.blocks) != len(other.blocks):
        yield f"{one.path} has {len(one.blocks)} blocks of code, {other.path} {len(other.blocks)}"
    for left, right in zip(one.blocks, other.blocks):
        if left.language != right.language or left.mark.split(":")[0] != right.mark.split(":")[0]:
            yield f"{other.path}:{right.line}: is {right.language} {right.mark}, not {left.language} {left.mark}"
        elif left.language not in PICTURES and bare(left) != bare(right):
            yield f"{other.path}:{right.line}: differs from {one.path}:{left.line}"
    named = [[(table.name, len(table.rows)) for table in document.tables] for document in (one, other)]
    if named[0] != named[1]:
        yield f"{one.path} and {other.path}: their tables differ: {named[0]} and {named[1]}"
    for left, right in zip(one.tables, other.tables):
        for row, (mine, yours) in enumerate(zip(left.rows[1:], right.rows[1:])):
            if mine[0].codes != yours[0].codes:
                yield f"{other.path}:{right.line}: row {row + 1} is {yours[0].codes}, not {mine[0].codes}"


def bare(block):
    comment = COMMENTS.get(block.language)
    lines = block.text.splitlines()
    return [re.sub(comment, "", line).rstrip() if comment else line for line in lines]


# ---- blocks ----


def blocks(document):
    """What is in a block is what it says it is."""
    judges = {
        "json": is_json,
        "yaml": is_configuration,
        "js": is_javascript,
        "sh": is_shell,
        "python": is_python,
        "nginx": is_nginx,
    }
    for block in document.blocks:
        judge = judges.get(block.language)
        if not block.language:
            yield f"{document.path}:{block.line}: a block without a language is checked by nothing: fence it, and say which"
        problem = judge and judge(block)
        if problem:
            yield f"{document.path}:{block.line}: {problem}"


def is_json(block):
    try:
        json.loads(block.text)
    except ValueError as error:
        return f"no JSON: {error}"


def is_configuration(block):
    try:
        keys = yaml.safe_load(block.text)
    except yaml.YAMLError as error:
        return f"no YAML: {error}"
    if block.mark.startswith("not luner's:"):
        return None
    frame = "".join(text for key, text in FRAME.items() if key not in keys)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(frame + block.text)
        file.flush()
        return complaint(ask(LUNER, "check", "--config", file.name))


def is_javascript(block):
    with tempfile.NamedTemporaryFile("w", suffix=".mjs") as file:
        file.write(block.text)
        file.flush()
        return complaint(ask("node", "--check", file.name))


def is_shell(block):
    return complaint(ask("bash", "-n", "-c", block.text))


def is_nginx(block):
    """A part of a server. Without nginx on the machine it is taken as it is."""
    if not (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        return None
    with tempfile.TemporaryDirectory() as folder:
        logs = "pid pid; error_log stderr; events {} http { access_log off; "
        bodies = "".join(f"{kind}_temp_path {kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (Path(folder) / "nginx.conf").write_text(f"{logs}{bodies} server {{ listen 127.0.0.1:8081;\n{block.text}\n}} }}")
        return complaint(ask(nginx, "-t", "-q", "-p", folder, "-c", "nginx.conf"))


def is_python(block):
    try:
        compile(block.text, "block", "exec")
    except SyntaxError as error:
        return f"no Python: {error}"


def ask(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)


def complaint(result):
    return None if result.returncode == 0 else (result.stderr or result.stdout).strip() or f"exit code {result.returncode}"


# ---- commands ----


def commands(document):
    """Targets, subcommands, flags and files that a command names exist, whether it is run or not."""
    # A reader may stand at the root or in the document's own folder.
    folders = (ROOT, (ROOT / document.path).parent)
    for block in document.blocks:
        if block.language == "sh":
            tries = [list(script(block, folder)) for folder in folders]
            yield from (f"{document.path}:{block.line}: {problem}" for problem in min(tries, key=len))
    for code, line in document.codes:
        if INLINE.match(code):
            words = code.replace("[", "").replace("]", "").split()
            tries = [list(command(words, folder, True)) for folder in folders]
            yield from (f"{document.path}:{line}: {problem}" for problem in min(tries, key=len))


def script(block, folder):
    for words in invocations(block.text):
        yield from command(words, folder, not block.runs)
        if words[0] == "cd" and len(words) == 2:
            folder = folder / words[1]


def command(words, folder, files):
    name = words[0].removeprefix("./bin/")
    if name == "make":
        for target in words[1:]:
            if "=" not in target and not target.startswith("-") and target not in targets():
                yield f"make has no target {target}"
    elif name == "luner":
        yield from luner_command(words[1:])
    elif words[:2] == ["npm", "run"] and words[2] not in scripts(folder):
        yield f"npm has no script {words[2]}"
    elif name == "mock-llm":
        flags = usage(MOCK) | {"--help"}
        yield from (f"mock-llm knows no {word}" for word in words[1:] if word.startswith("--") and word not in flags)
    if name == "kubectl":
        # Resources look like files: service/luner.
        words = [name, *(word for flag, word in zip(words, words[1:]) if flag in ("-f", "-k"))]
    for word in words if files else []:
        looks = "/" in word or FILE_NAME.match(word)
        if looks and re.match(r"^[\w.-][\w./-]*$", word) and not MADE.search(word) and not (folder / word).exists():
            yield f"{' '.join(words)}: there is no {word}"


def luner_command(words):
    path = []
    while words and words[0] in subcommands(*path):
        path.append(words.pop(0))
    if words and not path and re.match(r"^[a-z]", words[0]):
        yield f"luner has no command {words[0]}"
    known = usage(LUNER, *path)
    for word in words:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in known and flag not in ("--help", "--version"):
            yield f"luner {' '.join(path)} knows no {flag}"


def invocations(script):
    """The simple commands of a script, as words; quotes may span lines."""
    pending = ""
    for line in script.replace("\\\n", " ").splitlines():
        pending += line + "\n"
        lexer = shlex.shlex(pending, posix=True, punctuation_chars=";&|<>()")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quote is open
            continue
        pending, current = "", []
        for word in [*words, ";"]:
            if word and set(word) <= set(";&|<>()"):
                if current := effective(current):
                    yield current
                current = []
            else:
                current.append(word)


def effective(words):
    while words and (words[0] in ("sudo", "exec", "time") or re.match(r"^\w+=", words[0])):
        words = words[1:]
    return words


@cache
def targets():
    text = (ROOT / "Makefile").read_text()
    text += "".join((ROOT / included).read_text() for included in re.findall(r"^include (\S+)$", text, re.MULTILINE))
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.MULTILINE))


def scripts(folder):
    file = folder / "package.json"
    return json.loads(file.read_text())["scripts"] if file.exists() else {}


@cache
def usage(program, *path):
    result = ask(program, *path, "--help")
    return set(re.findall(r"--[a-z-]+", result.stdout)) if result.returncode == 0 else set()


@cache
def subcommands(*path):
    text = ask(LUNER, *path, "--help").stdout
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.MULTILINE)
    return set(re.findall(r"^  ([a-z]+)", listed.group(1), re.MULTILINE)) - {"help"} if listed else set()


# ---- tables ----


def tables(document):
    """Tables with a name say neither more nor less than the source that they are held to."""
    for table in document.tables:
        if table.name:
            judge = JUDGES.get(table.name)
            problems = judge(table) if judge else ["there is no such source of truth"]
            yield from (f"{document.path}:{table.line}: table {table.name}: {problem}" for problem in problems)


def differences(said, true):
    """Each once, in both directions."""
    yield from (f"{show(one)} comes twice" for one, count in Counter(said).items() if count > 1)
    yield from (f"{show(one)} does not exist" for one in sorted(set(said) - set(true), key=str))
    yield from (f"{show(one)} is missing" for one in sorted(set(true) - set(said), key=str))


def show(one):
    return " ".join(map(str, one)) if isinstance(one, tuple) else str(one)


def keys(table):
    true = dict(leaves(json.loads((ROOT / "config/schema.json").read_text())))
    rows = {row[0].codes[0]: row for row in table.rows[1:] if row[0].codes}
    yield from differences([row[0].codes[0] for row in table.rows[1:]], true)
    for key in rows.keys() & true.keys():
        default, restart = true[key]
        said = (rows[key][2].codes or [None])[0]
        if said != default:
            yield f"{key}: its default is {default}, not {said}"
        # The word of the fourth column is a language's; the column of a key that needs a restart differs from the others'.
        hot = table.rows[1][3].text
        if (rows[key][3].text != hot) != restart:
            yield f"{key}: {'needs a restart' if restart else 'is hot'}"


def leaves(schema, path=""):
    """(key, (default as it is written, whether it needs a restart)) of every key that has a value."""
    for key, value in schema["properties"].items():
        here = f"{path}{key}"
        inner = value.get("items", {})
        if "properties" in value:
            yield from leaves(value, f"{here}.")
        elif "properties" in inner:
            yield from leaves(inner, f"{here}[].")
        else:
            required = key in schema.get("required", []) or "default" not in value
            default = None if required else value["default"]
            text = default if isinstance(default, str) and default else json.dumps(default)
            yield here, (None if required else text, "restart" in value.get("description", "").lower())


def metrics(table):
    source = (ROOT / "src/names.rs").read_text()
    yield from differences([row[0].codes[0] for row in table.rows[1:]], re.findall(r'"(luner_\w+)"', source))
    # ``/// Counter `{provider, model}`, in dollars.`` above the constant; without braces it has none.
    told = r'/// \w+[^\n`{]*(?:`\{([\w, ]+)\}`)?[^\n]*\npub const \w+: &str = "(luner_\w+)"'
    labels = {name: re.findall(r"\w+", said) for said, name in re.findall(told, source)}
    for row in table.rows[1:]:
        true = labels.get(row[0].codes[0], [])
        # Its label is told in prose there.
        if row[0].codes[0] != "luner_build_info" and row[1].codes != true:
            yield f"{row[0].codes[0]}: its labels are {true}, not {row[1].codes}"


def rest(table):
    document = json.loads((ROOT / "config/openapi.json").read_text())
    methods = {"get", "post", "put", "delete", "patch"}
    true = [(method.upper(), path) for path, item in document["paths"].items() for method in item.keys() & methods]
    yield from differences([(method, row[1].codes[0]) for row in table.rows[1:] for method in row[0].codes], true)


def variables(table):
    source = (ROOT / "src/policy/variable.rs").read_text()
    true = [(name, kind.lower()) for name, kind in re.findall(r'\(\s*"(\w+)",\s*(String|Int|Double|Bool|Timestamp),', source)]
    count = int(re.search(r"ALL: \[Variable; (\d+)\]", source).group(1))
    if len(true) != count:
        yield f"{len(true)} of {count} variables were found in src/policy/variable.rs: this check reads it wrongly"
    yield from differences([(row[0].codes[0], row[1].text) for row in table.rows[1:]], true)


def policies(table):
    for row in table.rows[1:]:
        problem = complaint(ask(LUNER, "policy", "test", "--expr", row[1].codes[0]))
        if problem:
            yield problem
        if row[2].text not in ("block", "alert", "downgrade"):
            yield f"{row[2].text} is no action"


def command_table(table):
    said = []
    for row in table.rows[1:]:
        words = row[0].codes[0].replace("[", "").replace("]", "").split()[1:]
        path = []
        while words and words[0] in subcommands(*path):
            path.append(words.pop(0))
        said.append(path[0] if path else row[0].codes[0])
        flags = [word for code in row[1].codes for word in re.findall(r"--[a-z-]+", code)]
        yield from luner_command([*path, *flags])
    yield from differences(said, subcommands())


def errors(table):
    source = (ROOT / "src/shard/answer/refusal.rs").read_text()
    true = set(re.findall(r'row\((\d+), [^,]+, Some\("(\w+)"\)', source))
    facts = (ROOT / "src/dialect/openai/facts.rs").read_text()
    codes = re.search(r"pub fn code\(&self\).*?\n    }", facts, re.DOTALL).group(0)
    true |= {("400", code) for code in re.findall(r'"(\w+)"', codes)}
    # Only management asks for a token, and has this one from api/error.rs.
    true.add(("401", "invalid_api_key"))
    # Another status for the same code, where several stand in one row.
    said = [(status, code) for row in table.rows[1:] for status in re.findall(r"\d+", row[0].text) for code in row[1].codes]
    yield from differences(said, true)


def headers(table):
    for header in table_codes(table):
        if header.startswith("x-") and header not in header_names():
            yield f"{header} is not in src/names.rs"


def all_headers(documents):
    """The tables of headers together name every one."""
    tables = (table for document in documents for table in document.tables if table.name == "headers")
    said = {header for table in tables for header in table_codes(table)}
    yield from (f"the header {name} is in no table" for name in sorted(header_names() - said))


def table_codes(table):
    return [code.lower() for row in table.rows[1:] for code in row[0].codes]


@cache
def header_names():
    source = (ROOT / "src/names.rs").read_text()
    return {name.lower() for name in re.findall(r'pub const \w+: &str = "(x-[\w-]+)"', source, re.IGNORECASE)}


JUDGES = {
    "keys": keys,
    "metrics": metrics,
    "rest": rest,
    "variables": variables,
    "policies": policies,
    "commands": command_table,
    "errors": errors,
    "headers": headers,
}

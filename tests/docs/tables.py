"""Compares tables with the code, the schema or the records that they repeat. A comment above a table names it."""

import json
import re
from collections import Counter
from functools import cache

import documents
from commands import luner_problems
from documents import ROOT
from programs import LUNER, failure, subcommands


def tables(document):
    """A named table has exactly the entries of its source of truth."""
    for table in document.tables:
        if table.name:
            check = CHECKS.get(table.name)
            problems = check(table) if check else ["there is no such source of truth"]
            yield from (f"{document.path}:{table.line}: table {table.name}: {problem}" for problem in problems)


def differences(listed, actual):
    """Entries that are repeated, that do not exist, or that are missing."""
    yield from (f"{show(entry)} is listed twice" for entry, count in Counter(listed).items() if count > 1)
    yield from (f"{show(entry)} does not exist" for entry in sorted(set(listed) - set(actual), key=str))
    yield from (f"{show(entry)} is missing" for entry in sorted(set(actual) - set(listed), key=str))


def show(entry):
    return " ".join(map(str, entry)) if isinstance(entry, tuple) else str(entry)


def keys(table):
    actual = dict(leaves(json.loads((ROOT / "config/schema.json").read_text())))
    rows = {row[0].codes[0]: row for row in table.rows[1:] if row[0].codes}
    yield from differences([row[0].codes[0] for row in table.rows[1:]], actual)
    for key in rows.keys() & actual.keys():
        default, restart = actual[key]
        listed = (rows[key][2].codes or [None])[0]
        if listed != default:
            yield f"{key}: its default is {default}, not {listed}"
        if rows[key][3].text != ("restart" if restart else "hot"):
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
    # A comment such as ``/// Counter `{provider, model}`, in dollars.`` above the constant; without braces there are no labels.
    documented = r'/// \w+[^\n`{]*(?:`\{([\w, ]+)\}`)?[^\n]*\npub const \w+: &str = "(luner_\w+)"'
    labels = {name: re.findall(r"\w+", listed) for listed, name in re.findall(documented, source)}
    for row in table.rows[1:]:
        actual = labels.get(row[0].codes[0], [])
        # The comment above this one names its label in prose.
        if row[0].codes[0] != "luner_build_info" and row[1].codes != actual:
            yield f"{row[0].codes[0]}: its labels are {actual}, not {row[1].codes}"


def rest(table):
    openapi = json.loads((ROOT / "config/openapi.json").read_text())
    methods = {"get", "post", "put", "delete", "patch"}
    actual = [(method.upper(), path) for path, item in openapi["paths"].items() for method in item.keys() & methods]
    yield from differences([(method, row[1].codes[0]) for row in table.rows[1:] for method in row[0].codes], actual)


def variables(table):
    source = (ROOT / "src/policy/variable.rs").read_text()
    actual = [(name, kind.lower()) for name, kind in re.findall(r'\(\s*"(\w+)",\s*(String|Int|Double|Bool|Timestamp),', source)]
    count = int(re.search(r"ALL: \[Variable; (\d+)\]", source).group(1))
    if len(actual) != count:
        yield f"found {len(actual)} of {count} variables in src/policy/variable.rs: this check no longer understands the file"
    yield from differences([(row[0].codes[0], row[1].text) for row in table.rows[1:]], actual)


def policies(table):
    for row in table.rows[1:]:
        problem = failure(LUNER, "policy", "test", "--expr", row[1].codes[0])
        if problem:
            yield problem
        if row[2].text not in ("block", "alert", "downgrade"):
            yield f"{row[2].text} is not an action"


def command_line(table):
    listed = []
    for row in table.rows[1:]:
        words = row[0].codes[0].replace("[", "").replace("]", "").split()[1:]
        subcommand = []
        while words and words[0] in subcommands(*subcommand):
            subcommand.append(words.pop(0))
        listed.append(subcommand[0] if subcommand else row[0].codes[0])
        flags = [word for code in row[1].codes for word in re.findall(r"--[a-z-]+", code)]
        yield from luner_problems([*subcommand, *flags])
    yield from differences(listed, subcommands())


def errors(table):
    source = (ROOT / "src/shard/answer/refusal.rs").read_text()
    actual = set(re.findall(r'row\((\d+), [^,]+, Some\("(\w+)"\)', source))
    facts = (ROOT / "src/dialect/openai/facts_error.rs").read_text()
    codes = re.search(r"pub fn code\(&self\).*?\n    }", facts, re.DOTALL).group(0)
    actual |= {("400", code) for code in re.findall(r'"(\w+)"', codes)}
    # The REST API's own code for a missing or wrong token, from api/error.rs.
    actual.add(("401", "invalid_api_key"))
    # A row may name several statuses with the same code.
    listed = [(status, code) for row in table.rows[1:] for status in re.findall(r"\d+", row[0].text) for code in row[1].codes]
    yield from differences(listed, actual)


def headers(table):
    for header in table_codes(table):
        if header.startswith("x-") and header not in header_names():
            yield f"{header} is not in src/names.rs"


def unlisted_headers(chapters):
    """Headers of luner that none of the tables of headers lists."""
    found = (table for document in chapters for table in document.tables if table.name == "headers")
    listed = {header for table in found for header in table_codes(table)}
    yield from (f"no table lists the header {name}" for name in sorted(header_names() - listed))


def table_codes(table):
    return [code.lower() for row in table.rows[1:] for code in row[0].codes]


@cache
def header_names():
    source = (ROOT / "src/names.rs").read_text()
    return {name.lower() for name in re.findall(r'pub const \w+: &str = "(x-[\w-]+)"', source, re.IGNORECASE)}


def benchmark(table):
    """The figures of each row are in one row of a recorded run, the same run for the whole table."""
    rows = [{cell.text for cell in row[1:]} for row in table.rows[1:]]
    runs = [documents.read(path) for path in documents.files(f"{documents.RECORDS}*.md")]
    recorded = [[{cell.text for cell in row} for table in run.tables for row in table.rows] for run in runs]
    if not any(all(any(row <= known for known in run) for row in rows) for run in recorded):
        yield f"no run in {documents.RECORDS} has all of these figures"


CHECKS = {
    "benchmark": benchmark,
    "commands": command_line,
    "errors": errors,
    "headers": headers,
    "keys": keys,
    "metrics": metrics,
    "policies": policies,
    "rest": rest,
    "variables": variables,
}

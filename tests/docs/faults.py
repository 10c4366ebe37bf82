"""The catalogue of faults, tests/FAULTS.md: the rows that code names exist, and so do the tests that rows name."""

import re

from documents import ROOT

CATALOGUE = "tests/FAULTS.md"
LIST = r"\d+(?:(?:,| and| to|, and) \d+)*"
# "FAULTS.md rows 74 to 76", "(FAULTS.md row 41)".
NAMED = re.compile(rf"\b[Rr]ows? ({LIST})\b")
# A number above a test that does not say what it counts: the form is `/// FAULTS.md row 51.`
BARE = re.compile(rf"^ *//+ ((?:[Rr]ows? )?{LIST})(?=[.:;]|$)(?=[^\n]*\n(?: *//[^\n]*\n)* *#\[test\])", re.MULTILINE)
CONTINUED = re.compile(r"\n\s*//[/!]? ")
TEST = re.compile(r"^( *)#\[test\]\n(?: *#\[[^\n]*\n)*\s*fn (\w+)", re.MULTILINE)


def numbers(text):
    """`3, 5 and 7 to 9` as numbers."""
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        yield from range(int(first), int(last or first) + 1)


def named(source):
    """The rows that a Rust file names."""
    lists = NAMED.findall(CONTINUED.sub(" ", source))
    return {number for part in lists for number in numbers(part)}


def tests(path, source):
    """The tests of a Rust file, as cargo names them: `a::b::tests::name`, and for `tests/it` the file's module."""
    parts = path.removesuffix(".rs").removesuffix("/mod").split("/")
    module = parts[2:] if path.startswith("tests/it/") else parts[1:]
    for indent, name in TEST.findall(source):
        yield "::".join([*module, "tests", name] if indent else [*module, name])


def rows(document):
    """(number, line of the table, tests as `code`, what happens) of every row."""
    for table in document.tables:
        for row in table.rows[1:]:
            yield int(row[0].text), table.line, row[3].codes, row[2].text


def problems(document, sources):
    """`sources` maps a path to its text."""
    known = {name for path, source in sources.items() for name in tests(path, source)}
    numbered = [number for number, *_ in rows(document)]
    if numbered != list(range(1, len(numbered) + 1)):
        yield f"{document.path}: rows are numbered {numbered}"
    for number, line, codes, text in rows(document):
        if not codes and "no test:" not in text.lower():
            yield f"{document.path}:{line}: row {number} has no test and does not say why"
        for code in codes:
            if code not in known and not ("::" not in code and (ROOT / code).is_file()):
                yield f"{document.path}:{line}: row {number}: there is no test {code}"
    for path, source in sources.items():
        for number in sorted(named(source) - set(numbered)):
            yield f"{path}: {document.path} has no row {number}"
        for text in BARE.findall(source):
            yield f"{path}: `// {text}` above a test; write `/// FAULTS.md row ...`"

"""The catalogue of faults, tests/FAULTS.md: the rows that code names exist, and so do the tests that rows name."""

import re

from documents import ROOT

CATALOGUE = "tests/FAULTS.md"
LIST = r"\d+(?:(?:,| and| to|, and) \d+)*"
# "FAULTS.md rows 74 to 76", "Row 24.", "(row 41)".
NAMED = re.compile(rf"\b[Rr]ows? ({LIST})\b")
# `// 6, 11` alone, or with a word behind it, above a test.
ABOVE = re.compile(rf"^// ({LIST})(?=[.:;]|$)(?=[^\n]*\n(?:// [^\n]*\n)*#\[test\])", re.MULTILINE)
CONTINUED = re.compile(r"\n\s*//[/!]? ")
TEST = re.compile(r"^( *)#\[test\]\n(?: *#\[[^\n]*\n)*\s*fn (\w+)", re.MULTILINE)


def numbers(said):
    """`3, 5 and 7 to 9` as numbers."""
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", said):
        yield from range(int(first), int(last or first) + 1)


def named(source):
    """The rows that a file of Rust names."""
    said = NAMED.findall(CONTINUED.sub(" ", source)) + ABOVE.findall(source)
    return {number for part in said for number in numbers(part)}


def tests(path, source):
    """The tests of a file of Rust, as cargo names them: `a::b::tests::name`, for `tests/it` by the file."""
    parts = path.removesuffix(".rs").removesuffix("/mod").split("/")
    module = parts[2:] if path.startswith("tests/it/") else parts[1:]
    for indent, name in TEST.findall(source):
        yield "::".join([*module, "tests", name] if indent else [*module, name])


def rows(document):
    """Rows by their number: (line of the table, tests as `code`, all text)."""
    for table in document.tables:
        for row in table.rows[1:]:
            yield int(row[0].text), table.line, row[3].codes, row[2].text


def problems(document, sources):
    """`sources` maps a path to its text."""
    known = {name for path, source in sources.items() for name in tests(path, source)}
    numbered = [number for number, *_ in rows(document)]
    if numbered != list(range(1, len(numbered) + 1)):
        yield f"{document.path}: rows are numbered {numbered}"
    for number, line, codes, said in rows(document):
        if not codes and "no test:" not in said.lower():
            yield f"{document.path}:{line}: row {number} has no test and does not say why"
        for code in codes:
            if code not in known and not ("::" not in code and (ROOT / code).is_file()):
                yield f"{document.path}:{line}: row {number}: there is no test {code}"
    for path, source in sources.items():
        for number in sorted(named(source) - set(numbered)):
            yield f"{path}: {document.path} has no row {number}"

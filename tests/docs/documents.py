"""Parses the project's documents into headings, links, code blocks and tables, with GitHub's Markdown rules. Checks nothing.

An HTML comment directly above a block or a table says how the checks treat it:

    <!-- serves -->             the block starts a server, which is stopped once it is healthy
    <!-- not run: WHY -->       the block is not run, but the files and flags that it names must exist
    <!-- not luner's: WHY -->   the YAML is not a configuration of luner
    <!-- table: NAME -->        the table is compared with its source of truth, see tables.py
"""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->\s*$", re.DOTALL)
# Recorded benchmark runs. Commands and files that they name may be gone by now.
RECORDS = "bench/results/"
# The manual: a book whose chapters are listed in its summary. Its commands run from the root of the tree.
MANUAL = "docs/"
SUMMARY = MANUAL + "SUMMARY.md"


@dataclass
class Block:
    """A fenced block of code."""

    language: str
    text: str
    line: int
    mark: str

    @property
    def runs(self):
        return not self.mark.startswith("not run:")


@dataclass
class Table:
    name: str
    line: int
    rows: list  # of lists of Cell


@dataclass
class Cell:
    text: str
    codes: list


@dataclass
class Document:
    path: str
    text: str
    headings: list = field(default_factory=list)  # (level, text)
    anchors: set = field(default_factory=set)
    links: list = field(default_factory=list)  # (target, line)
    codes: list = field(default_factory=list)  # (inline code, line)
    blocks: list = field(default_factory=list)
    tables: list = field(default_factory=list)

    @property
    def is_chapter(self):
        return self.path.startswith(MANUAL) and self.path != SUMMARY

    @property
    def folder(self):
        """The folder in which a reader runs the document's commands."""
        return Path() if self.path.startswith(MANUAL) else Path(self.path).parent


def files(*patterns):
    """Every file of the tree that matches a pattern, whether it is committed yet or not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({path for path in listed.split("\0") if path and (ROOT / path).is_file()})


def read(path):
    return parse(path, (ROOT / path).read_text())


def tree():
    """Every document of the tree except recorded benchmark runs."""
    return [read(path) for path in files("*.md") if not path.startswith(RECORDS)]


def parse(path, text):
    document = Document(path, text)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    slugs = Counter()
    mark, mark_end, table, row = "", -1, None, None
    for number, token in enumerate(tokens):
        begin = token.map[0] if token.map else -1
        line = begin + 1
        if token.type == "html_block":
            comment = COMMENT.match(token.content)
            mark, mark_end = (comment.group(1), token.map[1]) if comment else ("", -1)
            document.anchors.update(re.findall(r'(?:id|name)="([^"]+)"', token.content))
        elif token.type == "heading_open":
            inline = tokens[number + 1]
            heading = "".join(child.content for child in inline.children)
            document.headings.append((int(token.tag[1]), heading))
            slug = slug_of(heading)
            document.anchors.add(f"{slug}-{slugs[slug]}" if slugs[slug] else slug)
            slugs[slug] += 1
        elif token.type == "fence":
            above = mark if begin == mark_end else ""
            document.blocks.append(Block(token.info.strip(), token.content, line, above))
        elif token.type == "code_block":
            document.blocks.append(Block("", token.content, line, ""))
        elif token.type == "table_open":
            above = mark if begin == mark_end else ""
            table = Table(above.removeprefix("table:").strip() if above.startswith("table:") else "", line, [])
            document.tables.append(table)
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            table.rows.append(row)
            row = None
        elif token.type == "inline":
            read_inline(document, token, line)
            if row is not None:
                codes = [child.content for child in token.children if child.type == "code_inline"]
                row.append(Cell(token.content, codes))
    return document


def read_inline(document, token, line):
    for child in token.children:
        if child.type == "code_inline":
            document.codes.append((child.content, line))
        elif child.type == "link_open":
            document.links.append((child.attrs["href"], line))
        elif child.type == "image":
            document.links.append((child.attrs["src"], line))


def slug_of(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

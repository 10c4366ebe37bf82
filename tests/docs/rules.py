"""Rules for whole documents: links, named files, translations, the manual's summary. Each rule yields problems as text."""

import re
from collections import Counter
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from commands import GENERATED
from documents import ROOT

# Paths of the tree, as text names them.
TREE_PATH = re.compile(r"^(src|tests|config|docs|deployments|examples|bench|scripts|web|\.github|\.ci)/[\w./-]+$")
# A comment, up to the end of its line.
COMMENTS = {**dict.fromkeys(("sh", "yaml", "nginx", "python"), r"(^|\s+)#.*$"), "js": r"(^|\s+)//.*$"}
# Drawings, whose words may be translated.
DRAWINGS = {"mermaid", "text"}


def links(document, anchors_of=None):
    """Links lead to files and headings that exist; other sites are named by a whole URL."""
    folder = (ROOT / document.path).parent
    for target, line in document.links:
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("http", "https", "mailto") or not (parts.netloc or parts.scheme == "mailto"):
                yield f"{document.path}:{line}: {target} is not a URL"
            continue
        file = (folder / unquote(parts.path)).resolve() if parts.path else ROOT / document.path
        if parts.path and not file.exists():
            yield f"{document.path}:{line}: {target}: there is no such file"
        elif parts.fragment:
            anchors = document.anchors if file == ROOT / document.path else anchors_of(file) if anchors_of else None
            if anchors is not None and unquote(parts.fragment) not in anchors:
                yield f"{document.path}:{line}: {target}: there is no such heading"


def paths(document):
    """Files of the tree that the text names exist, seen from the root or from the document's own folder."""
    folder = (ROOT / document.path).parent
    for code, line in document.codes:
        exists = (ROOT / code).exists() or (folder / code).exists()
        if TREE_PATH.match(code) and not GENERATED.search(code) and not exists:
            yield f"{document.path}:{line}: `{code}`: there is no such file"


def summary(document, chapters):
    """The summary lists each chapter exactly once, under the chapter's own title."""
    folder = PurePosixPath(document.path).parent
    titles = {chapter.path: chapter.headings[0][1] if chapter.headings else "" for chapter in chapters}
    listed = [(str(folder / link), title) for title, link in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", document.text)]
    for path, count in Counter(path for path, _ in listed).items():
        if count > 1:
            yield f"{document.path} lists {path} {count} times"
    for path, title in listed:
        if path in titles and title != titles[path]:
            yield f"{document.path} calls {path} {title!r}, but its first heading is {titles[path]!r}"
    yield from (f"{document.path} does not list {path}" for path in titles.keys() - {path for path, _ in listed})


def twins(original, translation):
    """A translation has the outline of its original, and the same code except for comments."""
    levels = [[level for level, _ in document.headings] for document in (original, translation)]
    if levels[0] != levels[1]:
        pairs = zip(original.headings + [(0, "")] * 99, translation.headings + [(0, "")] * 99)
        first = next(pair for pair in pairs if pair[0][0] != pair[1][0])
        yield f"{original.path} and {translation.path}: their headings differ from {first[0]} and {first[1]} on"
    if len(original.blocks) != len(translation.blocks):
        counts = len(original.blocks), len(translation.blocks)
        yield f"{original.path} has {counts[0]} blocks of code, {translation.path} has {counts[1]}"
    for left, right in zip(original.blocks, translation.blocks):
        place = f"{translation.path}:{right.line}"
        if left.language != right.language or left.mark.split(":")[0] != right.mark.split(":")[0]:
            yield f"{place}: is {right.language} {right.mark}, but should be {left.language} {left.mark}"
        elif left.language not in DRAWINGS and without_comments(left) != without_comments(right):
            yield f"{place}: differs from {original.path}:{left.line}"
    named = [[(table.name, len(table.rows)) for table in document.tables] for document in (original, translation)]
    if named[0] != named[1]:
        yield f"{original.path} and {translation.path}: their tables differ: {named[0]} and {named[1]}"
    for left, right in zip(original.tables, translation.tables):
        for number, (row, translated) in enumerate(zip(left.rows[1:], right.rows[1:]), start=1):
            if row[0].codes != translated[0].codes:
                yield f"{translation.path}:{right.line}: row {number} is {translated[0].codes}, but should be {row[0].codes}"


def without_comments(block):
    comment = COMMENTS.get(block.language)
    lines = block.text.splitlines()
    return [re.sub(comment, "", line).rstrip() if comment else line for line in lines]

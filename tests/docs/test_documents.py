"""The documents of the tree keep their word: `make test-docs`."""

import pytest

import documents
import faults
import rules
import scratch

TREE = documents.tree()
BY_PATH = {document.path: document for document in TREE}
# Chinese stands beside English; its commands are the same, so they run once.
TWINS = [("README.md", "README.zh.md")]
CHAPTERS = [document for document in TREE if document.path.startswith(documents.MANUAL) and document.path != documents.SUMMARY]
# Arbitrary: what a newcomer reads before starting. Whatever is longer belongs in the manual.
README_LINES_MAX = 250
RUN = [document for document in TREE if document.path not in {other for _, other in TWINS}]


def each(rule):
    return [problem for document in TREE for problem in rule(document)]


def anchors_of(file):
    document = BY_PATH.get(str(file.relative_to(documents.ROOT))) if file.is_relative_to(documents.ROOT) else None
    return document.anchors if document else None


def hold(problems):
    assert not problems, "\n" + "\n".join(problems)


def test_links_lead_to_files_and_headings_that_exist():
    hold(each(lambda document: rules.links(document, anchors_of)))


def test_files_that_the_text_names_exist():
    hold(each(rules.paths))


def test_blocks_are_in_the_language_that_they_claim():
    hold(each(rules.blocks))


def test_commands_name_targets_subcommands_flags_and_files_that_exist():
    hold(each(rules.commands))


def test_tables_say_what_their_source_says():
    hold(each(rules.tables))


def test_faults_and_their_tests_name_each_other():
    paths = documents.files("src/*.rs", "tests/it/*.rs")
    sources = {path: (documents.ROOT / path).read_text() for path in paths}
    hold(list(faults.problems(BY_PATH[faults.CATALOGUE], sources)))


@pytest.mark.parametrize("one, other", TWINS)
def test_both_languages_say_the_same(one, other):
    hold(list(rules.twins(BY_PATH[one], BY_PATH[other])))


@pytest.mark.parametrize("path", ["README.md", "README.zh.md"])
def test_readme_is_short(path):
    assert len(BY_PATH[path].text.splitlines()) <= README_LINES_MAX


def test_summary_lists_every_chapter():
    hold(list(rules.summary(BY_PATH[documents.SUMMARY], CHAPTERS)))


def test_manual_has_every_table_that_is_checked():
    assert {table.name for document in CHAPTERS for table in document.tables if table.name} == set(rules.JUDGES)
    hold(list(rules.all_headers(CHAPTERS)))


@pytest.mark.parametrize("document", RUN, ids=lambda document: document.path)
def test_commands_work_in_their_order(document, tmp_path):
    if not any(block.runs and block.language in ("sh", "python", "js") for block in document.blocks):
        pytest.skip("nothing in it is run")
    with scratch.Scratch(tmp_path) as copy:
        copy.run(document)

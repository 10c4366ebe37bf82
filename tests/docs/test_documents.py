"""Checks every document of the tree: `make test-docs`."""

import pytest

import blocks
import commands
import documents
import faults
import rules
import scratch
import tables

TREE = documents.tree()
BY_PATH = {document.path: document for document in TREE}
CHAPTERS = [document for document in TREE if document.is_chapter]
# The Chinese README repeats the commands of the English one, so only the latter are run.
TWINS = [("README.md", "README.zh.md")]
RUN = [document for document in TREE if document.path not in {translation for _, translation in TWINS}]
# Arbitrary: what a newcomer reads before starting. Anything longer belongs in the manual.
README_LINES_MAX = 250


def each(rule):
    return [problem for document in TREE for problem in rule(document)]


def anchors_of(file):
    document = BY_PATH.get(str(file.relative_to(documents.ROOT))) if file.is_relative_to(documents.ROOT) else None
    return document.anchors if document else None


def expect_none(problems):
    assert not problems, "\n" + "\n".join(problems)


def test_links_lead_to_files_and_headings_that_exist():
    expect_none(each(lambda document: rules.links(document, anchors_of)))


def test_files_that_the_text_names_exist():
    expect_none(each(rules.paths))


def test_code_blocks_are_valid_in_their_language():
    expect_none(each(blocks.blocks))


def test_commands_name_targets_subcommands_flags_and_files_that_exist():
    expect_none(each(commands.commands))


def test_tables_agree_with_their_source_of_truth():
    expect_none(each(tables.tables))


def test_fault_catalogue_and_its_tests_name_each_other():
    paths = documents.files("src/*.rs", "tests/it/*.rs")
    sources = {path: (documents.ROOT / path).read_text() for path in paths}
    expect_none(list(faults.problems(BY_PATH[faults.CATALOGUE], sources)))


@pytest.mark.parametrize("original, translation", TWINS)
def test_translation_has_the_outline_and_code_of_its_original(original, translation):
    expect_none(list(rules.twins(BY_PATH[original], BY_PATH[translation])))


@pytest.mark.parametrize("path", ["README.md", "README.zh.md"])
def test_readme_is_short(path):
    assert len(BY_PATH[path].text.splitlines()) <= README_LINES_MAX


def test_summary_lists_every_chapter():
    expect_none(list(rules.summary(BY_PATH[documents.SUMMARY], CHAPTERS)))


def test_manual_has_every_table_that_is_checked():
    assert {table.name for document in CHAPTERS for table in document.tables if table.name} == set(tables.CHECKS)
    expect_none(list(tables.unlisted_headers(CHAPTERS)))


@pytest.mark.parametrize("document", RUN, ids=lambda document: document.path)
def test_commands_succeed_in_their_order(document, tmp_path):
    if not any(block.runs and block.language in ("sh", "python", "js") for block in document.blocks):
        pytest.skip("the document has no commands to run")
    with scratch.Scratch(tmp_path) as copy:
        copy.run(document)

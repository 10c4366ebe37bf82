"""Checks the rules themselves: each must find the mistake in a broken document, and none in a correct one."""

import os
import shutil

import pytest

import blocks
import commands
import documents
import faults
import rules
import scratch
import tables

FENCE = "```"
NGINX = pytest.mark.skipif(not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), reason="nginx is not installed")


def document(text, path="README.md"):
    return documents.parse(path, text)


def block(language, text, mark=""):
    return document(f"{mark}\n{FENCE}{language}\n{text}\n{FENCE}\n")


def table_of(name):
    """The text of a table of the real manual, for a test to break."""
    mark = f"<!-- table: {name} -->"
    chapters = [(documents.ROOT / path).read_text().splitlines() for path in documents.files(f"{documents.MANUAL}*.md")]
    lines = next(lines for lines in chapters if mark in lines)
    begin = lines.index(mark)
    length = next(number for number, line in enumerate(lines[begin:]) if not line)
    return "\n".join(lines[begin : begin + length]) + "\n"


def problems(rule, text, **arguments):
    return "\n".join(rule(document(text), **arguments))


def test_link_to_a_missing_file_is_found():
    assert "no such file" in problems(rules.links, "[one](CHANGELOOG.md)")
    assert not problems(rules.links, "[one](LICENSE) ![two](LICENSE) [three](https://example.com/x)")


def test_link_to_a_missing_heading_is_found():
    text = "# One\n\n## Two words\n\n## Two words\n\n## 配置 `key`\n\n"
    assert "no such heading" in problems(rules.links, text + "[x](#three)")
    assert not problems(rules.links, text + "[x](#two-words) [y](#two-words-1) [z](#配置-key)")
    license = documents.ROOT / "LICENSE"
    anchors_of = lambda file: {"z"} if file == license else None  # noqa: E731
    assert "no such heading" in problems(rules.links, "[x](LICENSE#y)", anchors_of=anchors_of)


def test_url_without_a_host_is_found():
    assert "is not a URL" in problems(rules.links, "[x](https:/example)")


def test_named_file_must_exist():
    assert "no such file" in problems(rules.paths, "see `src/shard/flw.rs`")
    assert not problems(rules.paths, "see `src/lib.rs`, `web/dist` and `text/plain`")


@pytest.mark.parametrize(
    "language, broken, valid",
    [
        ("json", "{'a': 1}", '{"a": 1}'),
        ("yaml", "server: { lissten: ':1' }", "server: { listen: ':1' }"),
        ("yaml", "cache: { default_ttl: soon }", "cache: { default_ttl: 1h }"),
        ("js", "const x = ;", "const x = await 1;"),
        ("sh", "if true; then", "true"),
        ("python", "print(", "print()"),
        pytest.param("nginx", "location /a/ { proxy_pas x; }", "location /a/ { return 204; }", marks=NGINX),
        ("", "anything", None),
        ("sh", "true\n```\n\n    indented\n\n```sh", "true"),
    ],
)
def test_invalid_block_is_found(language, broken, valid):
    assert list(blocks.blocks(block(language, broken)))
    assert valid is None or not list(blocks.blocks(block(language, valid)))


@pytest.mark.parametrize(
    "broken, problem",
    [
        ("make tset", "no target tset"),
        ("./bin/luner serv --config x", "no command serv"),
        ("sudo luner check --konfig x", "no flag --konfig"),
        ("true && luner policy test --exp 'a\nb'", "no flag --exp"),
        ("X=1 ./bin/mock-llm --lissten x", "mock-llm has no flag --lissten"),
        ("kubectl -n x apply -k deployments/kubernetless service/x", "there is no deployments/kubernetless"),
        ("cd config\nless minimall.yaml", "there is no minimall.yaml"),
        ("cd web\nnpm run fixtures", "npm has no script fixtures"),
    ],
)
def test_command_with_a_wrong_name_is_found(broken, problem):
    mark = "<!-- not run: it is broken -->"
    assert problem in "\n".join(commands.commands(block("sh", broken, mark)))


def test_correct_command_is_accepted():
    script = "cd config\nless minimal.yaml >&2\ncd ..\nsudo make test CARGO=cargo && luner check --config config/minimal.yaml"
    assert not list(commands.commands(block("sh", script, "<!-- not run: it is only parsed -->")))


def test_commands_in_the_text_are_checked():
    assert "no target tset" in problems(commands.commands, "say `make tset`")
    assert "no command chek" in problems(commands.commands, "say `luner chek --config x`")
    assert "there is no composed.yml" in problems(commands.commands, "say `docker compose -f composed.yml up`")
    assert not list(commands.commands(document("say `cp shapes.rs x`", "src/config/README.md")))
    assert not problems(commands.commands, "say `luner [serve] --config FILE`, `make test` and `luner.service`")


def test_translation_that_differs_is_found():
    text = f"# A\n\n## B\n\n{FENCE}sh\nmake test # one\n{FENCE}\n\n| a | b |\n|---|---|\n| `x` | y |\n"
    translated = text.replace("# A", "# 甲").replace("# one", "# 一").replace("| y |", "| 乙 |")

    def twins(translation):
        return "\n".join(rules.twins(document(text), document(translation, "README.zh.md")))

    assert not twins(translated)
    assert "headings differ" in twins(translated.replace("## B", "### B"))
    assert "differs from" in twins(translated.replace("make test", "make lint"))
    assert "blocks of code" in twins(translated.split(FENCE)[0])
    assert "row 1" in twins(translated.replace("`x`", "`z`"))


# For each table: a part of its text, what to replace it by, and the problems that must be found.
BROKEN_TABLES = [
    ("metrics", "`luner_cache_size`", "`luner_cache_sise`", ["luner_cache_sise does not exist", "luner_cache_size is missing"]),
    ("metrics", "`provider`, `model`, `status`", "`provider`, `model`", ["luner_requests_total: its labels are"]),
    ("keys", "`server.listen`", "`server.lissten`", ["server.lissten does not exist", "server.listen is missing"]),
    ("keys", "| `5000` |", "| `500` |", ["cache.max_items: its default is 5000, not 500"]),
    ("keys", "| `:8080` | restart |", "| `:8080` | hot |", ["server.listen: needs a restart"]),
    ("rest", "`GET`, `PUT`, `DELETE`", "`GET`, `PUT`", ["DELETE /api/policies/{id} is missing"]),
    ("variables", "| `stream` | bool |", "| `stream` | int |", ["stream int does not exist", "stream bool is missing"]),
    ("policies", "`cost_usd > 10.0`", "`cost > 10.0`", ["cost"]),
    ("policies", "| block |", "| refuse |", ["refuse is not an action"]),
    ("commands", "`luner check --config FILE`", "`luner chek --config FILE`", ["does not exist", "check is missing"]),
    ("commands", "`--workers N`", "`--wrokers N`", ["has no flag --wrokers"]),
    ("errors", "`policy_violation`", "`policy_slip`", ["403 policy_slip does not exist", "403 policy_violation is missing"]),
    ("benchmark", "20.28", "19.28", ["no run in bench/results/ has all of these figures"]),
    ("headers", "`X-Luner-User`", "`X-Luner-Usr`", ["x-luner-usr is not in src/names.rs"]),
]


@pytest.mark.parametrize("name, part, replacement, expected", BROKEN_TABLES)
def test_table_that_differs_from_its_source_is_found(name, part, replacement, expected):
    text = table_of(name)
    assert part in text
    before = set(problems(tables.tables, text).splitlines())
    after = set(problems(tables.tables, text.replace(part, replacement, 1)).splitlines()) - before
    for problem in expected:
        assert any(problem in line for line in after), after


def test_table_without_a_source_is_found():
    assert "no such source" in problems(tables.tables, "<!-- table: dreams -->\n| a |\n|---|\n| b |\n")


def test_header_that_no_table_lists_is_found():
    missing = tables.unlisted_headers([document(table_of("headers"))])
    assert "no table lists the header x-luner-cache" in "\n".join(missing)


def test_chapter_that_the_summary_does_not_list_is_found():
    chapters = [document("# One\n", "docs/one.md"), document("# Two\n", "docs/two.md")]

    def summary(text):
        return "\n".join(rules.summary(document(text, "docs/SUMMARY.md"), chapters))

    assert not summary("- [One](one.md)\n  - [Two](two.md)\n")
    assert "does not list docs/two.md" in summary("- [One](one.md)\n")
    assert "lists docs/one.md 2 times" in summary("- [One](one.md)\n- [One](one.md)\n- [Two](two.md)\n")
    assert "its first heading is 'Two'" in summary("- [One](one.md)\n- [Three](two.md)\n")


CATALOGUE = """
| # | fault | what happens | tests |
|---|---|---|---|
| 1 | a | b | `one::it_holds`, `a::b::tests::it_holds_inside` |
| 2 | c | no test: why | |
"""
SOURCES = {
    "tests/it/one.rs": "//! FAULTS.md rows 1\n//! to 2.\n\n/// FAULTS.md rows 1 and 2.\n#[test]\nfn it_holds() {}\n",
    "src/a/b.rs": "mod tests {\n    /// FAULTS.md row 1.\n    #[test]\n    fn it_holds_inside() {}\n}\n",
}


def test_faults_that_their_tests_do_not_know_are_seen():
    def complaints(text=CATALOGUE, **changed):
        sources = {path: changed.get(path.split("/")[0], source) for path, source in SOURCES.items()}
        return "\n".join(faults.problems(document(text), sources))

    assert not complaints()
    assert "there is no test one::it_held" in complaints(CATALOGUE.replace("it_holds`", "it_held`"))
    assert "there is no test tests/nothing.ts" in complaints(CATALOGUE.replace("one::it_holds", "tests/nothing.ts"))
    assert "row 2 has no test" in complaints(CATALOGUE.replace("no test: why", "d"))
    assert "rows are numbered" in complaints(CATALOGUE.replace("| 2 |", "| 3 |"))
    for named in ("/// FAULTS.md row 3.", "//! (FAULTS.md rows\n//! 1, 3)", "// FAULTS.md rows 1 to 3.", "// Rows 1, 2, and 3."):
        assert "has no row 3" in complaints(tests=SOURCES["tests/it/one.rs"] + named + "\n"), named
    for bare in ("// 1", "// Row 1.", "// 1, 2: why", "/// Rows 1 and 2."):
        assert "above a test" in complaints(tests=SOURCES["tests/it/one.rs"] + bare + "\n#[test]\nfn other() {}\n"), bare
    assert not complaints(tests=SOURCES["tests/it/one.rs"] + "// 3\nconst SECONDS: u64 = 3;\n")


def test_command_that_fails_is_found(tmp_path):
    script = f"{FENCE}sh\nexport GREETING=hello\ncd config\n{FENCE}\n\n{FENCE}sh\n"
    with scratch.Scratch(tmp_path) as copy:
        copy.run(document(script + f'[[ $GREETING == hello && -e minimal.yaml ]]\n{FENCE}\n'))
        for broken in ("false | true", "curl http://127.0.0.1:8080/v1/nothing"):
            with pytest.raises(scratch.Failed, match="README.md:6: exit code"):
                copy.run(document(script + f"{broken}\n{FENCE}\n"))
        with pytest.raises(scratch.Failed, match="exit code"):
            copy.run(block("python", "raise SystemExit(3)"))
        with pytest.raises(scratch.Failed, match="no server"):
            copy.run(block("sh", "false", "<!-- serves -->"))

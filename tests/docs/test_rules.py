"""The rules see what is broken: each is given a document that breaks it, and one that does not."""

import os
import shutil

import pytest

import documents
import faults
import rules
import scratch

FENCE = "```"
NGINX = pytest.mark.skipif(not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), reason="there is no nginx")


def document(text, path="README.md"):
    return documents.parse(path, text)


def block(language, text, mark=""):
    return document(f"{mark}\n{FENCE}{language}\n{text}\n{FENCE}\n")


def table_of(name):
    """That table of the real manual, as text, to be bent."""
    mark = f"<!-- table: {name} -->"
    chapters = [(documents.ROOT / path).read_text().splitlines() for path in documents.files(f"{documents.MANUAL}*.md")]
    lines = next(lines for lines in chapters if mark in lines)
    begin = lines.index(mark)
    length = next(number for number, line in enumerate(lines[begin:]) if not line)
    return "\n".join(lines[begin : begin + length]) + "\n"


def said(rule, text, **more):
    return "\n".join(rule(document(text), **more))


def test_a_link_to_a_missing_file_is_seen():
    assert "no such file" in said(rules.links, "[one](CHANGELOOG.md)")
    assert not said(rules.links, "[one](LICENSE) ![two](LICENSE) [three](https://example.com/x)")


def test_a_link_to_a_missing_heading_is_seen():
    text = "# One\n\n## Two words\n\n## Two words\n\n## 配置 `key`\n\n"
    assert "no such heading" in said(rules.links, text + "[x](#three)")
    assert not said(rules.links, text + "[x](#two-words) [y](#two-words-1) [z](#配置-key)")
    other = documents.ROOT / "LICENSE"
    assert "no such heading" in said(rules.links, "[x](LICENSE#y)", at=lambda file: {"z"} if file == other else None)


def test_a_url_without_a_host_is_seen():
    assert "is no URL" in said(rules.links, "[x](https:/example)")


def test_a_file_that_is_only_named_must_exist():
    assert "no such file" in said(rules.paths, "see `src/shard/flw.rs`")
    assert not said(rules.paths, "see `src/shard/judge/flow.rs`, `web/dist` and `text/plain`")


@pytest.mark.parametrize(
    "language, broken, sound",
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
def test_a_block_that_is_not_what_it_claims_is_seen(language, broken, sound):
    assert list(rules.blocks(block(language, broken)))
    assert sound is None or not list(rules.blocks(block(language, sound)))


@pytest.mark.parametrize(
    "broken, why",
    [
        ("make tset", "no target tset"),
        ("./bin/luner serv --config x", "no command serv"),
        ("sudo luner check --konfig x", "knows no --konfig"),
        ("true && luner policy test --exp 'a\nb'", "knows no --exp"),
        ("X=1 ./bin/mock-llm --lissten x", "mock-llm knows no --lissten"),
        ("kubectl -n x apply -k deployments/kubernetless service/x", "there is no deployments/kubernetless"),
        ("cd config\nless minimall.yaml", "there is no minimall.yaml"),
        ("cd web\nnpm run fixtures", "npm has no script fixtures"),
    ],
)
def test_a_command_that_names_what_does_not_exist_is_seen(broken, why):
    mark = "<!-- not run: it is broken -->"
    assert why in "\n".join(rules.commands(block("sh", broken, mark)))


def test_a_command_that_names_what_exists_is_left_alone():
    script = "cd config\nless minimal.yaml >&2\ncd ..\nsudo make test CARGO=cargo && luner check --config config/minimal.yaml"
    assert not list(rules.commands(block("sh", script, "<!-- not run: it is only read -->")))


def test_commands_of_the_text_are_looked_at_too():
    assert "no target tset" in said(rules.commands, "say `make tset`")
    assert "no command chek" in said(rules.commands, "say `luner chek --config x`")
    assert "there is no composed.yml" in said(rules.commands, "say `docker compose -f composed.yml up`")
    assert not list(rules.commands(document("say `cp shapes.rs x`", "src/config/README.md")))
    assert not said(rules.commands, "say `luner [serve] --config FILE`, `make test` and `luner.service`")


def test_languages_that_part_are_seen():
    text = f"# A\n\n## B\n\n{FENCE}sh\nmake test # one\n{FENCE}\n\n| a | b |\n|---|---|\n| `x` | y |\n"
    translated = text.replace("# A", "# 甲").replace("# one", "# 一").replace("| y |", "| 乙 |")

    def twins(other):
        return "\n".join(rules.twins(document(text), document(other, "README.zh.md")))

    assert not twins(translated)
    assert "headings part" in twins(translated.replace("## B", "### B"))
    assert "differs from" in twins(translated.replace("make test", "make lint"))
    assert "blocks of code" in twins(translated.split(FENCE)[0])
    assert "row 1" in twins(translated.replace("`x`", "`z`"))


# For each table: a piece of it, what it becomes, and what is said about that.
BENT = [
    ("metrics", "`luner_cache_size`", "`luner_cache_sise`", ["luner_cache_sise does not exist", "luner_cache_size is missing"]),
    ("metrics", "`provider`, `model`, `status`", "`provider`, `model`", ["luner_requests_total: its labels are"]),
    ("keys", "`server.listen`", "`server.lissten`", ["server.lissten does not exist", "server.listen is missing"]),
    ("keys", "| `5000` |", "| `500` |", ["cache.max_items: its default is 5000, not 500"]),
    ("keys", "| `:8080` | restart |", "| `:8080` | hot |", ["server.listen: needs a restart"]),
    ("rest", "`GET`, `PUT`, `DELETE`", "`GET`, `PUT`", ["DELETE /api/policies/{id} is missing"]),
    ("variables", "| `stream` | bool |", "| `stream` | int |", ["stream int does not exist", "stream bool is missing"]),
    ("policies", "`cost_usd > 10.0`", "`cost > 10.0`", ["cost"]),
    ("policies", "| block |", "| refuse |", ["refuse is no action"]),
    ("commands", "`luner check --config FILE`", "`luner chek --config FILE`", ["does not exist", "check is missing"]),
    ("commands", "`--workers N`", "`--wrokers N`", ["knows no --wrokers"]),
    ("errors", "`policy_violation`", "`policy_slip`", ["403 policy_slip does not exist", "403 policy_violation is missing"]),
    ("headers", "`X-Luner-User`", "`X-Luner-Usr`", ["x-luner-usr is not in src/names.rs"]),
]


@pytest.mark.parametrize("name, piece, bent, complaints", BENT)
def test_a_table_that_parts_from_its_source_is_seen(name, piece, bent, complaints):
    text = table_of(name)
    assert piece in text
    before = set(said(rules.tables, text).splitlines())
    after = set(said(rules.tables, text.replace(piece, bent, 1)).splitlines()) - before
    for complaint in complaints:
        assert any(complaint in line for line in after), after


def test_a_table_without_a_source_is_seen():
    assert "no such source" in said(rules.tables, "<!-- table: dreams -->\n| a |\n|---|\n| b |\n")


def test_a_header_that_no_table_has_is_seen():
    assert "x-luner-cache is in no table" in "\n".join(rules.all_headers([document(table_of("headers"))]))


def test_chapter_that_the_summary_does_not_list_is_seen():
    chapters = [document("# One\n", "docs/one.md"), document("# Two\n", "docs/two.md")]

    def complaints(text):
        return "\n".join(rules.summary(document(text, "docs/SUMMARY.md"), chapters))

    assert not complaints("- [One](one.md)\n  - [Two](two.md)\n")
    assert "does not list docs/two.md" in complaints("- [One](one.md)\n")
    assert "lists docs/one.md 2 times" in complaints("- [One](one.md)\n- [One](one.md)\n- [Two](two.md)\n")
    assert "its first heading is 'Two'" in complaints("- [One](one.md)\n- [Three](two.md)\n")


CATALOGUE = """
| # | fault | what happens | tests |
|---|---|---|---|
| 1 | a | b | `one::it_holds`, `a::b::tests::it_holds_inside` |
| 2 | c | no test: why | |
"""
SOURCES = {
    "tests/it/one.rs": "//! Of FAULTS.md rows 1\n//! to 2.\n\n// 1, 2: both\n#[test]\nfn it_holds() {}\n",
    "src/a/b.rs": "mod tests {\n    // Row 1.\n    #[test]\n    fn it_holds_inside() {}\n}\n",
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
    for named in ("// 3\n#[test]", "// Row 3.", "//! (FAULTS.md rows\n//! 1, 3)", "// Rows 1 to 3.", "// Rows 1, 2, and 3."):
        assert "has no row 3" in complaints(tests=SOURCES["tests/it/one.rs"] + named + "\n"), named
    assert not complaints(tests=SOURCES["tests/it/one.rs"] + "// 3\nconst SECONDS: u64 = 3;\n")


def test_what_fails_when_it_is_run_is_seen(tmp_path):
    script = f"{FENCE}sh\nexport GREETING=hello\ncd config\n{FENCE}\n\n{FENCE}sh\n"
    with scratch.Scratch(tmp_path) as copy:
        copy.run(document(script + f'[[ $GREETING == hello && -e minimal.yaml ]]\n{FENCE}\n'))
        for broken in ("false | true", "curl http://127.0.0.1:8080/v1/nothing"):
            with pytest.raises(scratch.Failed, match="README.md:6: exit code"):
                copy.run(document(script + f"{broken}\n{FENCE}\n"))
        with pytest.raises(scratch.Failed, match="exit code"):
            copy.run(block("python", "raise SystemExit(3)"))
        with pytest.raises(scratch.Failed, match="serves nothing"):
            copy.run(block("sh", "false", "<!-- serves -->"))

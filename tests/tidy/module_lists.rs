//! Rule: a file that declares several modules lists them in reading order. Each `mod` line has its comment above it and an
//! empty line before that, so that rustfmt keeps the order, and a module imports only from those listed above it. In
//! `lib.rs` the order is that of the layers, too.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Graph;
use crate::layers::listed_out_of_order;
use crate::ratchet::{self, List, Measure};
use crate::ratchet_lists::MODULE_LISTS;
use crate::source::{ModLine, Source};
use crate::tree::{all_sources, expect_none};

#[test]
fn modules_are_listed_in_reading_order() {
    expect_none(&check(all_sources(), &MODULE_LISTS));
}

fn check(sources: &[Source], list: &List) -> Vec<String> {
    let mut upward = upward_imports(sources);
    let mut measures = Vec::new();
    for source in sources.iter().filter(|source| !source.is_test_file) {
        let lines = listed_modules(source);
        if lines.len() < 2 {
            continue;
        }
        let mut complaints: Vec<String> = lines.iter().flat_map(|line| bad_shape(source, line)).collect();
        complaints.extend(upward.remove(&source.path).unwrap_or_default());
        if source.path == "src/lib.rs" {
            complaints.extend(listed_out_of_order(source));
        }
        measures.push(Measure { key: source.path.clone(), size: complaints.len(), complaints });
    }
    ratchet::check(measures, list, 0)
}

fn listed_modules(source: &Source) -> Vec<ModLine> {
    source.mod_lines().into_iter().filter(|line| !source.is_test(line.at)).collect()
}

fn bad_shape(source: &Source, line: &ModLine) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |what: &str| complaints.push(source.complaint(line.at, &format!("`mod {}` {what}", line.name)));
    let text = &source.text;
    if !text[line.end..].lines().next().unwrap_or_default().trim().is_empty() {
        complain("has a comment behind it; put it above");
    }
    let start = text[..line.at].rfind('\n').map_or(0, |newline| newline + 1);
    let is_attribute = |above: &&str| above.starts_with("#[");
    let mut above = text[..start].lines().rev().map(str::trim).skip_while(is_attribute).peekable();
    let is_comment = |above: &&str| above.starts_with("//") && !above.starts_with("//!");
    if !above.peek().is_some_and(is_comment) {
        complain("has no comment above it; say what the module is for");
    }
    if above.find(|above| !is_comment(above)).is_some_and(|above| !above.is_empty()) {
        complain("has no empty line before it and its comment; without one, rustfmt sorts the modules");
    }
    complaints
}

/// By the path of the declaring file: imports from a module into one that is listed below it, once per pair.
fn upward_imports(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let graph = Graph::new(sources);
    let edges = graph.edges();
    let mut complaints = BTreeMap::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/") && !source.is_test_file) {
        let parent = source.module_path();
        let names: Vec<String> = listed_modules(source).into_iter().map(|line| line.name).collect();
        let position = |file: usize| {
            let name = graph.module(file).strip_prefix(&parent[..])?.first()?;
            names.iter().position(|listed| listed == name)
        };
        let mut seen = BTreeSet::new();
        let found: &mut Vec<String> = complaints.entry(source.path.clone()).or_default();
        for edge in &edges {
            let (Some(from), Some(to)) = (position(edge.from), position(edge.to)) else { continue };
            if from < to && seen.insert((from, to)) {
                let what = format!(
                    "`{}` imports from `{}`, which {} lists below it; list it above, or cut the import",
                    names[from], names[to], source.path
                );
                found.push(graph.source(edge.from).complaint(edge.at, &what));
            }
        }
    }
    complaints
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    const NONE: List = List { name: "MODULE_LISTS", entries: &[] };

    fn check_one(text: &str) -> Vec<String> {
        check(&snippets(&[("src/shard/mod.rs", text)]), &NONE)
    }

    #[test]
    fn comment_above_and_an_empty_line_pass() {
        let text = "//! Header.\n\n// Pure bytes.\nmod answer;\n\n/// The path of a request,\n/// on one screen.\n#[path = \"x.rs\"]\npub(crate) mod flow;\n\n#[cfg(test)]\nmod tests;";
        assert_complaints(&check_one(text), &[]);
    }

    #[test]
    fn comment_behind_the_line_is_refused() {
        let text = "\n// Pure bytes.\nmod answer;\n\n// The path.\nmod flow; // the path";
        assert_complaints(&check_one(text), &["src/shard/mod.rs:6: `mod flow` has a comment behind it"]);
    }

    #[test]
    fn missing_comment_and_missing_empty_line_are_refused() {
        let expected = ["`mod answer` has no comment above it", "mod.rs:4: `mod flow` has no empty line before it"];
        assert_complaints(&check_one("\nmod answer;\n// The path.\nmod flow;"), &expected);
        let header = "//! Header.\n// Pure bytes.\nmod answer;\n\n// The path.\nmod flow;";
        assert_complaints(&check_one(header), &["`mod answer` has no empty line before it"]);
    }

    #[test]
    fn single_module_and_test_modules_need_no_order() {
        assert_complaints(&check_one("mod flow; // the path\n#[cfg(test)]\nmod tests;"), &[]);
    }

    #[test]
    fn import_from_a_module_listed_below_is_refused() {
        let parent = ("src/shard/mod.rs", "\n// A.\nmod answer;\n\n// B.\nmod upstream;");
        let answer = ("src/shard/answer.rs", "\nuse super::upstream::pool::Pools;\nuse super::upstream::open;");
        let upstream = ("src/shard/upstream/mod.rs", "mod pool;\npub fn open() {}");
        let pool = ("src/shard/upstream/pool.rs", "pub struct Pools;");
        let complaints = check(&snippets(&[parent, answer, upstream, pool]), &NONE);
        assert_complaints(
            &complaints,
            &["src/shard/answer.rs:3: `answer` imports from `upstream`, which src/shard/mod.rs lists below it"],
        );
        let downward = ("src/shard/upstream/mod.rs", "use super::answer;");
        assert_complaints(&check(&snippets(&[parent, ("src/shard/answer.rs", ""), downward]), &NONE), &[]);
    }

    #[test]
    fn lib_that_lists_a_lower_layer_below_a_higher_one_is_refused() {
        let check = |names: &[&str]| {
            let lines: Vec<String> = names.iter().map(|name| format!("\n// Why.\npub mod {name};\n")).collect();
            check(&snippets(&[("src/lib.rs", &lines.concat())]), &NONE)
        };
        let expected = ["src/lib.rs:6: `mod clock` belongs to a lower layer than `http`; list it above"];
        assert_complaints(&check(&["http", "clock"]), &expected);
        assert_complaints(&check(&["units", "clock", "http"]), &[]);
    }

    #[test]
    fn listed_file_may_keep_its_complaints_and_not_add_any() {
        const TWO: List = List { name: "MODULE_LISTS", entries: &[("src/shard/mod.rs", 2)] };
        let two = ("src/shard/mod.rs", "\nmod answer;\n\nmod flow;");
        assert_complaints(&check(&snippets(&[two]), &TWO), &[]);
        let three = ("src/shard/mod.rs", "\nmod answer;\n\nmod conn;\n\nmod flow;");
        assert_complaints(&check(&snippets(&[three]), &TWO), &["may only shrink"; 3]);
    }
}

//! Rule: inside a top folder (`src/shard`, `src/coordinator`, …) imports go one way. Files that import one another in a
//! ring can only be understood together, and each of them sees everything that the others see.

use std::collections::{BTreeSet, VecDeque};

use crate::graph::{Edge, Graph};
use crate::ratchet::{self, List, Measure};
use crate::ratchet_lists::RINGS;
use crate::source::Source;
use crate::tree::{crate_sources, expect_none};

#[test]
fn files_of_a_folder_import_one_way() {
    expect_none(&check(crate_sources(), &RINGS));
}

fn check(sources: &[Source], list: &List) -> Vec<String> {
    let graph = Graph::new(sources);
    let edges = graph.edges();
    let mut measures = Vec::new();
    for (top, files) in graph.top_modules() {
        let rings = rings(&files, &edges);
        let complaints = rings.iter().map(|ring| describe(&graph, &edges, ring)).collect();
        measures.push(Measure { key: format!("src/{top}"), size: rings.iter().map(BTreeSet::len).sum(), complaints });
    }
    ratchet::check(measures, list, 0)
}

/// The sets of two or more of `files` that all reach one another.
fn rings(files: &[usize], edges: &[Edge]) -> Vec<BTreeSet<usize>> {
    let reach = |start: usize| -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            let next = edges.iter().filter(|edge| edge.from == file && files.contains(&edge.to));
            open.extend(next.map(|edge| edge.to).filter(|to| seen.insert(*to)));
        }
        seen
    };
    let reached: Vec<(usize, BTreeSet<usize>)> = files.iter().map(|file| (*file, reach(*file))).collect();
    let mut rings: Vec<BTreeSet<usize>> = Vec::new();
    for (file, seen) in &reached {
        if seen.contains(file) && !rings.iter().any(|ring| ring.contains(file)) {
            rings.push(
                reached
                    .iter()
                    .filter(|(other, back)| seen.contains(other) && back.contains(file))
                    .map(|(other, _)| *other)
                    .collect(),
            );
        }
    }
    rings
}

/// Names the members of a ring and shows the imports of a shortest one inside it.
fn describe(graph: &Graph, edges: &[Edge], ring: &BTreeSet<usize>) -> String {
    let members: Vec<&str> = ring.iter().map(|file| graph.source(*file).path.as_str()).collect();
    let shortest = ring.iter().map(|file| shortest_circle(edges, ring, *file)).min_by_key(Vec::len).unwrap_or_default();
    let steps: Vec<String> = shortest
        .iter()
        .map(|edge| graph.source(edge.from).complaint(edge.at, &format!("imports from {}", graph.source(edge.to).path)))
        .collect();
    format!(
        "{}\n    {} files import one another in a ring; move what they share into a file below them, or pass a value:\n    {}",
        steps.join("\n  "),
        ring.len(),
        members.join("\n    ")
    )
}

/// The edges of a shortest way from `start` through `ring` back to it.
fn shortest_circle<'a>(edges: &'a [Edge], ring: &BTreeSet<usize>, start: usize) -> Vec<&'a Edge> {
    let mut ways: VecDeque<Vec<&Edge>> = VecDeque::from([Vec::new()]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let end = way.last().map_or(start, |edge| edge.to);
        if end == start && !way.is_empty() {
            return way;
        }
        for edge in edges.iter().filter(|edge| edge.from == end && ring.contains(&edge.to)) {
            if seen.insert(edge.to) {
                ways.push_back(way.iter().copied().chain([edge]).collect());
            }
        }
    }
    Vec::new()
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    const NONE: List = List { name: "RINGS", entries: &[] };
    const SHARD: (&str, &str) = ("src/shard/mod.rs", "");
    const CONN: (&str, &str) = ("src/shard/conn.rs", "use super::flow;\npub struct Conn;\nfn f() { flow::run(); }");
    const FLOW: (&str, &str) = ("src/shard/flow.rs", "\nuse super::cache::Lead;\npub fn run() {}");
    const CACHE: (&str, &str) = ("src/shard/cache.rs", "pub struct Lead(super::conn::Conn);");

    #[test]
    fn ring_of_files_is_refused_and_its_imports_are_shown() {
        let sources = snippets(&[SHARD, CONN, FLOW, CACHE, ("src/shard/route.rs", "use super::conn::Conn;")]);
        let complaints = check(&sources, &NONE);
        assert_complaints(&complaints, &["3 files import one another"]);
        assert!(complaints[0].contains("src/shard/flow.rs:2: imports from src/shard/cache.rs"), "{complaints:#?}");
        assert!(!complaints[0].contains("route.rs"), "{complaints:#?}");
    }

    #[test]
    fn imports_that_go_one_way_pass() {
        assert_complaints(&check(&snippets(&[SHARD, CONN, FLOW]), &NONE), &[]);
    }

    #[test]
    fn ring_through_the_parent_is_refused() {
        let shard = ("src/shard/mod.rs", "mod conn;\nuse conn::Conn;\npub struct Shard(Conn);");
        let conn = ("src/shard/conn.rs", "use super::Shard;\npub struct Conn;");
        assert_complaints(&check(&snippets(&[shard, conn]), &NONE), &["2 files"]);
        let only_reexports = ("src/shard/mod.rs", "mod conn;\npub use conn::Conn;\npub struct Shard;");
        assert_complaints(&check(&snippets(&[only_reexports, conn]), &NONE), &[]);
    }

    #[test]
    fn ring_across_top_folders_is_left_to_the_layers() {
        let files = [
            ("src/plan.rs", "use crate::policy::P;\npub struct R;"),
            ("src/policy.rs", "use crate::plan::R;\npub struct P;"),
        ];
        assert_complaints(&check(&snippets(&files), &NONE), &[]);
    }

    #[test]
    fn listed_ring_may_only_shrink() {
        const THREE: List = List { name: "RINGS", entries: &[("src/shard", 3)] };
        const TWO: List = List { name: "RINGS", entries: &[("src/shard", 2)] };
        let sources = snippets(&[SHARD, CONN, FLOW, CACHE]);
        assert_complaints(&check(&sources, &THREE), &[]);
        assert_complaints(&check(&sources, &TWO), &["may only shrink"]);
        assert_complaints(&check(&snippets(&[SHARD, CONN, FLOW]), &THREE), &["delete its line from RINGS"]);
    }
}

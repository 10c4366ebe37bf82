//! Rule: the name of a type that other modules can see occurs once in the crate, so that a name alone says which type is meant.

use std::collections::BTreeMap;

use crate::ratchet::{self, List, Measure};
use crate::ratchet_lists::TYPE_NAMES;
use crate::source::Source;
use crate::text::{visibility_before, words};
use crate::tree::{crate_sources, expect_none};

const KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

#[test]
fn public_type_names_occur_once() {
    expect_none(&check(crate_sources(), &TYPE_NAMES));
}

fn check(sources: &[Source], list: &List) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources {
        for (at, name) in public_types(source).filter(|(at, _)| !source.is_test(*at)) {
            places.entry(name).or_default().push(source.place(at));
        }
    }
    let measures = places.into_iter().map(|(name, places)| {
        let others = places.join(" and ");
        let complaint = format!("{others}: `{name}` names {} public types; rename all but one", places.len());
        Measure { key: name.to_owned(), size: places.len(), complaints: vec![complaint] }
    });
    ratchet::check(measures.collect(), list, 1)
}

fn public_types(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    words(&source.code).filter(|(_, word)| KEYWORDS.contains(word)).filter_map(|(at, keyword)| {
        let before = source.code[..at].trim_end();
        let start = before.strip_suffix("unsafe").map_or(at, str::len);
        visibility_before(&source.code, start)?;
        Some((at, words(&source.code[at + keyword.len()..]).next()?.1))
    })
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    const NONE: List = List { name: "TYPE_NAMES", entries: &[] };

    #[test]
    fn second_public_type_of_a_name_is_refused() {
        let files = [
            ("src/plan.rs", "\npub struct Parts;"),
            ("src/shard/mod.rs", "pub(crate) enum Parts {}\npub(super) type Other = u8;"),
            ("src/link/mod.rs", "pub(in crate::link) unsafe trait Other {}"),
        ];
        let expected = [
            "src/shard/mod.rs:2 and src/link/mod.rs:1: `Other` names 2 public types; rename all but one",
            "src/plan.rs:2 and src/shard/mod.rs:1: `Parts`",
        ];
        assert_complaints(&check(&snippets(&files), &NONE), &expected);
    }

    #[test]
    fn private_types_and_those_of_tests_do_not_count() {
        let files = [
            ("src/plan.rs", "pub struct Parts;\ntype Item = Parts;"),
            ("src/shard/mod.rs", "struct Parts;\n#[cfg(test)]\nmod x { pub struct Parts; }\n// pub struct Parts"),
            ("src/link/tests.rs", "pub struct Parts;"),
        ];
        assert_complaints(&check(&snippets(&files), &NONE), &[]);
    }
}

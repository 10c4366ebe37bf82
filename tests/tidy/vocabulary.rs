//! Rules about words that a part of the tree must not know: a vendor's field names outside `src/dialect`, and the types of
//! the shard's upper storeys in its lower ones.

use std::ops::Range;

use crate::ratchet::{self, List, Measure};
use crate::ratchet_lists::{UPPER_STOREYS, VENDOR_FIELDS};
use crate::source::Source;
use crate::text::words;
use crate::tree::{crate_sources, expect_none};

/// Storeys of `src/shard` that take `&Ground`, `&mut Caller` or plain values, never the whole shard or connection.
const LOWER_STOREYS: [&str; 4] = ["ground", "answer", "judge", "account"];

#[test]
fn only_dialects_name_fields_of_a_vendor() {
    expect_none(&vendor_fields(crate_sources(), &VENDOR_FIELDS));
}

#[test]
fn lower_storeys_of_the_shard_do_not_name_upper_ones() {
    expect_none(&upper_storeys(crate_sources(), &UPPER_STOREYS));
}

fn vendor_fields(sources: &[Source], list: &List) -> Vec<String> {
    let is_vendor_field = |word: &str| word == "choices" || word.starts_with("prompt_tokens");
    let outside = sources.iter().filter(|source| !source.path.starts_with("src/dialect"));
    let measures = outside.map(|source| {
        let found = words_of_code_and_literals(source).into_iter().filter(|(_, word)| is_vendor_field(word));
        let complaint = |(at, word)| {
            source.complaint(
                at,
                &format!("`{word}` is a vendor's field; name it in src/dialect, and a neutral word here"),
            )
        };
        measure(source, found.map(complaint).collect())
    });
    ratchet::check(measures.collect(), list, 0)
}

fn upper_storeys(sources: &[Source], list: &List) -> Vec<String> {
    let is_lower = |source: &&Source| {
        let module = source.module_path();
        module.len() > 1 && module[0] == "shard" && LOWER_STOREYS.contains(&module[1].as_str())
    };
    let measures = sources.iter().filter(is_lower).map(|source| {
        let found = words(&source.code).filter(|(at, word)| ["Shard", "Conn"].contains(word) && !source.is_test(*at));
        let complaint = |(at, word)| {
            source.complaint(
                at,
                &format!("`{word}` belongs to an upper storey; take `&Ground`, `&mut Caller` or a plain value"),
            )
        };
        measure(source, found.map(complaint).collect())
    });
    ratchet::check(measures.collect(), list, 0)
}

fn measure(source: &Source, complaints: Vec<String>) -> Measure {
    Measure { key: source.path.clone(), size: complaints.len(), complaints }
}

fn words_of_code_and_literals(source: &Source) -> Vec<(usize, &str)> {
    let in_literal = |literal: &Range<usize>| {
        let start = literal.start;
        words(&source.text[literal.clone()]).map(move |(at, word)| (start + at, word))
    };
    words(&source.code).chain(source.literals.iter().flat_map(in_literal)).collect()
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    const NONE: List = List { name: "LIST", entries: &[] };

    #[test]
    fn vendor_field_outside_the_dialects_is_refused() {
        let text = "// choices\nfn f(choices: u8) {\n    g(r#\"{\"prompt_tokens_details\":1}\"#, prompt_tokens, \"luner_prompt_tokens\") }";
        let check = |path| vendor_fields(&snippets(&[(path, text)]), &NONE);
        let expected = ["src/shard/account.rs:2: `choices`", ":3: `prompt_tokens`", ":3: `prompt_tokens_details`"];
        assert_complaints(&check("src/shard/account.rs"), &expected);
        assert_complaints(
            &check("src/shard/tests.rs"),
            &expected.map(|part| part.trim_start_matches("src/shard/account.rs")),
        );
        assert_complaints(&check("src/dialect/openai/usage.rs"), &[]);
    }

    #[test]
    fn listed_file_may_keep_its_vendor_fields() {
        const ONE: List = List { name: "VENDOR_FIELDS", entries: &[("src/llm.rs", 1)] };
        let check = |text| vendor_fields(&snippets(&[("src/llm.rs", text)]), &ONE);
        assert_complaints(&check("fn f(choices: u8) {}"), &[]);
        assert_complaints(&check("fn f(choices: u8) { choices }"), &["may only shrink"; 2]);
        assert_complaints(&check(""), &["delete its line from VENDOR_FIELDS"]);
    }

    #[test]
    fn upper_storey_named_in_a_lower_one_is_refused() {
        let text = "use super::Shard; // Conn\nfn f(_: &mut Conn, _: Connection) {}\n#[cfg(test)]\nfn g(_: Shard) {}";
        let check = |path| upper_storeys(&snippets(&[(path, text)]), &NONE);
        assert_complaints(&check("src/shard/judge/flow.rs"), &["judge/flow.rs:1: `Shard`", ":2: `Conn`"]);
        assert_complaints(&check("src/shard/ground.rs"), &["ground.rs:1: `Shard`", ":2: `Conn`"]);
        assert_complaints(&check("src/shard/caller.rs"), &[]);
        assert_complaints(&check("src/coordinator/account.rs"), &[]);
    }
}

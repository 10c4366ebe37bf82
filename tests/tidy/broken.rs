//! The rules of `tests/tidy.rs` over snippets: each one lets the good ones pass and refuses the bad ones, so a green tree means something.

use super::*;

fn source(path: &str, text: &str) -> Vec<Source> {
    vec![Source::parse(path, text)]
}

#[track_caller]
fn complains(complaints: &[String], expected: &[&str]) {
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
    for (complaint, part) in complaints.iter().zip(expected) {
        assert!(complaint.contains(part), "{complaint:?} lacks {part:?}");
    }
}

#[test]
fn lets_a_module_use_its_own_layer_and_lower_ones() {
    let text = "use crate::{plan::Plan, http::{head, body}};\nuse super::flow;\nmod tests { use super::*; use super::super::link; }";
    complains(&imports_against_the_direction(&source("src/shard/accept.rs", text)), &[]);
    complains(&imports_against_the_direction(&source("src/config/mod.rs", "use crate::policy::Policy;")), &[]);
}

#[test]
fn refuses_an_import_from_a_higher_layer() {
    let text = "\nuse crate::{clock::Now, plan::{self, Plan}};";
    let expected = ["src/policy/mod.rs:2: `policy` uses `crate::plan`", "`crate::plan`"];
    complains(&imports_against_the_direction(&source("src/policy/mod.rs", text)), &expected);
}

#[test]
fn refuses_a_higher_layer_named_in_the_code() {
    let text = "fn f() -> u8 { crate::shard::flow::run() }";
    complains(&imports_against_the_direction(&source("src/http/head.rs", text)), &["`crate::shard`"]);
}

#[test]
fn refuses_a_higher_layer_reached_through_super() {
    let text = "use super::super::coordinator::Event;\nmod tests { use super::super::super::link::Order; }";
    let expected = ["accounts.rs:1: `usage` uses `crate::coordinator`", "accounts.rs:2: `usage` uses `crate::link`"];
    complains(&imports_against_the_direction(&source("src/usage/accounts.rs", text)), &expected);
}

#[test]
fn refuses_that_the_planes_import_each_other() {
    let shard = imports_against_the_direction(&source("src/shard/flow.rs", "use crate::coordinator::Event;"));
    complains(&shard, &["they meet in `link` only"]);
    let coordinator = imports_against_the_direction(&source("src/coordinator/mod.rs", "use crate::shard;"));
    complains(&coordinator, &["they meet in `link` only"]);
}

#[test]
fn refuses_a_module_that_is_in_no_layer() {
    complains(&imports_against_the_direction(&source("src/helpers.rs", "")), &["`helpers` has no layer"]);
    complains(&imports_against_the_direction(&source("src/plan.rs", "use crate::Anything;")), &["in no layer"]);
}

#[test]
fn lets_the_assembly_use_everything() {
    let text = "pub mod shard;\nuse crate::{shard, coordinator};";
    complains(&imports_against_the_direction(&source("src/lib.rs", text)), &[]);
}

#[test]
fn refuses_a_file_above_its_length_and_spares_test_files() {
    let text = "//\n".repeat(FILE_LINES_MAX + 1);
    complains(&long_files(&source("src/plan.rs", &text), &[]), &["src/plan.rs: 401 lines"]);
    complains(&long_files(&source("src/plan/tests.rs", &text), &[]), &[]);
    complains(&long_files(&source("src/plan.rs", &"//\n".repeat(FILE_LINES_MAX)), &[]), &[]);
}

#[test]
fn lets_an_offender_shrink_and_never_grow() {
    let of = |lines: usize| source("src/plan.rs", &"//\n".repeat(lines));
    complains(&long_files(&of(450), &[("src/plan.rs", 450)]), &[]);
    complains(&long_files(&of(430), &[("src/plan.rs", 450)]), &[]);
    complains(&long_files(&of(451), &[("src/plan.rs", 450)]), &["grew from 450 to 451"]);
    complains(&long_files(&of(400), &[("src/plan.rs", 450)]), &["take it off the list"]);
    complains(&long_files(&of(10), &[("src/gone.rs", 450)]), &["gone; take it off the list"]);
}

#[test]
fn refuses_a_function_above_its_length_whatever_its_literals_hold() {
    let padding = "    let _ = ('{', \"}\", r#\"}\"}\"#, b'}'); // }\n".repeat(FUNCTION_LINES_MAX - 1);
    let text = format!("struct S<'a>(&'a fn(u8));\nfn long<'a>(x: [u8; 2]) {{\n{padding}}}\nfn short() {{}}\n");
    let sources = source("src/plan.rs", &text);
    assert_eq!(sources[0].functions(), [("long".to_owned(), FUNCTION_LINES_MAX + 1), ("short".to_owned(), 1)]);
    complains(&long_functions(&sources, &[]), &["src/plan.rs fn long: 71 lines"]);
    complains(&long_functions(&sources, &[("src/plan.rs", "long", 71)]), &[]);
    complains(&long_functions(&sources, &[("src/plan.rs", "short", 71)]), &["within 70 now", "fn long"]);
}

#[test]
fn refuses_a_module_without_a_header() {
    complains(&missing_headers(&source("src/plan.rs", "// not a header\n//! too late")), &["src/plan.rs"]);
    complains(&missing_headers(&source("src/plan.rs", "//! What runs.")), &[]);
    complains(&missing_headers(&source("src/plan/tests.rs", "use super::*;")), &[]);
}

#[test]
fn refuses_unsafe_outside_its_file() {
    let text = "#![deny(unsafe_code)]\n// unsafe\nfn f() { let _ = \"unsafe\"; unsafe { g() } }";
    complains(&unsafe_elsewhere(&source("src/http/head.rs", text)), &["src/http/head.rs:3: `unsafe`"]);
    complains(&unsafe_elsewhere(&source(UNSAFE_FILE, text)), &[]);
}

#[test]
fn refuses_what_is_unfinished() {
    let text =
        "fn todo() { todo!() }\nfn f() { unimplemented!(\"later\"); dbg!(1); }\n/* dbg!(2) /* nested */ todo!() */";
    complains(&unfinished(&source("tests/it/main.rs", text)), &["`todo!`", ":2: `unimplemented!`", "`dbg!`"]);
}

#[test]
fn refuses_locks_files_and_sqlite_in_shards() {
    let text =
        "use std::sync::{Arc, Mutex};\nuse std::{fs, io};\nfn f(_: &rusqlite::Connection) { std::fs::read(\"\"); }";
    let expected = [":1: `Mutex`", ":3: `rusqlite`", ":2: `std::fs`", ":3: `std::fs::read`"];
    complains(&locks_and_files_in_shards(&source("src/shard/cache.rs", text)), &expected);
    complains(&locks_and_files_in_shards(&source("src/shard.rs", "type L = parking_lot::RwLock<u8>;")), &["`RwLock`"]);
    complains(&locks_and_files_in_shards(&source("src/coordinator/store.rs", text)), &[]);
}

#[test]
fn refuses_a_clock_outside_its_file() {
    let text = "fn f() { std::time::Instant::now(); }\nfn g() { let now = SystemTime :: now; }\nfn h(i: Instant) {}";
    complains(&clocks_elsewhere(&source("src/shard/limit.rs", text)), &[":1: `Instant::now`", ":2: `SystemTime::now`"]);
    complains(&clocks_elsewhere(&source(CLOCK_FILE, text)), &[]);
}

#[test]
fn refuses_names_of_metrics_and_headers_elsewhere_but_in_tests() {
    let text = "/// `luner_cache_size`\nfn f() { g(\"luner_cache_size\"); g(b\"x-luner-cache\"); g(r\"X-Luner-User: a\"); g(\"a_luner_b\"); }\n\
                #[cfg(test)]\nmod tests { fn t() { g(\"luner_cache_size\"); } }\nfn h() { g(\"luner_late\") }";
    let expected = [":2: \"luner_cache", ":2: b\"x-luner", ":2: r\"X-Luner", ":5: \"luner_late"];
    complains(&names_elsewhere(&source("src/shard/respond.rs", text)), &expected);
    complains(&names_elsewhere(&source(NAMES_FILE, text)), &[]);
    complains(&names_elsewhere(&source("src/shard/respond/tests.rs", text)), &[]);
}

#[test]
fn refuses_a_path_of_a_build_machine() {
    let home = concat!("/ho", "me/");
    let text = format!("fine\nrpath={home}me/x\nhttps://example.org{home}\n~{home}");
    complains(&machine_paths("Makefile", text.as_bytes()), &["Makefile:2:"]);
    complains(&machine_paths("web/package-lock.json", text.as_bytes()), &[]);
    complains(&machine_paths("logo.png", format!("\0{text}").as_bytes()), &[]);
}

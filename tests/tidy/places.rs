//! Rules about code that belongs in one place, or in none: `unsafe`, the clock, locks and files in shards, names of metrics
//! and headers, missing module headers, unfinished code, and folders of a build machine.

use std::fs;
use std::process::Command;

use crate::source::Source;
use crate::text::{next_path_segment, word_starts, words};
use crate::tree::{all_sources, crate_sources, expect_none, root};

const UNSAFE_FILE: &str = "src/http/wire.rs";
const CLOCK_FILE: &str = "src/clock.rs";
const NAMES_FILE: &str = "src/names.rs";
/// The parser's table of known headers, which it tells apart by length and so has to spell out.
const HEADER_TABLES: [&str; 1] = ["src/http/known_header.rs"];

#[test]
fn every_module_begins_with_a_header() {
    expect_none(&missing_headers(crate_sources()));
}

#[test]
fn unsafe_occurs_in_one_file() {
    expect_none(&unsafe_elsewhere(crate_sources()));
}

#[test]
fn nothing_unfinished_is_left_behind() {
    expect_none(&unfinished(all_sources()));
}

#[test]
fn shards_take_no_lock_and_touch_no_file() {
    expect_none(&locks_and_files_in_shards(crate_sources()));
}

#[test]
fn time_is_read_in_one_file() {
    expect_none(&clocks_elsewhere(crate_sources()));
}

#[test]
fn metric_and_header_names_occur_in_one_file() {
    expect_none(&names_elsewhere(crate_sources()));
}

#[test]
fn no_tracked_file_names_a_folder_of_a_build_machine() {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: git is missing, or this is not a repository");
        return;
    };
    let mut complaints = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
        // Git lists a deleted file until the deletion is staged, and a link to a folder cannot be read.
        if let Ok(bytes) = fs::read(root().join(path)) {
            complaints.extend(machine_folders(path, &bytes));
        }
    }
    expect_none(&complaints);
}

fn missing_headers(sources: &[Source]) -> Vec<String> {
    let headless = sources.iter().filter(|source| !source.is_test_file && !source.text.starts_with("//!"));
    let advice = "no `//!` header; begin with what the module is for, which thread owns it, what it never does";
    headless.map(|source| source.complaint(0, advice)).collect()
}

fn unsafe_elsewhere(sources: &[Source]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| source.path != UNSAFE_FILE);
    banned_words(elsewhere, &["unsafe"], &format!("belongs in {UNSAFE_FILE}"))
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, word) in words(&source.code) {
            if ["todo", "unimplemented", "dbg"].contains(&word) && source.code[at + word.len()..].starts_with('!') {
                complaints.push(source.complaint(at, &format!("`{word}!` is left behind; finish or delete it")));
            }
        }
    }
    complaints
}

fn locks_and_files_in_shards(sources: &[Source]) -> Vec<String> {
    let shards: Vec<&Source> =
        sources.iter().filter(|source| source.module_path().first().is_some_and(|top| top == "shard")).collect();
    let lock = "is a lock; a shard takes none, what crosses threads goes through `link`";
    let mut complaints = banned_words(shards.iter().copied(), &["Mutex", "RwLock"], lock);
    complaints.extend(banned_words(shards.iter().copied(), &["rusqlite"], "belongs to the coordinator"));
    for source in shards {
        for import in source.imports() {
            if let [first, second, ..] = &import.path[..]
                && (first == "std" || first == "monoio")
                && second == "fs"
            {
                let what = format!("`{}`: a shard touches no file; ask the coordinator", import.path.join("::"));
                complaints.push(source.complaint(import.at, &what));
            }
        }
    }
    complaints
}

fn clocks_elsewhere(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.path != CLOCK_FILE) {
        for (at, word) in words(&source.code) {
            if ["Instant", "SystemTime"].contains(&word)
                && next_path_segment(&source.code[at + word.len()..]) == Some("now")
            {
                complaints.push(source.complaint(at, &format!("`{word}::now` belongs in {CLOCK_FILE}; take a `Now`")));
            }
        }
    }
    complaints
}

fn names_elsewhere(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let is_home = |source: &Source| source.path == NAMES_FILE || HEADER_TABLES.contains(&source.path.as_str());
    for source in sources.iter().filter(|source| !is_home(source)) {
        for literal in source.literals.iter().filter(|literal| !source.is_test(literal.start)) {
            let text = &source.text[literal.clone()];
            let lower = text.to_ascii_lowercase();
            let names = word_starts(text, "luner_").chain(word_starts(&lower, "x-luner-"));
            if names.into_iter().any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())) {
                let what = format!("{text} is the name of a metric or header; it belongs in {NAMES_FILE}");
                complaints.push(source.complaint(literal.start, &what));
            }
        }
    }
    complaints
}

/// `bytes` is a file's content. Binary files (those with a NUL byte) and lock files are not checked.
fn machine_folders(path: &str, bytes: &[u8]) -> Vec<String> {
    if bytes.contains(&0) || path.ends_with("Cargo.lock") || path.ends_with("package-lock.json") {
        return Vec::new();
    }
    // Each in two halves, so that this file passes its own rule.
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut complaints = Vec::new();
    for (number, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
        for folder in folders {
            // In the middle of a longer path or a URL it is not a folder of this machine.
            let is_absolute = line
                .match_indices(folder)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_.-~*$}".contains(c)));
            if is_absolute {
                let what = format!("names `{folder}`, a folder of a build machine; use a relative path");
                complaints.push(format!("{path}:{}: {what}", number + 1));
            }
        }
    }
    complaints
}

fn banned_words<'a>(sources: impl Iterator<Item = &'a Source>, banned: &[&str], why: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, word) in words(&source.code).filter(|(_, word)| banned.contains(word)) {
            complaints.push(source.complaint(at, &format!("`{word}` {why}")));
        }
    }
    complaints
}

mod tests {
    use super::*;
    use crate::tree::{assert_complaints, snippets};

    fn source(path: &str, text: &str) -> Vec<Source> {
        snippets(&[(path, text)])
    }

    #[test]
    fn module_without_a_header_is_refused() {
        let check = |path, text| missing_headers(&source(path, text));
        assert_complaints(&check("src/plan.rs", "// not a header\n//! too late"), &["src/plan.rs:1: no `//!` header"]);
        assert_complaints(&check("src/plan.rs", "//! What runs."), &[]);
        assert_complaints(&check("src/plan/tests.rs", "use super::*;"), &[]);
    }

    #[test]
    fn unsafe_outside_its_file_is_refused() {
        let text = "#![deny(unsafe_code)]\n// unsafe\nfn f() { let _ = \"unsafe\"; unsafe { g() } }";
        assert_complaints(&unsafe_elsewhere(&source("src/http/head.rs", text)), &["src/http/head.rs:3: `unsafe`"]);
        assert_complaints(&unsafe_elsewhere(&source(UNSAFE_FILE, text)), &[]);
    }

    #[test]
    fn unfinished_code_is_refused() {
        let text =
            "fn todo() { todo!() }\nfn f() { unimplemented!(\"later\"); dbg!(1); }\n/* dbg!(2) /* nested */ todo!() */";
        let expected = ["`todo!`", ":2: `unimplemented!`", "`dbg!`"];
        assert_complaints(&unfinished(&source("tests/it/main.rs", text)), &expected);
    }

    #[test]
    fn locks_files_and_sqlite_in_shards_are_refused() {
        let text =
            "use std::sync::{Arc, Mutex};\nuse std::{fs, io};\nfn f(_: &rusqlite::Connection) { std::fs::read(\"\"); }";
        let expected = [":1: `Mutex`", ":3: `rusqlite`", ":2: `std::fs`", ":3: `std::fs::read`"];
        assert_complaints(&locks_and_files_in_shards(&source("src/shard/cache.rs", text)), &expected);
        let lock = "type L = parking_lot::RwLock<u8>;";
        assert_complaints(&locks_and_files_in_shards(&source("src/shard.rs", lock)), &["`RwLock`"]);
        assert_complaints(&locks_and_files_in_shards(&source("src/coordinator/store.rs", text)), &[]);
    }

    #[test]
    fn clock_outside_its_file_is_refused() {
        let text =
            "fn f() { std::time::Instant::now(); }\nfn g() { let now = SystemTime :: now; }\nfn h(i: Instant) {}";
        let expected = [":1: `Instant::now`", ":2: `SystemTime::now`"];
        assert_complaints(&clocks_elsewhere(&source("src/shard/limit.rs", text)), &expected);
        assert_complaints(&clocks_elsewhere(&source(CLOCK_FILE, text)), &[]);
    }

    #[test]
    fn names_of_metrics_and_headers_outside_their_file_are_refused() {
        let text = "/// `luner_cache_size`\nfn f() { g(\"luner_cache_size\"); g(b\"x-luner-cache\"); g(r\"X-Luner-User: a\"); g(\"a_luner_b\"); }\n\
                    #[cfg(test)]\nmod tests { fn t() { g(\"luner_cache_size\"); } }\nfn h() { g(\"luner_late\") }";
        let expected = [":2: \"luner_cache", ":2: b\"x-luner", ":2: r\"X-Luner", ":5: \"luner_late"];
        assert_complaints(&names_elsewhere(&source("src/shard/respond.rs", text)), &expected);
        assert_complaints(&names_elsewhere(&source(NAMES_FILE, text)), &[]);
        assert_complaints(&names_elsewhere(&source("src/shard/respond/tests.rs", text)), &[]);
    }

    #[test]
    fn folder_of_a_build_machine_is_refused() {
        let home = concat!("/ho", "me/");
        let text = format!("fine\nrpath={home}me/x\nhttps://example.org{home}\n~{home}");
        assert_complaints(&machine_folders("Makefile", text.as_bytes()), &["Makefile:2:"]);
        assert_complaints(&machine_folders("web/package-lock.json", text.as_bytes()), &[]);
        assert_complaints(&machine_folders("logo.png", format!("\0{text}").as_bytes()), &[]);
    }
}

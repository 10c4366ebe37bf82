//! Holds the tree to its own rules: which folder may import which, how large a file and a function may grow, and what stands in one place only.
//! Each rule is a function from sources to complaints; the tests here run it over the tree, those of `tidy/broken.rs` over snippets that break it.
//! It reads text and never compiles it: comments and literals are blanked first, so what they say breaks no rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use source::{Source, next_path_segment, word_starts, words};

#[path = "tidy/broken.rs"]
mod a_rule;
#[path = "tidy/source.rs"]
mod source;

/// Import direction, lowest first: a module uses its own layer and those below it.
const LAYERS: &[&[&str]] = &[
    &["units", "clock", "fault", "names", "console", "seeded"],
    &["json", "who"],
    &["http", "dialect"],
    &["config", "policy", "pricing", "usage", "cache", "limit", "breaker"],
    &["plan"],
    &["link"],
    &["shard", "coordinator"],
];
/// Modules of one layer that are nevertheless strangers: they meet in `link` only.
const STRANGERS: &[&str] = &["shard", "coordinator"];
/// Files that put the rest together and may use all of it.
const ASSEMBLY: &[&str] = &[
    "src/lib.rs",
    "src/main.rs",
    "src/health_cli.rs",
    "src/process.rs",
    "src/process/listeners.rs",
    "src/demo.rs",
    "src/demo/seed.rs",
    "src/demo/traffic.rs",
    "src/policy_cli.rs",
];

/// The 90th percentile of the proxies that are pleasant to read (CONTRIBUTING.md, Rules of the tree).
const FILE_LINES_MAX: usize = 400;
/// A function on one screen of a tall window (CONTRIBUTING.md, Rules of the tree).
const FUNCTION_LINES_MAX: usize = 70;
/// The ratchet: `(file, lines)` that were longer when the rule came. Numbers only go down, lines only go away.
const LONG_FILES: &[(&str, usize)] = &[];
/// The same for `(file, function, lines)`.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

const UNSAFE_FILE: &str = "src/http/wire.rs";
const CLOCK_FILE: &str = "src/clock.rs";
const NAMES_FILE: &str = "src/names.rs";
/// The parser's own table, in which every header that it tells apart stands by its length.
const HEADER_TABLE: &str = "src/http/known.rs";

// ---- the rules, over the tree ----

#[test]
fn modules_import_only_their_own_layer_and_lower_ones() {
    expect_none(&imports_against_the_direction(&tree("src")));
}

#[test]
fn files_stay_within_their_length() {
    expect_none(&long_files(&tree("src"), LONG_FILES));
}

#[test]
fn functions_stay_within_their_length() {
    expect_none(&long_functions(&tree("src"), LONG_FUNCTIONS));
}

#[test]
fn every_module_begins_with_a_header() {
    expect_none(&missing_headers(&tree("src")));
}

#[test]
fn unsafe_stands_in_one_file() {
    expect_none(&unsafe_elsewhere(&tree("src")));
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let all: Vec<Source> = ["src", "tests", "bench"].into_iter().flat_map(tree_or_nothing).collect();
    expect_none(&unfinished(&all));
}

#[test]
fn shards_take_no_lock_and_touch_no_file() {
    expect_none(&locks_and_files_in_shards(&tree("src")));
}

#[test]
fn the_time_is_read_in_one_file() {
    expect_none(&clocks_elsewhere(&tree("src")));
}

#[test]
fn metric_and_header_names_stand_in_one_file() {
    expect_none(&names_elsewhere(&tree("src")));
}

#[test]
fn no_tracked_file_names_a_folder_of_a_build_machine() {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: git is missing or this is no repository");
        return;
    };
    let mut complaints = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|path| !path.is_empty()) {
        // A deleted file is still listed until the deletion is staged; a link to a folder cannot be read.
        if let Ok(bytes) = fs::read(root().join(path)) {
            complaints.extend(machine_paths(path, &bytes));
        }
    }
    expect_none(&complaints);
}

// ---- the rules ----

fn imports_against_the_direction(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| !ASSEMBLY.contains(&source.path.as_str())) {
        let own = source.module_path();
        let Some(own_layer) = layer_of(&own[0]) else {
            complaints
                .push(format!("{}: module `{}` has no layer; name it in LAYERS or ASSEMBLY", source.path, own[0]));
            continue;
        };
        for (offset, path) in source.paths() {
            let Some(used) = source.crate_module(&own, offset, &path) else {
                continue;
            };
            let reason = match layer_of(&used) {
                Some(_) if used == own[0] => continue,
                Some(_) if STRANGERS.contains(&used.as_str()) && STRANGERS.contains(&own[0].as_str()) => {
                    "they meet in `link` only".to_owned()
                }
                Some(layer) if layer > own_layer => format!("layer {layer} stands above layer {own_layer}"),
                Some(_) => continue,
                None => "it is in no layer; name the module that owns it".to_owned(),
            };
            complaints.push(source.complaint(offset, &format!("`{}` uses `crate::{used}`: {reason}", own[0])));
        }
    }
    complaints
}

fn long_files(sources: &[Source], offenders: &[(&str, usize)]) -> Vec<String> {
    let lengths =
        sources.iter().filter(|source| !source.is_test_file()).map(|s| (s.path.clone(), s.text.lines().count()));
    let offenders = offenders.iter().map(|(path, lines)| ((*path).to_owned(), *lines));
    ratchet(&lengths.collect(), &offenders.collect(), FILE_LINES_MAX)
}

fn long_functions(sources: &[Source], offenders: &[(&str, &str, usize)]) -> Vec<String> {
    let mut lengths = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test_file()) {
        for (name, lines) in source.functions() {
            let longest = lengths.entry(format!("{} fn {name}", source.path)).or_insert(0);
            *longest = lines.max(*longest);
        }
    }
    let offenders = offenders.iter().map(|(path, name, lines)| (format!("{path} fn {name}"), *lines));
    ratchet(&lengths, &offenders.collect(), FUNCTION_LINES_MAX)
}

/// What is unlisted stays within `max`; what is listed stays within its number, and leaves the list once it is within `max`.
fn ratchet(lengths: &BTreeMap<String, usize>, offenders: &BTreeMap<String, usize>, max: usize) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, listed) in offenders {
        match lengths.get(name) {
            None => complaints.push(format!("{name}: listed as an offender and gone; take it off the list")),
            Some(lines) if *lines <= max => {
                complaints.push(format!("{name}: {lines} lines are within {max} now; take it off the list"));
            }
            Some(lines) if lines > listed => {
                complaints.push(format!("{name}: grew from {listed} to {lines} lines; an offender may only shrink"));
            }
            Some(_) => {}
        }
    }
    for (name, lines) in lengths {
        if *lines > max && !offenders.contains_key(name) {
            complaints.push(format!("{name}: {lines} lines, at most {max}"));
        }
    }
    complaints
}

fn missing_headers(sources: &[Source]) -> Vec<String> {
    let headless = sources.iter().filter(|source| !source.is_test_file() && !source.text.starts_with("//!"));
    headless.map(|source| format!("{}: begins without a `//!` header", source.path)).collect()
}

fn unsafe_elsewhere(sources: &[Source]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|source| source.path != UNSAFE_FILE);
    words_found(elsewhere, &["unsafe"], &format!("belongs in {UNSAFE_FILE}"))
}

fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, word) in words(&source.code) {
            if ["todo", "unimplemented", "dbg"].contains(&word) && source.code[at + word.len()..].starts_with('!') {
                complaints.push(source.complaint(at, &format!("`{word}!` is left behind")));
            }
        }
    }
    complaints
}

fn locks_and_files_in_shards(sources: &[Source]) -> Vec<String> {
    let shards: Vec<&Source> =
        sources.iter().filter(|source| source.module_path().first().is_some_and(|m| m == "shard")).collect();
    let mut complaints = words_found(shards.iter().copied(), &["Mutex", "RwLock"], "is a lock, and a shard takes none");
    complaints.extend(words_found(shards.iter().copied(), &["rusqlite"], "is the coordinator's"));
    for source in shards {
        for (offset, path) in source.paths() {
            if path.len() > 1 && (path[0] == "std" || path[0] == "monoio") && path[1] == "fs" {
                complaints.push(source.complaint(offset, &format!("`{}`: a shard touches no file", path.join("::"))));
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
    for source in sources
        .iter()
        .filter(|source| ![NAMES_FILE, HEADER_TABLE].contains(&source.path.as_str()) && !source.is_test_file())
    {
        for literal in source.literals.iter().filter(|literal| !source.is_test(literal.start)) {
            let text = &source.text[literal.clone()];
            let lower = text.to_ascii_lowercase();
            let is_metric = word_starts(text, "luner_").any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            let is_header =
                word_starts(&lower, "x-luner-").any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
            if is_metric || is_header {
                complaints
                    .push(source.complaint(literal.start, &format!("{text} is a name; it belongs in {NAMES_FILE}")));
            }
        }
    }
    complaints
}

/// `bytes` is a file's content; a binary file (one with a NUL) and a lock file are left alone.
fn machine_paths(path: &str, bytes: &[u8]) -> Vec<String> {
    if bytes.contains(&0) || path.ends_with("Cargo.lock") || path.ends_with("package-lock.json") {
        return Vec::new();
    }
    // Written in two halves, so that this file passes its own test.
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut complaints = Vec::new();
    for (number, line) in String::from_utf8_lossy(bytes).lines().enumerate() {
        for folder in folders {
            // In the middle of a longer path or a URL it is no folder of this machine.
            let absolute = line
                .match_indices(folder)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "_.-~*$}".contains(c)));
            if absolute {
                complaints.push(format!("{path}:{}: names `{folder}`, a folder of a build machine", number + 1));
            }
        }
    }
    complaints
}

fn words_found<'a>(sources: impl Iterator<Item = &'a Source>, banned: &[&str], why: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        for (at, word) in words(&source.code).filter(|(_, word)| banned.contains(word)) {
            complaints.push(source.complaint(at, &format!("`{word}` {why}")));
        }
    }
    complaints
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

// ---- the tree ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree(folder: &str) -> Vec<Source> {
    let sources = tree_or_nothing(folder);
    assert!(!sources.is_empty(), "no Rust file under {folder}: the check would pass for nothing");
    sources
}

fn tree_or_nothing(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&root().join(folder), &mut sources);
    sources
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder's entry is readable").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                collect(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path.strip_prefix(root()).expect("found below the root");
            sources.push(Source::parse(&relative.to_string_lossy(), &text));
        }
    }
}

fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaint(s):\n  {}", complaints.len(), complaints.join("\n  "));
}

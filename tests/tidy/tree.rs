//! Reads the repository: every Rust file below a folder, parsed.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crate::source::Source;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of the crate `luner`, in the order of their paths.
pub fn crate_sources() -> &'static [Source] {
    let length = TREE.partition_point(|source| source.path.starts_with("src/"));
    assert!(length > 0, "no Rust file below src: every rule would pass without checking anything");
    &TREE[..length]
}

/// Files of the crate, then those of the integration tests and of the benchmarks.
pub fn all_sources() -> &'static [Source] {
    &TREE
}

static TREE: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut sources = Vec::new();
    for folder in ["src", "tests", "bench"] {
        collect(&root().join(folder), &mut sources);
    }
    mark_test_files(&mut sources);
    sources
});

/// Fails the test and lists the complaints, if there are any.
#[track_caller]
pub fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaint(s):\n  {}", complaints.len(), complaints.join("\n  "));
}

/// Marks the files that `#[cfg(test)] mod name;` declares, and those below them, as test files.
pub fn mark_test_files(sources: &mut [Source]) {
    let mut stems = Vec::new();
    for source in sources.iter() {
        for line in source.mod_lines().iter().filter(|line| source.is_test(line.at)) {
            let folder = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
            stems.push(format!("{}/{}", folder.trim_end_matches("/lib"), line.name));
        }
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        source.is_test_file |= stems.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")));
    }
}

fn collect(folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("folder entry is readable").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                collect(&path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let relative = path.strip_prefix(root()).expect("file is below the root");
            sources.push(Source::parse(&relative.to_string_lossy(), &text));
        }
    }
}

/// Snippets as sources, for the tests of the rules.
pub fn snippets(files: &[(&str, &str)]) -> Vec<Source> {
    let mut sources: Vec<Source> = files.iter().map(|(path, text)| Source::parse(path, text)).collect();
    mark_test_files(&mut sources);
    sources
}

/// Asserts that there are as many complaints as expected parts, and that each contains its part.
#[track_caller]
pub fn assert_complaints(complaints: &[String], parts: &[&str]) {
    assert_eq!(complaints.len(), parts.len(), "{complaints:#?}");
    for (complaint, part) in complaints.iter().zip(parts) {
        assert!(complaint.contains(part), "{complaint:?} lacks {part:?}");
    }
}

mod tests {
    use super::*;

    #[test]
    fn file_that_a_test_mod_line_declares_is_a_test_file() {
        let sources = snippets(&[
            ("src/http/mod.rs", "mod head;\n#[cfg(test)]\nmod seeded;"),
            ("src/http/head.rs", "#[cfg(test)]\nmod cases;"),
            ("src/http/head/cases.rs", ""),
            ("src/http/seeded.rs", ""),
            ("src/http/seeded/numbers.rs", ""),
        ]);
        let tests: Vec<bool> = sources.iter().map(|source| source.is_test_file).collect();
        assert_eq!(tests, [false, false, true, true, true]);
    }
}

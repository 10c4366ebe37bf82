//! Loads a `Config` from a file or from text: parses, expands and checks it, and collects every problem.
//! Runs on the coordinator at start and on a reload, and in `luner check`.
//! Never stops at the first mistake, and never opens a file other than the one it is given.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::env::Env;
use super::problem::{Mark, ProblemCollector, Problems};
use super::shapes::Config;
use super::{check, env, outliner, rules, tree};

/// Reads and checks a file. Problems name the file by `path`, unchanged.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    let source = path.display().to_string();
    let fail = |at: Mark, message: String| {
        let mut problems = ProblemCollector::default();
        problems.add(at, "", message);
        Err(problems.into_problems(&source))
    };
    // Allocated in advance: a reallocation while reading would leave copies of literal API keys in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    let read = std::fs::File::open(path).and_then(|file| file.take(tree::FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return fail(Mark::NONE, format!("cannot be read: {error}"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, &source, env),
        Err(_) if bytes.len() as u64 > tree::FILE_BYTES_MAX => {
            fail(Mark::NONE, "the file is larger than 1 MiB".to_owned())
        }
        Err(error) => fail(tree::position(&bytes, error.valid_up_to()), "this is not UTF-8 text".to_owned()),
    }
}

/// Checks the text of a file. Every problem begins with `source_name`.
pub fn parse(text: &str, source_name: &str, env: Env<'_>) -> Result<Config, Problems> {
    let mut problems = ProblemCollector::default();
    let Some(mut root) = tree::parse(text, &mut problems) else {
        return Err(problems.into_problems(source_name));
    };
    env::expand(&mut root, env, &mut problems);
    let outline = outliner::outline(&root);
    let mut value = check::check(&root, &mut problems);
    rules::check(&root, &mut problems);
    if !problems.list.is_empty() {
        check::zeroize(&mut value);
        return Err(problems.into_problems(source_name).with_outline(outline));
    }
    let mut config = match Config::deserialize(value) {
        Ok(config) => config,
        Err(_) => {
            // The check is derived from the same types, so this is a bug in luner. serde's own message is not shown, because
            // it may repeat a value.
            problems.add(
                Mark { line: 1, column: 1 },
                "",
                "passed every check but cannot be loaded; this is a bug in luner, please report it",
            );
            return Err(problems.into_problems(source_name));
        }
    };
    rules::warnings(&config, &root, &mut problems);
    config.outline = outline;
    config.warnings = problems.into_problems(source_name).list;
    Ok(config)
}

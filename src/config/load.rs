//! From a file or its text to a `Config`: reads, expands, checks, and collects every problem.
//! Runs on the coordinator at start and on a reload, and in `luner check`.
//! Never stops at the first mistake and never opens any file but the one it is given.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::env::Env;
use super::problem::{Complaints, Mark, Problems};
use super::shapes::Config;
use super::{check, env, outliner, rules, tree};

/// Reads and checks the file. Problems name `path` as it was given.
pub fn load(path: &Path, env: Env<'_>) -> Result<Config, Problems> {
    let source = path.display().to_string();
    let fail = |at: Mark, message: String| {
        let mut complaints = Complaints::default();
        complaints.add(at, "", message);
        Err(complaints.into_problems(&source))
    };
    // Sized beforehand, so that reading does not reallocate and leave copies of literal keys behind.
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

/// Checks a file's text; `source_name` stands before every problem.
pub fn parse(text: &str, source_name: &str, env: Env<'_>) -> Result<Config, Problems> {
    let mut complaints = Complaints::default();
    let Some(mut root) = tree::read(text, &mut complaints) else {
        return Err(complaints.into_problems(source_name));
    };
    env::expand(&mut root, env, &mut complaints);
    let outline = outliner::outline(&root);
    let mut value = check::check(&root, &mut complaints);
    rules::complaints(&root, &mut complaints);
    if !complaints.list.is_empty() {
        check::wipe(&mut value);
        return Err(complaints.into_problems(source_name).with(outline));
    }
    let mut config = match Config::deserialize(value) {
        Ok(config) => config,
        Err(_) => {
            // The check is derived from these very types, so this is a fault of luner's. serde's own
            // message may repeat a value, hence it is not shown.
            complaints.add(
                Mark { line: 1, column: 1 },
                "",
                "passed every check and still does not fit; please report this",
            );
            return Err(complaints.into_problems(source_name));
        }
    };
    rules::warnings(&config, &root, &mut complaints);
    config.outline = outline;
    config.warnings = complaints.into_problems(source_name).list;
    Ok(config)
}

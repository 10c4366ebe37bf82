//! What the operator wrote: one YAML file becomes a `Config`, or a list of everything wrong with it.
//! Runs on the coordinator at start and on a reload, and in `luner check`.
//! Never stops at the first mistake, never prints a secret, and never opens any file but the one it is given.

// In the order of a file's way; the blank lines keep rustfmt from sorting them.
mod tree; // text → located tree

mod scalar; // its leaves

mod env; // ${NAME} in its values

mod check; // every value against the schema

mod rules; // what a schema cannot say

mod shapes; // the types, with their defaults

mod base_path; // under which path the console is found

mod address; // two of them: base_url and listen

mod schema; // the types as JSON Schema

mod outline; // what a file says, for telling two apart

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use address::{AddressError, BaseUrl, Listen};
pub use base_path::BasePath;
pub use outline::{Difference, Outline};
pub use schema::schema;
pub use shapes::{
    AdminConfig, CacheConfig, CacheScope, Capture, ClientLimits, Config, FormatVersion, LogLevel, PricingConfig,
    ProviderConfig, ProviderLimit, RateLimitConfig, RetentionConfig, ServerConfig, SqliteConfig, StorageBackend,
    StorageConfig, TelemetryConfig, UnknownPrice,
};

/// How variables are looked up: `&|name| std::env::var(name).ok()` outside tests.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

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
    let outline = Outline::of(&root);
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

/// Everything wrong with one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    pub source_name: String,
    pub list: Vec<Problem>,
    /// What the file says, if it could be read that far.
    pub outline: Option<Outline>,
}

impl Problems {
    /// The same, of a file that says this.
    #[must_use]
    pub fn with(self, outline: Outline) -> Problems {
        Problems { outline: Some(outline), ..self }
    }
}

impl fmt::Display for Problems {
    /// `config.yaml:12:5: providers[0].models: …`, one a line, no newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.source_name)?;
            if problem.line == 0 {
                f.write_str(" ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// One thing wrong, or worth a warning. Holds no value that came from a variable or belongs to a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Problem {
    /// From 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// In characters, from 1; 0 with line 0.
    pub column: u32,
    /// Dotted path such as `providers[0].base_url`; empty at the top.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    /// `12:5: providers[0].models: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A place in the file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    line: u32,
    column: u32,
}

impl Mark {
    /// The file as a whole.
    const NONE: Mark = Mark { line: 0, column: 0 };
}

/// Complaints while they are being collected.
#[derive(Default)]
struct Complaints {
    list: Vec<Problem>,
    left_out: usize,
}

impl Complaints {
    fn add(&mut self, at: Mark, key: &str, message: impl Into<String>) {
        if self.list.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        self.list.push(Problem { line: at.line, column: at.column, key: key.to_owned(), message: message.into() });
    }

    fn into_problems(mut self, source_name: &str) -> Problems {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.left_out > 0 {
            let message = format!("and {} more problems", self.left_out);
            self.list.push(Problem { line: 0, column: 0, key: String::new(), message });
        }
        Problems { source_name: source_name.to_owned(), list: self.list, outline: None }
    }
}

/// Arbitrary: more than anyone reads.
const PROBLEMS_MAX: usize = 100;

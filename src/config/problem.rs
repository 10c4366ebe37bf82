//! The problems of a configuration file, each with its place, collected while the file is checked.
//! Created on the coordinator at start and on a reload.
//! Never holds a value that came from a variable or belongs to a secret key.

use std::fmt;

use serde::Serialize;

use super::outline::Outline;

/// Everything that is wrong with one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    pub source_name: String,
    pub list: Vec<Problem>,
    /// The file's values, if it could be parsed.
    pub outline: Option<Outline>,
}

impl Problems {
    /// Adds the outline of the file.
    #[must_use]
    pub fn with_outline(self, outline: Outline) -> Problems {
        Problems { outline: Some(outline), ..self }
    }
}

impl fmt::Display for Problems {
    /// One problem per line, such as `config.yaml:12:5: providers[0].models: …`, without a newline at the end.
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

/// One error or warning. Holds no value that came from a variable or belongs to a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Problem {
    /// Starts at 1; 0 if the problem concerns the whole file.
    pub line: u32,
    /// In characters, starting at 1; 0 if `line` is 0.
    pub column: u32,
    /// Path of the key, such as `providers[0].base_url`; empty for the whole file.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    /// Prints `12:5: providers[0].models: …`.
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

/// A place in the file; line and column start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub line: u32,
    pub column: u32,
}

impl Mark {
    /// Stands for the whole file.
    pub const NONE: Mark = Mark { line: 0, column: 0 };
}

/// Collects the problems of one file, up to a maximum.
#[derive(Default)]
pub(super) struct ProblemCollector {
    pub list: Vec<Problem>,
    omitted: usize,
}

impl ProblemCollector {
    pub fn add(&mut self, at: Mark, key: &str, message: impl Into<String>) {
        if self.list.len() >= PROBLEMS_MAX {
            self.omitted += 1;
            return;
        }
        self.list.push(Problem { line: at.line, column: at.column, key: key.to_owned(), message: message.into() });
    }

    pub fn into_problems(mut self, source_name: &str) -> Problems {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.omitted > 0 {
            let message = format!("and {} more problems", self.omitted);
            self.list.push(Problem { line: 0, column: 0, key: String::new(), message });
        }
        Problems { source_name: source_name.to_owned(), list: self.list, outline: None }
    }
}

/// Most problems that are reported for one file. Arbitrary: more than anyone reads.
pub(super) const PROBLEMS_MAX: usize = 100;

//! What is wrong with a file: problems with their place, collected while the file is checked.
//! Made on the coordinator at start and on a reload.
//! Never holds a value that came from a variable or belongs to a secret key.

use std::fmt;

use serde::Serialize;

use super::outline::Outline;

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
pub(super) struct Mark {
    pub line: u32,
    pub column: u32,
}

impl Mark {
    /// The file as a whole.
    pub const NONE: Mark = Mark { line: 0, column: 0 };
}

/// Complaints while they are being collected.
#[derive(Default)]
pub(super) struct Complaints {
    pub list: Vec<Problem>,
    left_out: usize,
}

impl Complaints {
    pub fn add(&mut self, at: Mark, key: &str, message: impl Into<String>) {
        if self.list.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        self.list.push(Problem { line: at.line, column: at.column, key: key.to_owned(), message: message.into() });
    }

    pub fn into_problems(mut self, source_name: &str) -> Problems {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        if self.left_out > 0 {
            let message = format!("and {} more problems", self.left_out);
            self.list.push(Problem { line: 0, column: 0, key: String::new(), message });
        }
        Problems { source_name: source_name.to_owned(), list: self.list, outline: None }
    }
}

/// Arbitrary: more than anyone reads.
pub(super) const PROBLEMS_MAX: usize = 100;

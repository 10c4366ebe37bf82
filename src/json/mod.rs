//! Reads JSON texts with a strict, bounded walker, and writes JSON strings. Pure: no I/O, no shared state.

// Limits of a text.
mod limits;

// Why a text is refused.
mod error;

// Skips bytes until one has a meaning.
pub(crate) mod scan;

// Decodes and writes strings.
mod text;

// The keys of open objects.
mod keys;

// Steps through a text.
mod walker;

// The smallest steps: strings, numbers, words.
mod token;

#[cfg(test)]
mod tests;

pub(crate) use error::excerpt;
pub use error::{JsonError, JsonErrorKind};
pub use limits::{DEPTH_MAX_DEFAULT, MEMBERS_MAX, NUMBER_BYTES_MAX, VALUES_MAX};
pub use text::{Text, write_string};
pub use walker::{Value, Walker};

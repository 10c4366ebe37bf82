//! JSON texts: a strict, bounded walker, and how strings are written.

// Limits of a text.
mod limits;

// Why a text is refused.
mod fault;

// Skips bytes without meaning.
pub(crate) mod scan;

// Strings, both ways.
mod text;

// The keys of open objects.
mod keys;

// Steps through a text.
mod walker;

// The smallest steps: strings, numbers, words.
mod token;

#[cfg(test)]
mod tests;

pub(crate) use fault::excerpt;
pub use fault::{Fault, FaultKind};
pub use limits::{DEPTH_MAX_DEFAULT, MEMBERS_MAX, NUMBER_BYTES_MAX, VALUES_MAX};
pub use text::{Text, write_string};
pub use walker::{Value, Walker};

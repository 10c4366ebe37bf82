//! Why a JSON text was refused, and where.
//! Plain values; the text's own bytes are in them only as a short excerpt of a key.

use std::fmt;

use super::limits::{MEMBERS_MAX, NUMBER_BYTES_MAX, VALUES_MAX};

/// Why a text is refused, and the byte offset where that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    Expected(&'static str),
    NotUtf8,
    ByteOrderMark,
    ControlCharacter,
    BadEscape,
    LoneSurrogate,
    BadNumber,
    LongNumber,
    TooDeep,
    TooManyValues,
    TooManyMembers,
    /// The key, decoded and cut to 64 bytes.
    DuplicateKey(Box<str>),
}

impl Fault {
    pub(super) fn new(at: usize, kind: FaultKind) -> Self {
        Fault { at, kind }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Expected(what) => write!(f, "expected {what}"),
            FaultKind::NotUtf8 => f.write_str("not UTF-8"),
            FaultKind::ByteOrderMark => f.write_str("a byte order mark"),
            FaultKind::ControlCharacter => f.write_str("an unescaped control character in a string"),
            FaultKind::BadEscape => f.write_str("an unknown or unfinished escape in a string"),
            FaultKind::LoneSurrogate => f.write_str("half of a surrogate pair in a string"),
            FaultKind::BadNumber => f.write_str("a malformed number"),
            FaultKind::LongNumber => write!(f, "a number of more than {NUMBER_BYTES_MAX} bytes"),
            FaultKind::TooDeep => f.write_str("too many levels of nesting"),
            FaultKind::TooManyValues => write!(f, "more than {VALUES_MAX} values"),
            FaultKind::TooManyMembers => write!(f, "more than {MEMBERS_MAX} members of objects"),
            FaultKind::DuplicateKey(name) => write!(f, "the key {name:?} comes twice in one object"),
        }?;
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for Fault {}

/// At most 64 bytes (arbitrary) of a text from outside, for a message.
pub(crate) fn excerpt(text: &str) -> &str {
    (0..=64).rev().find_map(|len| text.get(..len.min(text.len()))).unwrap_or_default()
}

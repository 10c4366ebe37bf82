//! Why and where a JSON text was refused.
//! Plain values. They hold nothing of the text but a short excerpt of a key.

use std::fmt;

use super::limits::{MEMBERS_MAX, NUMBER_BYTES_MAX, VALUES_MAX};

/// Why a text is refused, and the byte offset of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub at: usize,
    pub kind: JsonErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
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
    /// A key occurs twice in one object. Holds the key, decoded and cut to 64 bytes.
    DuplicateKey(Box<str>),
}

impl JsonError {
    pub(super) fn new(at: usize, kind: JsonErrorKind) -> Self {
        JsonError { at, kind }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            JsonErrorKind::Expected(what) => write!(f, "expected {what}"),
            JsonErrorKind::NotUtf8 => f.write_str("not UTF-8"),
            JsonErrorKind::ByteOrderMark => f.write_str("a byte order mark"),
            JsonErrorKind::ControlCharacter => f.write_str("an unescaped control character in a string"),
            JsonErrorKind::BadEscape => f.write_str("an unknown or unfinished escape in a string"),
            JsonErrorKind::LoneSurrogate => f.write_str("half of a surrogate pair in a string"),
            JsonErrorKind::BadNumber => f.write_str("a malformed number"),
            JsonErrorKind::LongNumber => write!(f, "a number of more than {NUMBER_BYTES_MAX} bytes"),
            JsonErrorKind::TooDeep => f.write_str("too many levels of nesting"),
            JsonErrorKind::TooManyValues => write!(f, "more than {VALUES_MAX} values"),
            JsonErrorKind::TooManyMembers => write!(f, "more than {MEMBERS_MAX} members of objects"),
            JsonErrorKind::DuplicateKey(name) => write!(f, "the key {name:?} occurs twice in one object"),
        }?;
        write!(f, " at byte {}", self.at)
    }
}

impl std::error::Error for JsonError {}

/// The first 64 bytes of a text from outside, for a message. Arbitrary: enough to recognise a key, short enough for a log
/// line.
pub(crate) fn excerpt(text: &str) -> &str {
    (0..=64).rev().find_map(|len| text.get(..len.min(text.len()))).unwrap_or_default()
}

//! The reasons for which a request's body is refused, with the error codes and messages of the OpenAI API.
//! Pure; made by the reader of requests, written to the wire by whoever refuses the request.

use std::borrow::Cow;
use std::fmt;

use crate::json::{JsonError, JsonErrorKind, Value};

/// Why a request's body is refused. `Display` is the message for the caller, worded like the API's own messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsError {
    pub kind: FactsErrorKind,
    /// Byte offset in the body.
    pub at: usize,
    /// The member at fault. A key that comes from the body is cut to 64 bytes.
    pub param: Option<Cow<'static, str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsErrorKind {
    /// The body is not JSON that luner accepts.
    Json(JsonErrorKind),
    Missing,
    WrongType {
        expected: &'static str,
        got: &'static str,
    },
    /// The type is right but the value is not. Holds what is expected.
    BadValue(&'static str),
    /// The key differs from this name only in case.
    Lookalike(&'static str),
}

impl FactsError {
    pub(super) fn about(param: &'static str, at: usize, kind: FactsErrorKind) -> Self {
        FactsError { kind, at, param: Some(Cow::Borrowed(param)) }
    }

    /// `code` of the error body. Always present, though the API itself often sends null in these cases.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self.kind {
            FactsErrorKind::Json(JsonErrorKind::DuplicateKey(_)) => "duplicate_key",
            FactsErrorKind::Json(JsonErrorKind::TooDeep) => "json_too_deep",
            FactsErrorKind::Json(JsonErrorKind::TooManyValues | JsonErrorKind::TooManyMembers) => "json_too_complex",
            FactsErrorKind::Json(_) => "invalid_json",
            FactsErrorKind::Missing => "missing_required_parameter",
            FactsErrorKind::WrongType { .. } => "invalid_type",
            FactsErrorKind::BadValue(_) => "invalid_value",
            FactsErrorKind::Lookalike(_) => "unknown_parameter",
        })
    }
}

impl From<Box<JsonError>> for FactsError {
    fn from(error: Box<JsonError>) -> Self {
        let param = match &error.kind {
            JsonErrorKind::DuplicateKey(name) => Some(Cow::Owned(name.to_string())),
            _ => None,
        };
        FactsError { kind: FactsErrorKind::Json(error.kind), at: error.at, param }
    }
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let param = self.param.as_deref().unwrap_or_default();
        match &self.kind {
            FactsErrorKind::Json(kind) => {
                let error = JsonError { at: self.at, kind: kind.clone() };
                write!(f, "We could not parse the JSON body of your request: {error}")
            }
            FactsErrorKind::Missing => write!(f, "Missing required parameter: '{param}'."),
            FactsErrorKind::WrongType { expected, got } => {
                write!(f, "Invalid type for '{param}': expected {expected}, but got {got} instead.")
            }
            FactsErrorKind::BadValue(expected) => write!(f, "Invalid value for '{param}': expected {expected}."),
            FactsErrorKind::Lookalike(name) => {
                write!(
                    f,
                    "Unknown parameter: {param:?}. It differs from '{name}' only in case, which readers of JSON treat differently."
                )
            }
        }
    }
}

impl std::error::Error for FactsError {}

pub(super) fn wrong_type(param: &'static str, at: usize, expected: &'static str, got: Value<'_>) -> FactsError {
    FactsError::about(param, at, FactsErrorKind::WrongType { expected, got: got.name() })
}

pub(super) fn bad_value(param: &'static str, at: usize, expected: &'static str) -> FactsError {
    FactsError::about(param, at, FactsErrorKind::BadValue(expected))
}

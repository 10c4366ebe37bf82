//! The reasons for which a request's body is refused, with the error codes and messages of the OpenAI API.
//! Pure; made by the reader of requests, written to the wire by whoever refuses the request.

use std::borrow::Cow;
use std::fmt;

use crate::json::{Fault, FaultKind, Value};

/// Why a request's body is refused. `Display` is the message for the caller, in the tone of the API's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsError {
    pub kind: FactsErrorKind,
    /// Byte offset in the body.
    pub at: usize,
    /// The member that it is about. From the body, if it is a key there; then cut to 64 bytes.
    pub param: Option<Cow<'static, str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsErrorKind {
    /// Not JSON as it is accepted here.
    Json(FaultKind),
    Missing,
    WrongType {
        expected: &'static str,
        got: &'static str,
    },
    /// The right type; the text says what is expected.
    BadValue(&'static str),
    /// Equals this name but for case.
    Twin(&'static str),
}

impl FactsError {
    pub(super) fn about(param: &'static str, at: usize, kind: FactsErrorKind) -> Self {
        FactsError { kind, at, param: Some(Cow::Borrowed(param)) }
    }

    /// `code` of the error body. Always there, though the API itself often sends null for these.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self.kind {
            FactsErrorKind::Json(FaultKind::DuplicateKey(_)) => "duplicate_key",
            FactsErrorKind::Json(FaultKind::TooDeep) => "json_too_deep",
            FactsErrorKind::Json(FaultKind::TooManyValues | FaultKind::TooManyMembers) => "json_too_complex",
            FactsErrorKind::Json(_) => "invalid_json",
            FactsErrorKind::Missing => "missing_required_parameter",
            FactsErrorKind::WrongType { .. } => "invalid_type",
            FactsErrorKind::BadValue(_) => "invalid_value",
            FactsErrorKind::Twin(_) => "unknown_parameter",
        })
    }
}

impl From<Box<Fault>> for FactsError {
    fn from(fault: Box<Fault>) -> Self {
        let param = match &fault.kind {
            FaultKind::DuplicateKey(name) => Some(Cow::Owned(name.to_string())),
            _ => None,
        };
        FactsError { kind: FactsErrorKind::Json(fault.kind), at: fault.at, param }
    }
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let param = self.param.as_deref().unwrap_or_default();
        match &self.kind {
            FactsErrorKind::Json(kind) => {
                let fault = Fault { at: self.at, kind: kind.clone() };
                write!(f, "We could not parse the JSON body of your request: {fault}")
            }
            FactsErrorKind::Missing => write!(f, "Missing required parameter: '{param}'."),
            FactsErrorKind::WrongType { expected, got } => {
                write!(f, "Invalid type for '{param}': expected {expected}, but got {got} instead.")
            }
            FactsErrorKind::BadValue(expected) => write!(f, "Invalid value for '{param}': expected {expected}."),
            FactsErrorKind::Twin(name) => {
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

//! From a path and a method to an operation, by the one table of [`super::operations`], which the document is made of too.
//! Pure; paths are compared byte for byte, so that no two readings of one exist. It never looks at who asks.

use schemars::{Schema, SchemaGenerator};

use super::operations::{Does, OPERATIONS};
use super::shape::error::ApiError;
use super::shape::parameter::Parameter;
use crate::http::head::Method;
use crate::link::ApiRequest;

/// What one method of one path does.
pub(super) struct Operation {
    pub method: Method,
    /// A segment `{name}` stands for anything but nothing.
    pub path: &'static str,
    pub does: Does,
    /// One line for the document.
    pub about: &'static str,
    pub access: Access,
    pub query: Query,
    /// The body that it takes.
    pub body: Option<Shape>,
    /// The answers that are no refusals.
    pub answers: &'static [(u16, Content)],
    /// Refusals beyond those that follow from the rest.
    pub refusals: &'static [u16],
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone: it says nothing of callers, keys or policies' texts.
    Open,
    /// Everyone from here on: it is the way in.
    SignIn,
    /// Whom the rules let through.
    Guarded,
}

/// Which parameters there may be.
pub(super) enum Query {
    /// Probes and scrapers bring some of their own.
    Any,
    Known(&'static [&'static Parameter]),
}

/// What an answer's body is.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Nothing,
    Json(Shape),
    /// Text of this media type.
    Text(&'static str),
    /// Rows as JSON of this shape, or as CSV.
    Rows(Shape),
}

/// The schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// An operation, and the segment that stands where its path leaves one open; empty where it does not.
#[derive(Clone)]
pub(super) struct Found {
    pub operation: &'static Operation,
    pub id: String,
}

/// The operation that is asked for.
pub(super) fn find(request: &ApiRequest) -> Result<Found, ApiError> {
    let path = request.path.as_str();
    let literal = OPERATIONS.iter().any(|operation| operation.path == path);
    let of_path = OPERATIONS.iter().filter_map(|operation| {
        let id = match literal {
            true => (operation.path == path).then_some("")?,
            false => open_segment(operation.path, path)?,
        };
        Some(Found { operation, id: id.to_owned() })
    });
    let of_path: Vec<Found> = of_path.collect();
    if of_path.is_empty() {
        return Err(ApiError::not_found("There is no such path."));
    }
    let method = if request.method == Method::Head { Method::Get } else { request.method };
    if let Some(found) = of_path.iter().find(|found| found.operation.method == method) {
        return Ok(found.clone());
    }
    let allowed: Vec<&str> = of_path.iter().map(|found| allowed(found.operation.method)).collect();
    Err(ApiError::wrong_method(&allowed.join(", ")))
}

/// What stands in `path` where `template` has a name in braces, if all else is the same.
fn open_segment<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let (before, rest) = template.split_once('{')?;
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// Whoever may GET may look at the head alone.
fn allowed(method: Method) -> &'static str {
    match method {
        Method::Get => "GET, HEAD",
        method => name(method),
    }
}

/// As it stands on the wire.
pub(super) fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        _ => "DELETE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_one_and_not_empty() {
        let of = |path| open_segment("/api/policies/{id}", path);
        assert_eq!(of("/api/policies/pol_1"), Some("pol_1"));
        for path in ["/api/policies/", "/api/policies", "/api/policies/a/b", "/api/Policies/a", "/api/traces/a"] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(open_segment("/api/policies", "/api/policies"), None);
    }

    #[test]
    fn no_two_operations_answer_the_same() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            let same = |other: &&Operation| other.path == operation.path && other.method == operation.method;
            assert_eq!(OPERATIONS.iter().skip(at + 1).find(same).map(|other| other.path), None);
            assert!(!operation.about.is_empty() && !operation.answers.is_empty(), "{}", operation.path);
        }
    }
}

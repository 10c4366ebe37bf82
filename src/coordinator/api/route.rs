//! From a path and a method to an operation. Pure; paths are compared byte for byte, so that a path has one reading only. It
//! never looks at who asks.

use super::operations::OPERATIONS;
use super::shape::error::ApiError;
use super::shape::operation::{ApiOperation, method_name};
use crate::http::head::Method;
use crate::link::ApiRequest;

/// An operation, and the segment of the path that stands where the operation's path has braces; empty if it has none.
#[derive(Clone)]
pub(super) struct FoundOperation {
    pub(super) operation: &'static ApiOperation,
    pub(super) id: String,
}

/// Finds the operation that a request asks for.
///
/// # Errors
/// 404 if there is no such path, 405 if the path has no such method.
pub(super) fn find(request: &ApiRequest) -> Result<FoundOperation, ApiError> {
    let path = request.path.as_str();
    // `/api/policies/test` is not a policy with the id `test`.
    let is_literal = OPERATIONS.iter().any(|operation| operation.path == path);
    let of_path = OPERATIONS.iter().filter_map(|operation| {
        let id = match is_literal {
            true => (operation.path == path).then_some("")?,
            false => open_segment(operation.path, path)?,
        };
        Some(FoundOperation { operation, id: id.to_owned() })
    });
    let of_path: Vec<FoundOperation> = of_path.collect();
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

/// Returns the segment of `path` that stands where `template` has a name in braces, if everything else is equal.
fn open_segment<'p>(template: &str, path: &'p str) -> Option<&'p str> {
    let (before, rest) = template.split_once('{')?;
    let (_, after) = rest.split_once('}')?;
    let segment = path.strip_prefix(before)?.strip_suffix(after)?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// The `Allow` header's words for a method: GET includes HEAD.
fn allowed(method: Method) -> &'static str {
    match method {
        Method::Get => "GET, HEAD",
        method => method_name(method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_segment_is_exactly_one_segment() {
        let segment = |path| open_segment("/api/policies/{id}", path);
        assert_eq!(segment("/api/policies/pol_1"), Some("pol_1"));
        for path in ["/api/policies/", "/api/policies", "/api/policies/a/b", "/api/Policies/a", "/api/traces/a"] {
            assert_eq!(segment(path), None, "{path}");
        }
        assert_eq!(open_segment("/api/policies", "/api/policies"), None);
    }
}

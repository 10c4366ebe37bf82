//! The REST API, as far as it exists: a file per resource. Runs on the coordinator, between two events.

mod health; // GET /api/health

use super::{Coordinator, metrics};
use crate::http::head::Method;
use crate::link::{ApiAnswer, ApiCall};
use crate::openai::error::ErrorBody;

/// Whether the answer must show what the shards counted until now.
pub(super) fn needs_fresh_counts(call: &ApiCall) -> bool {
    call.request.path == "/metrics"
}

/// Answers one request.
pub(super) fn answer(coordinator: &Coordinator, call: &ApiCall) -> ApiAnswer {
    if !matches!(call.request.method, Method::Get | Method::Head) {
        return error(405, "This method is not allowed on this path.", "method_not_allowed");
    }
    match call.request.path.as_str() {
        "/api/health" => health::answer(coordinator),
        "/metrics" => metrics::answer(coordinator),
        _ => error(404, "There is no such path.", "not_found"),
    }
}

fn error(status: u16, message: &str, code: &'static str) -> ApiAnswer {
    let mut body = Vec::new();
    ErrorBody { message, kind: "invalid_request_error", param: None, code: Some(code) }.write(&mut body);
    ApiAnswer { status, content_type: JSON, headers: Vec::new(), body }
}

/// The media type of the API.
pub(super) const JSON: &str = "application/json";

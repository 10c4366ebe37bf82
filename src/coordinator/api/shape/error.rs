//! Refusals of the REST API, in OpenAI's error format, with a list of details beside it if a body has several mistakes. Plain
//! values. They never hold a secret or anything else that the caller may not know.

use schemars::JsonSchema;
use serde::Serialize;

use super::media::JSON;
use crate::coordinator::helpers::read_thread::NoReader;
use crate::coordinator::store::StoreError;
use crate::dialect::openai::error::ErrorBody;
use crate::link::ApiAnswer;
use crate::policy::{FieldError, Position};

/// The `type` of most refusals.
pub(crate) const INVALID_REQUEST: &str = "invalid_request_error";
const UNAVAILABLE: &str = "service_unavailable_error";

/// A refusal. Boxed, so that a `Result` is small when all is well.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Content>);

#[derive(Debug)]
struct Content {
    status: u16,
    /// `type` on the wire.
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<String>,
    details: Vec<ErrorDetail>,
    headers: Vec<(&'static str, String)>,
}

/// One of several mistakes in a body.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ErrorDetail {
    /// The field.
    pub(crate) param: String,
    pub(crate) message: String,
    /// Position in the field's text, if the field is an expression.
    pub(crate) position: Option<Position>,
}

impl ErrorDetail {
    /// A mistake in a field as a whole.
    pub(crate) fn new(param: impl Into<String>, message: impl Into<String>) -> ErrorDetail {
        ErrorDetail { param: param.into(), message: message.into(), position: None }
    }
}

impl From<FieldError> for ErrorDetail {
    fn from(error: FieldError) -> ErrorDetail {
        ErrorDetail { param: error.param.to_owned(), message: error.message, position: error.position }
    }
}

impl ApiError {
    pub(crate) fn new(status: u16, kind: &'static str, code: &'static str, message: impl Into<String>) -> ApiError {
        let (param, details, headers) = Default::default();
        ApiError(Box::new(Content { status, kind, code, message: message.into(), param, details, headers }))
    }

    fn about(mut self, param: &str) -> ApiError {
        self.0.param = Some(param.to_owned());
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> ApiError {
        self.0.headers.push((name, value.into()));
        self
    }

    /// 400 about the request as a whole.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(400, INVALID_REQUEST, code, message)
    }

    /// 400 about one parameter.
    pub(crate) fn parameter(code: &'static str, param: &str, message: &str) -> ApiError {
        ApiError::bad(code, format!("`{param}`: {message}")).about(param)
    }

    /// 400 about each of these fields. The message describes the first one.
    pub(crate) fn fields(details: Vec<ErrorDetail>) -> ApiError {
        let Some(first) = details.first() else { return ApiError::bad("invalid_value", "The body is not valid.") };
        let at = first.position.map(|at| format!(" (line {}, column {})", at.line, at.column)).unwrap_or_default();
        let more = match details.len() {
            1 => String::new(),
            all => format!(" And {} more; see `details`.", all - 1),
        };
        let message = format!("`{}`: {}{at}.{more}", first.param, first.message);
        let mut error = ApiError::bad("invalid_value", message).about(&first.param);
        error.0.details = details;
        error
    }

    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(404, INVALID_REQUEST, "not_found", message)
    }

    pub(crate) fn wrong_method(allowed: &str) -> ApiError {
        let message = format!("This method is not allowed on this path, only {allowed}.");
        ApiError::new(405, INVALID_REQUEST, "method_not_allowed", message).header("Allow", allowed)
    }

    /// 503 with `storage.backend: none`.
    pub(crate) fn storage_off() -> ApiError {
        let message = "This needs storage, and it is switched off: set storage.backend to sqlite.";
        ApiError::new(503, UNAVAILABLE, "storage_off", message)
    }

    /// 503 for a failure that is not the caller's fault.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(503, UNAVAILABLE, code, message)
    }

    /// 503 if the system has no random bytes for an id.
    pub(crate) fn no_random_bytes(error: getrandom::Error) -> ApiError {
        ApiError::unavailable("overloaded", format!("The system gives no random bytes: {error}."))
    }

    /// 503 while another process takes over.
    pub(crate) fn replaced() -> ApiError {
        let message = "Another luner process is taking over from this one; try again in a moment.";
        ApiError::unavailable("handing_over", message).header("Retry-After", "1")
    }
}

impl From<NoReader> for ApiError {
    fn from(none: NoReader) -> ApiError {
        match none {
            NoReader::Off => ApiError::storage_off(),
            NoReader::Busy => {
                let message = "Too many calls wait for the storage already; try again in a moment.";
                ApiError::unavailable("overloaded", message).header("Retry-After", "1")
            }
            NoReader::Store(error) => {
                tracing::warn!(%error, "the storage cannot be read");
                (*error).into()
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match &error {
            StoreError::NameTaken { .. } => {
                ApiError::new(409, INVALID_REQUEST, "name_taken", sentence(&error)).about("name")
            }
            StoreError::NotFound { .. } => ApiError::not_found(sentence(&error)),
            StoreError::TooLong { .. } => ApiError::unavailable("too_slow", sentence(&error)),
            StoreError::IdTaken { .. } => ApiError::unavailable("overloaded", sentence(&error)),
            // The path and SQLite's own words belong in the log only.
            _ => ApiError::unavailable("storage_degraded", storage_message(&error)),
        }
    }
}

fn storage_message(error: &StoreError) -> String {
    let fault = error.fault().map(|fault| format!(": {fault}")).unwrap_or_default();
    format!("Nothing was changed, because the storage does not work{fault}. luner's log says more.")
}

/// An error's text as a sentence.
fn sentence(error: &StoreError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default()
}

impl From<ApiError> for ApiAnswer {
    fn from(error: ApiError) -> ApiAnswer {
        let Content { status, kind, code, message, param, details, headers } = *error.0;
        let mut body = Vec::new();
        ErrorBody { message: &message, kind, param: param.as_deref(), code: Some(code) }.write(&mut body);
        if !details.is_empty() {
            // `details` stands beside `error`, whose members are those of OpenAI.
            body.pop();
            body.extend_from_slice(b",\"details\":");
            body.extend(serde_json::to_vec(&details).expect("texts and numbers serialise"));
            body.push(b'}');
        }
        ApiAnswer { status, content_type: JSON, headers, body, stream: None }
    }
}

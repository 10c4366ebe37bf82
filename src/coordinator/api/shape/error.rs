//! How the REST API says no: OpenAI's shape, and beside it every detail at once where there are several. Values, made and
//! sent on the coordinator. Never holds a secret or what a caller may not know.

use schemars::JsonSchema;
use serde::Serialize;

use super::media::JSON;
use crate::coordinator::access::Denied;
use crate::coordinator::helpers::read_thread::NoReader;
use crate::coordinator::store::StoreError;
use crate::dialect::openai::error::ErrorBody;
use crate::link::ApiAnswer;
use crate::policy::{FieldError, Position};

/// A refusal on its way out. Boxed: a result that is good should not pay for it.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Refused>);

#[derive(Debug)]
struct Refused {
    status: u16,
    /// `type` on the wire.
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<String>,
    details: Vec<Detail>,
    headers: Vec<(&'static str, String)>,
}

/// One of several things wrong with a body.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Detail {
    /// The field.
    pub param: String,
    pub message: String,
    /// Where in the field's text, if it is an expression.
    pub position: Option<Position>,
}

impl From<FieldError> for Detail {
    fn from(error: FieldError) -> Detail {
        Detail { param: error.param.to_owned(), message: error.message, position: error.position }
    }
}

impl ApiError {
    fn new(status: u16, kind: &'static str, code: &'static str, message: impl Into<String>) -> ApiError {
        let (param, details, headers) = Default::default();
        ApiError(Box::new(Refused { status, kind, code, message: message.into(), param, details, headers }))
    }

    fn about(mut self, param: &str) -> ApiError {
        self.0.param = Some(param.to_owned());
        self
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> ApiError {
        self.0.headers.push((name, value.into()));
        self
    }

    /// 400 about the request as a whole.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(400, INVALID, code, message)
    }

    /// 400 about one parameter.
    pub(crate) fn parameter(code: &'static str, param: &str, message: &str) -> ApiError {
        ApiError::bad(code, format!("`{param}`: {message}")).about(param)
    }

    /// 400 about each of these fields; the first stands for all where one thing can be said.
    pub(crate) fn fields(details: Vec<Detail>) -> ApiError {
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
        ApiError::new(404, INVALID, "not_found", message)
    }

    pub(crate) fn wrong_method(allowed: &str) -> ApiError {
        let message = format!("This method is not allowed on this path, only {allowed}.");
        ApiError::new(405, INVALID, "method_not_allowed", message).header("Allow", allowed)
    }

    /// 503 where `storage.backend` is none.
    pub(crate) fn storage_off() -> ApiError {
        let message = "This needs storage, and it is switched off: set storage.backend to sqlite.";
        ApiError::new(503, UNAVAILABLE, "storage_off", message)
    }

    /// 503 where the policies could not be compiled for want of something, or what else failed at no caller's fault.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(503, UNAVAILABLE, code, message)
    }

    /// 503 for the moment in which another process takes over.
    pub(crate) fn replaced() -> ApiError {
        let message = "Another luner process takes over from this one right now: ask again.";
        ApiError::unavailable("handing_over", message).header("Retry-After", "1")
    }
}

impl From<NoReader> for ApiError {
    fn from(none: NoReader) -> ApiError {
        match none {
            NoReader::Off => ApiError::storage_off(),
            NoReader::Busy => {
                let message = "Too many questions to the storage wait already; try again in a moment.";
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
            StoreError::NameTaken { .. } => ApiError::new(409, INVALID, "name_taken", sentence(&error)).about("name"),
            StoreError::NotFound { .. } => ApiError::not_found(sentence(&error)),
            StoreError::TooLong { .. } => ApiError::unavailable("too_slow", sentence(&error)),
            StoreError::IdTaken { .. } => ApiError::unavailable("overloaded", sentence(&error)),
            // The path and SQLite's own words are for the log.
            _ => ApiError::unavailable("storage_degraded", storage_message(&error)),
        }
    }
}

fn storage_message(error: &StoreError) -> String {
    let fault = error.fault().map(|fault| format!(": {fault}")).unwrap_or_default();
    format!("Nothing was changed, for the storage does not work{fault}. luner's log says more.")
}

/// An error of the store's as a sentence of its own.
fn sentence(error: &StoreError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default()
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> ApiError {
        const SET_A_TOKEN: &str = "No admin token is set, so only callers on luner's own machine may manage it, under a loopback \
            name and not through a proxy. Set server.admin.token (${LUNER_ADMIN_TOKEN}) and send it as `Authorization: Bearer …`, or list the name \
            of the host in server.admin.hosts.";
        let unauthorized =
            |message| ApiError::new(401, INVALID, "invalid_api_key", message).header("WWW-Authenticate", "Bearer");
        let forbidden = |code, message| ApiError::new(403, "permission_error", code, message);
        match denied {
            Denied::TokenMissing => unauthorized("This needs the admin token, as `Authorization: Bearer …`."),
            Denied::TokenWrong => unauthorized("This is not the admin token."),
            Denied::NotLocal => unauthorized(SET_A_TOKEN),
            Denied::Throttled { retry_after_s } => {
                let message = "Too many wrong tokens came from your address; wait, then try again.";
                ApiError::new(429, "requests", "rate_limit_exceeded", message)
                    .header("Retry-After", retry_after_s.to_string())
            }
            Denied::ForeignHost => forbidden(
                "forbidden_host",
                "luner is not managed under this `Host`; use its address, or list the name in server.admin.hosts.",
            ),
            Denied::ForeignOrigin => forbidden(
                "forbidden_origin",
                "The `Origin` is another one than the `Host`, or missing beside a session's cookie: a foreign page may not write.",
            ),
            Denied::NotJson => {
                let message = "The body must be JSON; send the header `Content-Type: application/json`.";
                ApiError::new(415, INVALID, "unsupported_media_type", message)
            }
        }
    }
}

impl From<ApiError> for ApiAnswer {
    fn from(error: ApiError) -> ApiAnswer {
        let Refused { status, kind, code, message, param, details, headers } = *error.0;
        let mut body = Vec::new();
        ErrorBody { message: &message, kind, param: param.as_deref(), code: Some(code) }.write(&mut body);
        if !details.is_empty() {
            // Beside `error`, whose four members are OpenAI's.
            body.pop();
            body.extend_from_slice(b",\"details\":");
            body.extend(serde_json::to_vec(&details).expect("texts and numbers serialise"));
            body.push(b'}');
        }
        ApiAnswer { status, content_type: JSON, headers, body, stream: None }
    }
}

const INVALID: &str = "invalid_request_error";
const UNAVAILABLE: &str = "service_unavailable_error";

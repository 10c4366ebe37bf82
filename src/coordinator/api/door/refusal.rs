//! Refusals of the access rules as answers of the REST API. A table; it never tells whether a token was nearly right.

use crate::coordinator::access::AccessDenied;
use crate::coordinator::api::shape::error::{ApiError, INVALID_REQUEST};

const SET_A_TOKEN: &str = "No admin token is set, so only callers on luner's own machine may manage it, under a loopback \
    name and not through a proxy. Set server.admin.token (${LUNER_ADMIN_TOKEN}) and send it as `Authorization: Bearer …`, or \
    list the name of the host in server.admin.hosts.";

impl From<AccessDenied> for ApiError {
    fn from(denied: AccessDenied) -> ApiError {
        match denied {
            AccessDenied::TokenMissing => unauthorized("This needs the admin token, as `Authorization: Bearer …`."),
            AccessDenied::TokenWrong => unauthorized("This is not the admin token."),
            AccessDenied::NotLocal => unauthorized(SET_A_TOKEN),
            AccessDenied::Throttled { retry_after_s } => {
                let message = "Too many wrong tokens came from your address; wait, then try again.";
                ApiError::new(429, "requests", "rate_limit_exceeded", message)
                    .header("Retry-After", retry_after_s.to_string())
            }
            AccessDenied::ForeignHost => forbidden(
                "forbidden_host",
                "luner is not managed under this `Host`; use its address, or list the name in server.admin.hosts.",
            ),
            AccessDenied::ForeignOrigin => forbidden(
                "forbidden_origin",
                "The `Origin` differs from the `Host`, or is missing beside a session's cookie: a foreign page may not write.",
            ),
            AccessDenied::NotJson => {
                let message = "The body must be JSON; send the header `Content-Type: application/json`.";
                ApiError::new(415, INVALID_REQUEST, "unsupported_media_type", message)
            }
        }
    }
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(401, INVALID_REQUEST, "invalid_api_key", message).header("WWW-Authenticate", "Bearer")
}

fn forbidden(code: &'static str, message: &str) -> ApiError {
    ApiError::new(403, "permission_error", code, message)
}

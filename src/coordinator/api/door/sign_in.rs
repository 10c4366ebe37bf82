//! `/api/session`: how the console signs in, finds out whether it has to, and signs out. Open to everyone, as a door is: the
//! rules of [`super::access`] hold for the token in a body as for one in a header. It never gives the token back.

use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::coordinator::Coordinator;
use crate::coordinator::access::{self, Asked};
use crate::coordinator::api::shape::answer::{json, nothing};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::ApiError;
use crate::http::head::Method;
use crate::link::{ApiAnswer, ApiCall};

/// How one stands who has a page open.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignInState {
    /// Whether a token is asked for.
    needed: bool,
    /// Whether this caller may read what is not open to everyone.
    signed_in: bool,
}

/// What is needed to sign in.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "its schema alone is used: the token must not be copied on its way")]
pub(crate) struct SignIn {
    /// The admin token.
    token: String,
}

/// `GET /api/session`.
pub(crate) fn state(coordinator: &mut Coordinator, call: &ApiCall) -> ApiAnswer {
    let now = coordinator.clock.now();
    let admin = &coordinator.running.config().server.admin;
    let asked = Asked { method: Method::Get, ..Asked::from(call) };
    let signed_in = access::decide(admin, &asked, &mut coordinator.doors, now).is_ok();
    json(200, &SignInState { needed: !admin.token.is_empty() && !admin.open, signed_in })
}

/// `POST /api/session`.
pub(crate) fn sign_in(coordinator: &mut Coordinator, call: &ApiCall) -> Result<ApiAnswer, ApiError> {
    let now = coordinator.clock.now();
    let admin = &coordinator.running.config().server.admin;
    let asked = Asked::from(call);
    // Before the body is looked at: a foreign page learns nothing about what it sends.
    access::written_here(&asked).map_err(ApiError::from)?;
    let token = token(&call.request.body)?;
    if admin.token.is_empty() {
        let message = "No admin token is set, so there is nothing to sign in with: set server.admin.token.";
        return Err(ApiError::bad("no_admin_token", message));
    }
    access::sign_in(admin, &asked, &token, &mut coordinator.doors, now).map_err(ApiError::from)?;
    let base = coordinator.running.config().server.base_path.as_str();
    let cookie = coordinator.doors.sessions.open(base, came_over_tls(call), now);
    let cookie = cookie
        .map_err(|error| ApiError::unavailable("overloaded", format!("The system gives no random bytes: {error}.")))?;
    Ok(nothing(vec![("Set-Cookie", cookie)]))
}

/// `DELETE /api/session`.
pub(crate) fn sign_out(coordinator: &mut Coordinator, call: &ApiCall) -> Result<ApiAnswer, ApiError> {
    access::written_here(&Asked::from(call)).map_err(ApiError::from)?;
    body::no_body(&call.request.body)?;
    let base = coordinator.running.config().server.base_path.as_str();
    let cookie = coordinator.doors.sessions.close(&call.request.headers.cookie, base, came_over_tls(call));
    Ok(nothing(vec![("Set-Cookie", cookie)]))
}

/// Where the page came over TLS, which something before luner speaks, the cookie is for TLS alone. Browsers say in `Origin`
/// with each write how they came; whoever lies there spoils a cookie of its own.
fn came_over_tls(call: &ApiCall) -> bool {
    call.request.headers.origin.starts_with("https://")
}

fn token(body: &[u8]) -> Result<Zeroizing<String>, ApiError> {
    let mut fields = body::object(body)?;
    let token = match fields.remove("token") {
        Some(serde_json::Value::String(token)) => Zeroizing::new(token),
        Some(_) => return Err(ApiError::parameter("invalid_type", "token", "must be a string")),
        None => return Err(ApiError::parameter("missing", "token", "is missing")),
    };
    match fields.keys().next() {
        Some(name) => Err(ApiError::parameter("unknown_parameter", name, "there is no such field here")),
        None => Ok(token),
    }
}

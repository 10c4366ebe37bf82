//! `/api/session`: how the console finds out whether it has to sign in, signs in, and signs out. Open to everyone; the access
//! rules treat a token in a body like one in a header. It never sends the token back.

use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::coordinator::access::{self, AccessRequest};
use crate::coordinator::api::shape::answer::{Reply, json, no_content};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::http::head::Method;
use crate::link::ApiCall;

/// Whether a caller has to sign in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignInState {
    /// Whether luner asks for a token.
    needed: bool,
    /// Whether this caller may use guarded operations.
    signed_in: bool,
}

/// The credentials of a sign-in.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used: the token must not be copied on its way")]
pub(crate) struct SignIn {
    /// The admin token.
    token: String,
}

/// `GET /api/session`.
pub(crate) fn state(state: &mut State, Arguments { call, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    let now = state.clock.now();
    let admin = &state.running.config().server.admin;
    let request = AccessRequest { method: Method::Get, ..AccessRequest::from(call) };
    let signed_in = access::decide(admin, &request, &mut state.access, now).is_ok();
    Ok(json(200, &SignInState { needed: !admin.token.is_empty() && !admin.open, signed_in }).into())
}

/// `POST /api/session`.
pub(crate) fn sign_in(state: &mut State, Arguments { call, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    let now = state.clock.now();
    let admin = &state.running.config().server.admin;
    let request = AccessRequest::from(call);
    // Before the body is read, so that a foreign page learns nothing about what it sends.
    access::check_write(&request)?;
    let token = token(&call.request.body)?;
    if admin.token.is_empty() {
        let message = "No admin token is set, so there is nothing to sign in with: set server.admin.token.";
        return Err(ApiError::bad("no_admin_token", message));
    }
    access::sign_in(admin, &request, &token, &mut state.access, now)?;
    let base = state.running.config().server.base_path.as_str();
    let cookie = state.access.sessions.open(base, came_over_tls(call), now).map_err(ApiError::no_random_bytes)?;
    Ok(no_content(vec![("Set-Cookie", cookie)]).into())
}

/// `DELETE /api/session`.
pub(crate) fn sign_out(state: &mut State, Arguments { call, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    access::check_write(&AccessRequest::from(call))?;
    body::expect_empty(&call.request.body)?;
    let base = state.running.config().server.base_path.as_str();
    let cookie = state.access.sessions.close(&call.request.headers.cookie, base, came_over_tls(call));
    Ok(no_content(vec![("Set-Cookie", cookie)]).into())
}

/// Whether the page came over TLS, which a proxy speaks for luner; its cookie is then for TLS only. Browsers name the page's
/// scheme in the `Origin` of each write. A caller that lies there spoils only a cookie of its own.
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

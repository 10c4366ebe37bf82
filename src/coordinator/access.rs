//! Decides who may call the REST API: the token, the loopback rule, `Host` against DNS rebinding, `Origin` and the media type against
//! forms on foreign pages. Pure: it takes the request, the time, and the one [`AccessState`] that the coordinator owns. It
//! never tells whether a token was nearly right, and never decides what a path means.
//!
//! *Invariant:* every answer of a guarded operation has an [`Actor`], and only [`decide`] makes one.

// The names in `Host` and `Origin`.
mod host;

// Callers that have signed in.
mod session;

// Callers that sent too many wrong tokens.
mod throttle;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use subtle::ConstantTimeEq;

use crate::clock::Now;
use crate::config::AdminConfig;
use crate::http::head::Method;
use crate::link::{ApiCall, ApiHeaders};
use crate::units::Secret;
use host::{Host, authority_of};
pub(crate) use session::Sessions;
pub(crate) use throttle::Throttle;

/// Sessions and wrong tokens of callers.
#[derive(Debug, Default)]
pub(crate) struct AccessState {
    pub(crate) throttle: Throttle,
    pub(crate) sessions: Sessions,
}

/// The parts of a request that the rules look at.
pub(crate) struct AccessRequest<'a> {
    pub(crate) method: Method,
    pub(crate) headers: &'a ApiHeaders,
    pub(crate) has_body: bool,
    pub(crate) peer: IpAddr,
}

impl<'a> From<&'a ApiCall> for AccessRequest<'a> {
    fn from(call: &'a ApiCall) -> AccessRequest<'a> {
        let request = &call.request;
        let (headers, has_body) = (&request.headers, !request.body.is_empty());
        AccessRequest { method: request.method, headers, has_body, peer: call.peer.ip() }
    }
}

/// The caller, as the audit shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A caller that sent the token.
    Token,
    /// A caller that signed in with the token and holds a cookie for it.
    Session,
    /// A caller that needs no token, by its address.
    Peer(IpAddr),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Token => f.write_str("token"),
            Actor::Session => f.write_str("session"),
            Actor::Peer(peer) => peer.fmt(f),
        }
    }
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessDenied {
    /// A token is set, and the request has none.
    TokenMissing,
    /// The request has another token.
    TokenWrong,
    /// Too many wrong tokens came from this peer.
    Throttled { retry_after_s: u64 },
    /// No token is set, and the peer's address or the `Host` is not this machine's.
    NotLocal,
    /// The caller needs no token, but the `Host` is a name that a foreign page may have.
    ForeignHost,
    /// A page from elsewhere tries to change something.
    ForeignOrigin,
    /// The `Content-Type` of a write is not JSON.
    NotJson,
}

/// Applies the rules of docs/rest-api.md. Not called for operations that are open to everyone.
///
/// A peer that sent too many wrong tokens is refused even with the right one until its minute is over: if a right guess
/// succeeded while throttled, the throttle would be worthless. A missing token is not a guess.
pub(crate) fn decide(
    admin: &AdminConfig,
    request: &AccessRequest<'_>,
    state: &mut AccessState,
    now: Now,
) -> Result<Actor, AccessDenied> {
    let actor = identify(admin, request, state, now)?;
    if matches!(request.method, Method::Get | Method::Head) {
        return Ok(actor);
    }
    // A browser sends `Origin` with each write, so a cookie without it does not count.
    if actor == Actor::Session && request.headers.origin.is_empty() {
        return Err(AccessDenied::ForeignOrigin);
    }
    check_write(request).map(|()| actor)
}

/// Checks a token that came in a body, as the console's form sends it, before a session is opened for it.
pub(crate) fn sign_in(
    admin: &AdminConfig,
    request: &AccessRequest<'_>,
    token: &str,
    state: &mut AccessState,
    now: Now,
) -> Result<(), AccessDenied> {
    check_write(request)?;
    if !uses_own_name(admin, request.headers) {
        return Err(AccessDenied::ForeignHost);
    }
    compare(admin, token, request.peer.to_canonical(), &mut state.throttle, now)
}

/// Refuses a write that may come from a foreign page.
pub(crate) fn check_write(request: &AccessRequest<'_>) -> Result<(), AccessDenied> {
    let ApiHeaders { host, origin, content_type, .. } = request.headers;
    if !origin.is_empty() && !authority_of(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        return Err(AccessDenied::ForeignOrigin);
    }
    let may_lack = !request.has_body && matches!(request.method, Method::Post | Method::Delete);
    if is_json(content_type) || content_type.is_empty() && may_lack { Ok(()) } else { Err(AccessDenied::NotJson) }
}

/// Whether the caller used a `Host` that a foreign page cannot have: an address, a loopback name, or a listed name.
fn uses_own_name(admin: &AdminConfig, headers: &ApiHeaders) -> bool {
    let host = Host::parse(&headers.host);
    host.is_some_and(|host| host.is_address() || host.is_loopback() || host.is_one_of(&admin.hosts))
}

fn identify(
    admin: &AdminConfig,
    request: &AccessRequest<'_>,
    state: &mut AccessState,
    now: Now,
) -> Result<Actor, AccessDenied> {
    let (headers, peer) = (request.headers, request.peer.to_canonical());
    let host = Host::parse(&headers.host);
    let is_own_name = host.as_ref().is_some_and(|host| host.is_loopback() || host.is_one_of(&admin.hosts));
    let by_token = check_token(admin, headers, peer, &mut state.throttle, now);
    match by_token {
        Ok(()) => Ok(Actor::Token),
        Err(AccessDenied::TokenMissing) if state.sessions.touch(&headers.cookie, now) => {
            if uses_own_name(admin, headers) { Ok(Actor::Session) } else { Err(AccessDenied::ForeignHost) }
        }
        // A token that is not needed may be missing or wrong. The throttle still limits how often one is compared.
        Err(_) if admin.open => match uses_own_name(admin, headers) {
            true => Ok(Actor::Peer(peer)),
            false => Err(AccessDenied::ForeignHost),
        },
        // A caller that comes through a proxy on this machine may be anywhere.
        Err(AccessDenied::NotLocal) if peer.is_loopback() && is_own_name && !headers.forwarded => Ok(Actor::Peer(peer)),
        Err(denied) => Err(denied),
    }
}

/// Checks the token in the headers. [`AccessDenied::NotLocal`] if no token is set.
fn check_token(
    admin: &AdminConfig,
    headers: &ApiHeaders,
    peer: IpAddr,
    throttle: &mut Throttle,
    now: Now,
) -> Result<(), AccessDenied> {
    if admin.token.is_empty() {
        return Err(AccessDenied::NotLocal);
    }
    let Some(presented) = bearer(&headers.authorization) else {
        return Err(AccessDenied::TokenMissing);
    };
    compare(admin, presented, peer, throttle, now)
}

/// Checks a token, and counts a wrong one.
fn compare(
    admin: &AdminConfig,
    presented: &str,
    peer: IpAddr,
    throttle: &mut Throttle,
    now: Now,
) -> Result<(), AccessDenied> {
    if let Some(retry_after_s) = throttle.blocks(peer, now) {
        return Err(AccessDenied::Throttled { retry_after_s });
    }
    // Takes the same time for all tokens of one length. Timing may reveal the length, which a random token can afford.
    if bool::from(presented.as_bytes().ct_eq(admin.token.expose().as_bytes())) {
        return Ok(());
    }
    throttle.failed(peer, now);
    Err(AccessDenied::TokenWrong)
}

/// The token in `Authorization` (RFC 6750, section 2.1). The scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(authorization: &Secret) -> Option<&str> {
    let (scheme, token) = authorization.expose().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')).filter(|token| !token.is_empty())
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case("application/json")
}

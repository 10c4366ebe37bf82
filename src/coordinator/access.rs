//! Who may call what: the token, the loopback rule, `Host` against DNS rebinding, `Origin` and the media type against forms
//! of foreign pages. Pure: it takes what was asked, by whom and when; the coordinator owns the one [`Throttle`]. It never
//! tells whether a token was nearly right, and never decides what a path means.
//!
//! *Invariant:* every answer but those of open paths has an [`Actor`], and only [`decide`] makes one.

mod host; // names in `Host` and `Origin`
mod session; // who has signed in
mod throttle; // who presented too many wrong tokens

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

/// What the coordinator remembers of callers.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub throttle: Throttle,
    pub sessions: Sessions,
}

/// What the rules look at.
pub(super) struct Asked<'a> {
    pub method: Method,
    pub headers: &'a ApiHeaders,
    pub has_body: bool,
    pub peer: IpAddr,
}

impl<'a> From<&'a ApiCall> for Asked<'a> {
    fn from(call: &'a ApiCall) -> Asked<'a> {
        let request = &call.request;
        let (headers, has_body) = (&request.headers, !request.body.is_empty());
        Asked { method: request.method, headers, has_body, peer: call.peer.ip() }
    }
}

/// Who calls, as the audit shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Whoever knows the token.
    Token,
    /// Whoever has presented it before and holds a cookie for it.
    Session,
    /// Whoever calls from this address.
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
pub(super) enum Denied {
    /// A token is set, and none was presented.
    TokenMissing,
    /// Another one was.
    TokenWrong,
    /// Too many wrong ones came from there; the next try makes sense after so many seconds.
    Throttled { retry_after_s: u64 },
    /// No token is set, and the peer or the name it used is not this machine's.
    NotLocal,
    /// Management is open, but under this name it may be a foreign page that calls.
    ForeignHost,
    /// A page from elsewhere tries to change something.
    ForeignOrigin,
    /// A write whose body is not announced as JSON.
    NotJson,
}

/// Applies the rules of docs/rest-api.md. The paths that are open to everyone do not come here.
///
/// A peer that presented too many wrong tokens is refused with the right one as well, until its minute is over: a guess
/// that were answered with success while throttled would make the throttle worthless. What was not presented is no guess.
pub(super) fn decide(admin: &AdminConfig, asked: &Asked<'_>, doors: &mut Doors, now: Now) -> Result<Actor, Denied> {
    let actor = caller(admin, asked, doors, now)?;
    if matches!(asked.method, Method::Get | Method::Head) {
        return Ok(actor);
    }
    // A browser says with each write where its page is from; a cookie without that word is none that we believe.
    if actor == Actor::Session && asked.headers.origin.is_empty() {
        return Err(Denied::ForeignOrigin);
    }
    written_here(asked).map(|()| actor)
}

/// Whether someone who presents the token in a body, as a form of our own page does, may have a session for it.
pub(super) fn sign_in(
    admin: &AdminConfig,
    asked: &Asked<'_>,
    token: &str,
    doors: &mut Doors,
    now: Now,
) -> Result<(), Denied> {
    written_here(asked)?;
    if !is_no_foreign_name(admin, asked.headers) {
        return Err(Denied::ForeignHost);
    }
    compare(admin, token, asked.peer.to_canonical(), &mut doors.throttle, now)
}

/// Whether this is no write of a foreign page.
pub(super) fn written_here(asked: &Asked<'_>) -> Result<(), Denied> {
    let ApiHeaders { host, origin, content_type, .. } = asked.headers;
    if !origin.is_empty() && !authority_of(origin).is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
        return Err(Denied::ForeignOrigin);
    }
    let may_lack = !asked.has_body && matches!(asked.method, Method::Post | Method::Delete);
    if is_json(content_type) || content_type.is_empty() && may_lack { Ok(()) } else { Err(Denied::NotJson) }
}

/// Whether the caller used a name that no foreign page has: an address, a loopback name, one that the operator listed.
fn is_no_foreign_name(admin: &AdminConfig, headers: &ApiHeaders) -> bool {
    let host = Host::parse(&headers.host);
    host.is_some_and(|host| host.is_address() || host.is_loopback() || host.is_one_of(&admin.hosts))
}

fn caller(admin: &AdminConfig, asked: &Asked<'_>, doors: &mut Doors, now: Now) -> Result<Actor, Denied> {
    let (headers, peer) = (asked.headers, asked.peer.to_canonical());
    let host = Host::parse(&headers.host);
    let named = host.as_ref().is_some_and(|host| host.is_loopback() || host.is_one_of(&admin.hosts));
    let by_token = present(admin, headers, peer, &mut doors.throttle, now);
    match by_token {
        Ok(()) => Ok(Actor::Token),
        Err(Denied::TokenMissing) if doors.sessions.knows(&headers.cookie, now) => {
            if is_no_foreign_name(admin, headers) { Ok(Actor::Session) } else { Err(Denied::ForeignHost) }
        }
        // A token that is not needed may be missing or wrong; it is not compared more often for that.
        Err(_) if admin.open => match is_no_foreign_name(admin, headers) {
            true => Ok(Actor::Peer(peer)),
            false => Err(Denied::ForeignHost),
        },
        // Whoever asks through a proxy on this machine may be anywhere.
        Err(Denied::NotLocal) if peer.is_loopback() && named && !headers.forwarded => Ok(Actor::Peer(peer)),
        Err(denied) => Err(denied),
    }
}

/// Whether the right token was presented; [`Denied::NotLocal`] where none is set.
fn present(
    admin: &AdminConfig,
    headers: &ApiHeaders,
    peer: IpAddr,
    throttle: &mut Throttle,
    now: Now,
) -> Result<(), Denied> {
    if admin.token.is_empty() {
        return Err(Denied::NotLocal);
    }
    let Some(presented) = bearer(&headers.authorization) else {
        return Err(Denied::TokenMissing);
    };
    compare(admin, presented, peer, throttle, now)
}

/// Whether this is the token.
fn compare(
    admin: &AdminConfig,
    presented: &str,
    peer: IpAddr,
    throttle: &mut Throttle,
    now: Now,
) -> Result<(), Denied> {
    if let Some(retry_after_s) = throttle.blocks(peer, now) {
        return Err(Denied::Throttled { retry_after_s });
    }
    // Equal in time for all tokens of one length. The length itself may be found out: a random token can afford that.
    if bool::from(presented.as_bytes().ct_eq(admin.token.expose().as_bytes())) {
        return Ok(());
    }
    throttle.failed(peer, now);
    Err(Denied::TokenWrong)
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(authorization: &Secret) -> Option<&str> {
    let (scheme, token) = authorization.expose().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')).filter(|token| !token.is_empty())
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case("application/json")
}

//! A REST request on its way from a shard to the coordinator, and its answer. Only the task of that connection waits for the
//! answer; no proxied request does.

use std::net::SocketAddr;

use crate::http::head::Method;
use crate::units::Secret;

/// A request on its way to the coordinator.
#[derive(Debug)]
pub struct ApiCall {
    pub request: ApiRequest,
    /// The caller's address.
    pub peer: SocketAddr,
    /// Receives the answer. Bounded to one.
    pub reply: flume::Sender<ApiAnswer>,
}

/// A request to `/api/*` or `/metrics`.
#[derive(Debug)]
pub struct ApiRequest {
    pub method: Method,
    /// The path as received, without the query.
    pub path: String,
    /// The part after the question mark.
    pub query: Option<String>,
    /// The headers that access rules and handlers need.
    pub headers: ApiHeaders,
    /// The whole body; at most [`API_BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// Longest body of a REST request; the shard refuses longer ones. Arbitrary: ten times a policy with every field.
pub const API_BODY_BYTES_MAX: usize = 64 * 1024;

/// Headers of a REST request; empty if absent. Repeated headers are joined by `, `, so that the result never equals a valid
/// single value.
#[derive(Debug, Default)]
pub struct ApiHeaders {
    /// `Host`, as received.
    pub host: String,
    /// `Origin`.
    pub origin: String,
    /// `Authorization`, whole.
    pub authorization: Secret,
    /// `Content-Type`.
    pub content_type: String,
    /// `Cookie`, whole.
    pub cookie: Secret,
    /// Whether a proxy forwards the request for another caller (`Forwarded`, `X-Forwarded-For`, …).
    pub forwarded: bool,
    /// `Last-Event-ID` of a caller that resumes a stream.
    pub last_event_id: String,
}

/// The coordinator's answer to an [`ApiCall`].
#[derive(Debug)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// Further headers. luner chooses the names; values contain no line ends.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body; empty with 204. With a stream, its beginning.
    pub body: Vec<u8>,
    /// Further pieces of the body, forwarded until the sender is dropped. Bounded. A caller that reads nothing for too long is
    /// disconnected, and the sender then finds the channel closed.
    pub stream: Option<flume::Receiver<Vec<u8>>>,
}

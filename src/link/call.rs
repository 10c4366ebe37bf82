//! A REST request on its way from a shard to the coordinator, and the answer back. The shard's task for that connection
//! awaits the answer; no proxy request does.

use std::net::SocketAddr;

use crate::http::head::Method;
use crate::units::Secret;

/// A request on its way to the coordinator.
#[derive(Debug)]
pub struct ApiCall {
    /// What is asked.
    pub request: ApiRequest,
    /// Who asks.
    pub peer: SocketAddr,
    /// Where the answer goes; bounded to one.
    pub reply: flume::Sender<ApiAnswer>,
}

/// A request to `/api/*` or `/metrics`.
#[derive(Debug)]
pub struct ApiRequest {
    /// GET, HEAD, POST, …
    pub method: Method,
    /// The path as it came, without the query.
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
    /// What the access rules and the body's reader need of the head.
    pub headers: ApiHeaders,
    /// The whole body; at most [`API_BODY_BYTES_MAX`].
    pub body: Vec<u8>,
}

/// A larger body of a REST request is refused by the shard. Arbitrary: a policy with everything in it is a tenth of it.
pub const API_BODY_BYTES_MAX: usize = 64 * 1024;

/// Headers of a REST request; empty where absent. One that came several times is joined by `, `, so that it equals nothing
/// that one alone could be.
#[derive(Debug, Default)]
pub struct ApiHeaders {
    /// `Host`, as it came.
    pub host: String,
    /// `Origin`.
    pub origin: String,
    /// `Authorization`, whole.
    pub authorization: Secret,
    /// `Content-Type`.
    pub content_type: String,
    /// `Cookie`, whole.
    pub cookie: Secret,
    /// Whether a proxy says that it passes the request on for someone else (`Forwarded`, `X-Forwarded-For`, …).
    pub forwarded: bool,
    /// `Last-Event-ID` of one who follows a stream again.
    pub last_event_id: String,
}

/// What the coordinator answers.
#[derive(Debug)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// Further headers: names of luner's own choice, values without line ends.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body; empty with 204. With a stream, what it begins with.
    pub body: Vec<u8>,
    /// Further pieces of the body, sent on as they come until the sender is dropped. Bounded; a caller who takes nothing for
    /// too long is cut off, and the sender then finds the channel closed.
    pub stream: Option<flume::Receiver<Vec<u8>>>,
}

//! A REST request on its way from a shard to the coordinator, and the answer back. The shard's task for that connection
//! awaits the answer; no proxy request does.

use std::net::SocketAddr;

/// A request to `/api/*` or `/metrics`.
#[derive(Debug)]
pub struct ApiCall {
    /// GET, HEAD, POST, …
    pub method: crate::http::head::Method,
    /// The path as it came, without the query.
    pub path: String,
    /// What stands behind the question mark.
    pub query: Option<String>,
    /// Who asks.
    pub peer: Option<SocketAddr>,
    /// Where the answer goes; bounded to one.
    pub reply: flume::Sender<ApiAnswer>,
}

/// What the coordinator answers.
#[derive(Debug)]
pub struct ApiAnswer {
    /// HTTP status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: Vec<u8>,
}

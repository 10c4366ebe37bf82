//! The media types of the REST API. Constants alone.

/// Almost every body.
pub(crate) const JSON: &str = "application/json";
/// Comma-separated values (RFC 4180), in UTF-8.
pub(crate) const CSV: &str = "text/csv; charset=utf-8";
/// Server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";
/// The text format of Prometheus, for the document. The answer itself also names its version.
pub(crate) const PROMETHEUS: &str = "text/plain";

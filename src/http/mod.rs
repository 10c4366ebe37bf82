//! Bytes ↔ HTTP/1 messages: strict parsers that take bytes and return values.
//! A shard owns every instance; nothing here is shared between threads.
//! Nothing in these files but `wire` touches a socket; none reads a clock or a file.

/// A message's body: length, chunks, until close.
pub mod body;
/// What the headers say about the message as a whole: framing, host, connection.
mod framing;
/// A request's or a response's head.
pub mod head;
/// Every way in which a head can be wrong.
mod head_error;
/// A message's headers, in order.
mod headers;
/// The header names that luner acts on.
pub mod known_header;
/// Where a head ends: the incremental scan before anything is parsed.
pub mod scan;
/// The events of a `text/event-stream`.
pub mod sse;

/// Sockets: the one module here that does I/O.
pub mod wire;

#[cfg(test)]
mod llhttp_tests;

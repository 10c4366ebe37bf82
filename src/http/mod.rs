//! HTTP/1: turns bytes into messages and messages into bytes, with strict parsers that take bytes and return values.
//! Every instance belongs to one shard; nothing here is shared between threads.
//! Only `wire` touches a socket, and no file here reads a clock or a file.

// Every reason to refuse a head.
mod head_error;

// Method, version, framing, expectation: what describes any message.
mod message;

// The header names that luner acts on.
pub mod known_header;

// A message's headers, in order.
mod headers;

// The headers that describe the message as a whole: framing, host, connection.
mod framing;

// Finds the end of a head before anything is parsed.
pub mod scan;

// The head of a request or a response.
pub mod head;

// A message's body: by length, in chunks, or until close.
pub mod body;

// The events of a `text/event-stream`.
pub mod sse;

// Sockets: the one module here that does I/O.
pub mod wire;

#[cfg(test)]
mod llhttp_tests;

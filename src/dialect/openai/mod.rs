//! The OpenAI API's shapes: pure functions from bytes to values and back.
//! Used on every shard. No I/O, no clock, no state beyond what one request or answer needs.

// Reads a request's body: model, stream, limits.
pub mod facts;

// Changes a request's body and leaves its other bytes alone.
pub mod splice;

// Reads an answer's usage.
pub mod usage;

// Reads the rest of what the gateway needs from an answer.
pub mod answer;

// Writes an error.
pub mod error;

// Reads one event of a stream, and writes the event that says the stream failed.
pub mod stream;

// Writes model lists.
pub mod models;

//! The OpenAI API's wire formats: pure functions from bytes to values and back.
//! Used on every shard. No I/O, no clock, and no state beyond one request or answer.

// The path of each operation.
pub mod path;

// Why a request's body is refused.
pub mod facts_error;

// Reads a request's body: its facts, and where they are written.
pub mod request;

// Changes a request's body and leaves its other bytes alone.
pub mod splice;

// The names of token counts in logs, REST fields and exports.
pub mod tokens;

// Reads the value of a `usage` member.
pub mod usage;

// Finds usage and model in an answer that passes through.
pub mod usage_scan;

// Reads the rest of what the gateway needs from an answer.
pub mod answer;

// Writes an error.
pub mod error;

// Reads one event of a stream, and writes the event that says the stream failed.
pub mod stream;

// Writes model lists.
pub mod models;

//! What the gateway itself says to a caller: heads, refusals, ids, files of the console. Pure functions that append bytes.

// The caller's trace, and the header that carries it on.
pub(crate) mod traceparent;

// Request ids and trace ids.
pub(crate) mod ids;

// Every reason to refuse a request, and its form on the wire.
pub(crate) mod refusal;

// Heads of answers, line by line.
pub(crate) mod head;

// Whole answers.
pub(crate) mod respond;

// The console's files.
pub(crate) mod console;

//! What the gateway itself says to a caller: heads, refusals, ids, files of the console. Pure functions that append bytes.

// The caller's trace, and the header that carries it on.
pub(crate) mod traceparent;

// Every reason to refuse a request, and its wire form.
pub(crate) mod refusal;

// Heads of answers, and whole answers.
pub(crate) mod respond;

// The console's files.
pub(crate) mod console;

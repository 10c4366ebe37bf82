//! Judging: from the bytes of a whole request to the decision what to do with it. Pure but for the shard's own state, and
//! synchronous: no await, no clock, no I/O.

// Reads who asks and what for.
pub(crate) mod identify;

// Finds the providers that serve the model.
pub(crate) mod route;

// Prompts and answers for the trace.
pub(crate) mod capture;

// A request until it is accounted for.
pub(crate) mod record;

// Applies the policies.
pub(crate) mod admit;

// Looks for a cached answer.
pub(crate) mod cache;

// Charges an attempt to its provider.
pub(crate) mod charge;

// The path of a request, on one screen.
pub(crate) mod flow;

#[cfg(test)]
mod simulation;

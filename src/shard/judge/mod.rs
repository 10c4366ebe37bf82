//! Judging: from the bytes of a whole request to the decision what to do with it. Pure but for the shard's own state, and
//! synchronous: no await, no clock, no I/O.

// What a path and a method ask for.
pub(crate) mod target;

// Who asks and what for: `Identified`.
pub(crate) mod identify;

// The providers that serve the model: `Routed`.
pub(crate) mod route;

// Prompts and answers for the trace.
pub(crate) mod capture;

// A request until it is accounted for.
pub(crate) mod record;

// The policies: `Admitted`.
pub(crate) mod admit;

// The cached answers of this shard.
pub(crate) mod cache;

// The request to the provider.
pub(crate) mod outgoing;

// Breaker and rate limit of one attempt: `Charged`.
pub(crate) mod charge;

// The path of a request on one screen.
pub(crate) mod flow;

//! What happened: traces, sums of them, exports.

// A trace in a list.
pub(super) mod trace_item;

// The tree and the timeline of a trace.
mod spans;

// `/api/traces`, its facets, one trace.
pub(super) mod list;

// `GET /api/traces/export`.
pub(super) mod export;

// `/api/dashboard/*`.
pub(super) mod dashboard;

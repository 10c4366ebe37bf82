//! Serves what was recorded: lists of traces, one trace, sums over time, exports, live streams. Reads the store, or what the coordinator
//! counts; it changes nothing.

// A trace in a list.
pub(crate) mod trace_item;

// The spans and the timeline of a trace.
mod tree;

// `GET /api/traces`.
pub(crate) mod list;

// `GET /api/traces/facets`.
pub(crate) mod facets;

// `GET /api/traces/{trace_id}`.
pub(crate) mod view;

// `GET /api/traces/stream`.
pub(crate) mod stream;

// `GET /api/traces/export`.
pub(crate) mod export;

// `/api/dashboard/*`.
pub(crate) mod dashboard;

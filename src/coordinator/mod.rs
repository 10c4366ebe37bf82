//! The control plane: one thread that merges what the shards count, owns the store, answers the REST API, reloads the
//! configuration, and starts and ends the process. It never holds a shard up: orders are tried, not waited for.
//!
//! In storeys: the parts know nothing of one another, [`state`] holds all of them, the modules above it act on `&mut State`,
//! and [`run`] receives events and dispatches them.

// Policies, their audit, traces and usage in SQLite.
pub mod store;

// Threads that do what blocks by nature: signals, name resolution, watching files, reading the store, exporting spans.
pub mod helpers;

// Reads prices from a file.
pub mod price_file;

// Judges one request by one expression, for the console and the command line.
pub mod try_expression;

// Judges stored requests by one expression.
pub mod replay;

// The protocol by which another process takes this one's place.
pub mod handover;

// Counts of all shards since the process started.
mod tally_totals;

// The plan in force and the plans that it replaced.
mod plans;

// Usage and traces that wait to be stored.
mod write_queue;

// Live streams of traces.
mod live_tail;

// Who may call the REST API.
mod access;

// The store's upkeep.
pub mod keeper;

// The policies, typed and compiled.
pub mod policies;

// The configuration in force.
pub mod running;

// The phase of the process.
pub mod life;

// All of the above, in one struct.
mod state;

// Turns changed files into a new plan.
mod reload;

// The process begins to serve, hands over, ends.
mod lifecycle;

// The counts as Prometheus text.
mod metrics;

// The REST API.
mod api;

// The loop.
mod run;

// A request for tests.
#[cfg(test)]
mod sample;

pub use api::document as openapi;
pub use helpers::otlp::exports_spans;
pub use helpers::signals::listen as listen_for_signals;
pub use run::{Coordinator, CoordinatorParts};
pub use running::{Pins, Running, SetLogLevel, Source, Start, log_warnings};
pub use state::StateParts;

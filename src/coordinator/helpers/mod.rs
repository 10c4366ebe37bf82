//! Threads that do what blocks by nature, so that the coordinator's thread never blocks.

// Turns signals into events.
pub(super) mod signals;

// Resolves host names.
pub mod resolver;

// Messages to systemd.
pub mod supervisor;

// Reports changes of files.
pub(super) mod watch;

// Exports spans to a collector.
pub(super) mod otlp;

// Reads the store for the REST API.
pub(super) mod read_thread;

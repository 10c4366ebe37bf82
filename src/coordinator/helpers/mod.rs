//! Threads that do what blocks by nature, so that the coordinator never does.

// Signals as events.
pub(super) mod signals;

// Names to addresses.
pub mod resolver;

// What systemd is told.
pub mod supervisor;

// Changes of files.
pub(super) mod watch;

// Spans for a collector.
pub(super) mod otlp;

// Questions to the store.
pub(super) mod read_thread;

//! Replaces a running gateway with another process, perhaps of a newer version, without refusing a connection: the listening
//! sockets are handed from one process to the other. Runs on helper threads and at the start of a process. LIFECYCLE.md
//! describes the whole hand-over; this module defines the messages between the two processes, and they exchange nothing else.
//!
//! The processes talk over a pair of Unix sockets, one of which is the new process's standard input: first the number of
//! listening sockets, then the sockets, then lines.

// The messages of the two processes.
mod protocol;

// Sends descriptors through a Unix socket.
mod sockets;

// The new process, as the old one sees it.
mod successor;

// The old process, as the new one sees it.
mod predecessor;

pub use predecessor::Predecessor;
pub(super) use successor::Successor;
pub use successor::{Launch, NoLaunch};

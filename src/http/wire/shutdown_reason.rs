//! The reason for which the watch shut a wire down.
//! A plain value, held by the shard that owns the wire.
//! Never describes what the peer did.

/// Why luner itself shut a wire down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// Luner did not: the wire is open, or the peer ended it.
    None,
    /// Its deadline passed.
    DeadlinePassed,
    /// It was an upstream connection, and the caller that it served has disconnected.
    CallerLeft,
}

//! What a wire's owner and its watch tell each other. Plain values; one thread's.

/// Why a wire was shut down from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is alive, or the peer ended it.
    No,
    /// Its deadline passed.
    Late,
    /// It served a caller who left.
    Abandoned,
}

/// Whether a caller's connection waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It carries one, or is none of a caller's.
    No,
    /// For its first.
    New,
    /// For another one.
    Between,
}

//! What a watch tells a wire's owner. A plain value; one thread's.

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

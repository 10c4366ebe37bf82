//! Usage windows: the requests, tokens and micro-dollars of each user in the sliding last minute, exact over all shards.
//! Each shard has its [`LocalWindows`] and writes only its own part of a user's cell; it reads the sum of all parts.
//! It never awaits, never reads a clock, and for a user that the shard knows it takes no lock and allocates nothing.
//!
//! *Invariant:* a request counts itself **before** it is judged and takes itself out when it is refused. Between its own
//! write and its reading of the others stands a sequentially consistent fence, so that of two requests that race on two
//! cores at least one sees the other: never more than N pass a limit of N. One after the other, exactly N do.
//!
//! *Invariant:* an [`WindowEntry`] is ended once: settled, refused, or dropped, which is the same as refused. So nothing stays
//! counted by accident, whatever happens to the request.

// One shard's part of a user's window.
mod ring;

// A map that is swept in small steps.
mod table;

// The windows of all users.
mod registry;

// A shard's access to the windows, and the evidence that a request was counted.
mod local;

#[cfg(test)]
mod tests;

pub use local::{LocalWindows, SEATS_MAX, Totals, WindowEntry};
pub use registry::{CELLS_MAX, Registry};
pub use ring::{BUCKETS, PERIOD_NS};

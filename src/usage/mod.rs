//! Usage windows: the requests, tokens and micro-dollars of each user in the sliding last minute, exact over all
//! shards. Each shard has its [`LocalWindows`]. It writes only its own part of a user's window and reads the sum of all
//! parts. It never awaits or reads a clock, and for a user that the shard knows it takes no lock and allocates nothing.
//!
//! *Invariant:* a request counts itself **before** it is judged and takes itself out when it is refused. A sequentially
//! consistent fence separates its own write from its reading of the others, so of two requests that race on two cores
//! at least one sees the other: never more than N requests pass a limit of N. If they come one after the other, exactly
//! N do.
//!
//! *Invariant:* a [`WindowEntry`] ends once: it is settled, refused, or dropped, which counts as refused. So nothing
//! stays counted by accident, whatever happens to the request.

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

//! Usage windows: the requests, tokens and micro-dollars of each user in the sliding last minute, exact over all shards.
//! Each shard has its [`LocalWindows`] and writes only its own part of a user's cell; it reads the sum of all parts.
//! It never awaits, never reads a clock, and for a user that the shard knows it takes no lock and allocates nothing.
//!
//! *Invariant:* a request counts itself **before** it is judged and takes itself out when it is refused. Between its own
//! write and its reading of the others stands a sequentially consistent fence, so that of two requests that race on two
//! cores at least one sees the other: never more than N pass a limit of N. One after the other, exactly N do.
//!
//! *Invariant:* an [`Entry`] is ended once: settled, refused, or dropped, which is the same as refused. So nothing stays
//! counted by accident, whatever happens to the request.

mod local; // a shard's way to the windows, and the evidence of having been counted
mod registry; // the cells of all users
mod ring; // one shard's part of a cell
mod table; // what both find cells in

#[cfg(test)]
mod tests;

pub use local::{Entry, LocalWindows, SEATS_MAX, Totals};
pub use registry::{CELLS_MAX, Registry};

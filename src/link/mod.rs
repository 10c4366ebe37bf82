//! Everything that crosses threads: orders go down from the coordinator to the shards, events come up, and shards ask each
//! other about cached keys. All channels are bounded. On the proxy path a shard never waits to send. A tally or a batch that
//! finds its channel full stays with the shard and goes with the next one, so nothing that was counted is lost.

// A finished request as a shard saw it.
pub mod trace;

// Usage by minute, exact and additive.
pub mod usage;

// Counts since a shard's last report.
mod tally;

// Questions about cached keys between shards.
mod cache;

// A REST request on its way to the coordinator, and its answer.
mod call;

use std::net::SocketAddr;
use std::sync::Arc;

pub use cache::{CacheMessage, CachePeers, CacheReply, cache_peers};
pub use call::{API_BODY_BYTES_MAX, ApiAnswer, ApiCall, ApiHeaders, ApiRequest};
pub use tally::{AttemptOutcome, Bounds, Durations, Histogram, LabelTotals, Overheads, Tally};

/// Most events that may wait for the coordinator. A shard sends about one tally per [`REPORT_MS`], so this is minutes of them.
pub const EVENTS_MAX: usize = 1024;
/// With more events than this waiting, the coordinator is behind, and batches go without their traces: counts are small, traces
/// with bodies are not. Arbitrary: seconds of a machine with few cores, and a quarter of a second of one with 128.
pub const EVENTS_BEHIND: usize = EVENTS_MAX / 4;
/// Most orders that may wait for a shard. Orders are rare: one for each change of an address, a plan or the process's state.
pub const ORDERS_MAX: usize = 256;
/// Interval of a shard's reports, in milliseconds. Arbitrary: a crash loses at most this much.
pub const REPORT_MS: u64 = 250;

/// A message from the coordinator to one shard.
#[derive(Clone, Debug)]
pub enum Order {
    /// The addresses of a provider's host, in the order to try; empty if its name never resolved.
    Addresses { host: Arc<str>, port: u16, addresses: Arc<[SocketAddr]> },
    /// No provider has this host and port any more, and no request that could need it is left.
    Forget { host: Arc<str>, port: u16 },
    /// Report now, with this epoch.
    Flush { epoch: u64 },
    /// Stop accepting and report [`Event::Stopped`], finish the requests in flight, then report [`Event::Drained`]. With
    /// `handed_over`, another process accepts on the same sockets: connections in their backlog belong to it, and callers get
    /// more time for their next request.
    Drain { handed_over: bool },
    /// Check the sockets' backlogs again.
    AcceptAnew,
}

/// A message to the coordinator.
#[derive(Debug)]
pub enum Event {
    /// A shard listens.
    Listening { shard: usize, driver: Driver },
    /// A shard could not start; the process cannot run as configured.
    Failed { shard: usize, error: String },
    /// Counts of a shard since its last report, and the epoch of the last flush order that it followed.
    Report { shard: usize, epoch: u64, tally: Box<Tally> },
    /// Usage and traces of a shard's requests since its last batch. If the channel is full, the usage is merged into the next
    /// batch, and the traces are dropped and counted.
    Batch(Box<usage::UsageBatch>),
    /// A request to the REST API.
    Call(Box<ApiCall>),
    /// A shard has stopped accepting connections.
    Stopped { shard: usize },
    /// A shard has drained; `cut` connections were still busy at the deadline.
    Drained { shard: usize, cut: usize },
    /// A host name was resolved, or could not be.
    Resolved { host: Arc<str>, port: u16, result: Result<Arc<[SocketAddr]>, String> },
    /// The content of the configuration file, or of the price file that it names, has changed.
    FilesChanged,
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGUSR2.
    HandOver,
    /// News of the successor.
    Succession(Succession),
    /// News of the predecessor.
    Departure(Departure),
}

/// Progress of a successor, the process that replaces this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It is ready to read the policies.
    Standing,
    /// It listens.
    Ready { pid: u32 },
    /// It has ended or cannot start.
    Failed(String),
}

/// Progress of the predecessor, the process that this one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It has stopped accepting connections.
    Stopped,
    /// It has ended.
    Gone,
}

/// The I/O driver of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring, and the number of entries of its ring.
    IoUring { entries: u32 },
    /// The readiness driver, for machines and containers without io_uring.
    Epoll,
}

impl Driver {
    /// The weakest of several drivers, for display: a single shard on epoll is worth knowing.
    pub fn weakest(drivers: impl IntoIterator<Item = Driver>) -> Option<Driver> {
        drivers.into_iter().min_by_key(|driver| driver.entries())
    }

    /// Entries of its ring; 0 without one.
    pub fn entries(self) -> u32 {
        match self {
            Driver::IoUring { entries } => entries,
            Driver::Epoll => 0,
        }
    }

    /// The word that `/api/health` shows.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring { .. } => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

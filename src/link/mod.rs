//! Everything that crosses threads, and nothing else does: orders go down from the coordinator to the shards, events come
//! up to it, and shards ask each other about cached keys. All channels are bounded. On the proxy path a shard only ever tries to send: what is additive (a tally) stays
//! with the shard when the channel is full and goes with the next one, so that nothing is lost and nobody waits.

mod cache; // between shards: who holds an answer, who fetches it
mod call; // a REST request on its way to the coordinator, and the answer back
mod tally; // what a shard has counted since its last report
pub mod trace;
pub mod usage; // what requests took, by minute and by who and what // one request as a shard saw it

use std::net::SocketAddr;
use std::sync::Arc;

pub use cache::{CacheMessage, CachePeers, Told, cache_peers};
pub use call::{API_BODY_BYTES_MAX, ApiAnswer, ApiCall, ApiHeaders, ApiRequest};
pub use tally::{AttemptOutcome, Bounds, Cell, Durations, Histogram, Overheads, Tally};

/// Events that may wait for the coordinator. A shard sends about one tally in [`REPORT_MS`], so this is minutes of them.
pub const EVENTS_MAX: usize = 1024;
/// With more events than these the coordinator is behind, and batches go without their traces: counts are small, traces with
/// bodies are not. Arbitrary: seconds of a machine with few cores, and a quarter of a second of one with 128.
pub const EVENTS_BEHIND: usize = EVENTS_MAX / 4;
/// Orders that may wait for a shard. They are few: one for each change of an address, a plan or the process's state.
pub const ORDERS_MAX: usize = 256;
/// How often a shard reports what it counted, in milliseconds. Arbitrary; one flush window at most is lost in a crash.
pub const REPORT_MS: u64 = 250;

/// From the coordinator to one shard.
#[derive(Clone, Debug)]
pub enum Order {
    /// Where a provider's host can be reached, in the order to try; empty when its name never resolved.
    Addresses { host: Arc<str>, port: u16, addresses: Arc<[SocketAddr]> },
    /// That host and port is no provider's any more, and no request that could need it is left.
    Forget { host: Arc<str>, port: u16 },
    /// Report now, and name this epoch.
    Flush { epoch: u64 },
    /// Stop accepting and report [`Event::Stopped`], finish what runs, then report [`Event::Drained`]. Where another process
    /// accepts on the same sockets, what waits in them is its own, and callers get more time for their next request.
    Drain { handed_over: bool },
    /// Look into the sockets' queues afresh.
    AcceptAnew,
}

/// What the coordinator reacts to.
#[derive(Debug)]
pub enum Event {
    /// A shard listens.
    Listening { shard: usize, driver: Driver },
    /// A shard could not start; the process cannot run as configured.
    Failed { shard: usize, error: String },
    /// What a shard counted since its last report, and the last flush order that it followed.
    Report { shard: usize, epoch: u64, tally: Box<Tally> },
    /// What a shard's requests took since its last batch, and traces of them. One that finds no room is sent again: its
    /// accounts are merged into the next, its traces are dropped and counted.
    Batch(Box<usage::Batch>),
    /// A request to the REST API.
    Call(Box<ApiCall>),
    /// A shard accepts no connection any more.
    Stopped { shard: usize },
    /// A shard has drained; `cut` connections were still busy at the deadline.
    Drained { shard: usize, cut: usize },
    /// A name was looked up.
    Resolved { host: Arc<str>, port: u16, result: Result<Arc<[SocketAddr]>, String> },
    /// The configuration's file, or the price file that it names, has other content than before.
    FilesChanged,
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGUSR2.
    HandOver,
    /// Of the process that is to take over.
    Succession(Succession),
    /// Of the process whose place this one takes.
    Departure(Departure),
}

/// How far another process is that is to take this one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Succession {
    /// It is about to read the policies.
    Standing,
    /// It listens.
    Ready { pid: u32 },
    /// It is gone.
    Failed(String),
}

/// How far the process is whose place this one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It accepts no connection any more.
    Stopped,
    /// It has ended.
    Gone,
}

/// How a shard does its I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring with so many entries.
    IoUring { entries: u32 },
    /// The readiness driver, for machines and containers without io_uring.
    Epoll,
}

impl Driver {
    /// The one to show of several: a single shard on epoll is worth knowing.
    pub fn weakest(drivers: impl IntoIterator<Item = Driver>) -> Option<Driver> {
        drivers.into_iter().min_by_key(|driver| driver.entries())
    }

    /// Of its ring; 0 without one.
    pub fn entries(self) -> u32 {
        match self {
            Driver::IoUring { entries } => entries,
            Driver::Epoll => 0,
        }
    }

    /// As `/api/health` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Driver::IoUring { .. } => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

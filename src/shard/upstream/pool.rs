//! Connections to providers that wait for the next request, by origin; each shard has its own. A connection is taken by one
//! request at a time and comes back only if its last answer ended exactly where it should.

use std::cell::RefCell;

use crate::clock::Now;
use crate::http::wire::Wire;
use crate::plan::OriginId;

/// Idle connections to one origin on one shard. Arbitrary: as many as 500 callers at once would leave behind.
const IDLE_MAX: usize = 512;
/// Providers close idle connections after a minute or more; ours go first, so that fewer are found closed.
const IDLE_MS_MAX: u64 = 50_000;
/// A connection to a provider and the buffer that it reads into.
pub(crate) struct Line {
    pub(crate) wire: Wire,
    pub(crate) buf: Vec<u8>,
    /// Whether it has carried a request before.
    pub(crate) reused: bool,
    idle_since_ms: u64,
}

impl Line {
    /// A new connection.
    pub(crate) fn new(wire: Wire) -> Line {
        Line { wire, buf: Vec::new(), reused: false, idle_since_ms: 0 }
    }
}

/// The idle connections of a shard.
#[derive(Default)]
pub(crate) struct Pools {
    by_origin: RefCell<Vec<Vec<Line>>>,
}

impl Pools {
    /// The connection that rested shortest and still is open.
    pub(crate) fn take(&self, origin: OriginId, now: Now) -> Option<Line> {
        let mut pools = self.by_origin.borrow_mut();
        let pool = pools.get_mut(usize::from(origin.0))?;
        while let Some(mut line) = pool.pop() {
            let rested_ms = now.mono_ms().saturating_sub(line.idle_since_ms);
            // Bytes that came meanwhile would be taken for the next caller's answer.
            if rested_ms < IDLE_MS_MAX && line.wire.is_reusable() {
                line.reused = true;
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, origin: OriginId, mut line: Line, now: Now) {
        let mut pools = self.by_origin.borrow_mut();
        let index = usize::from(origin.0);
        if pools.len() <= index {
            pools.resize_with(index + 1, Vec::new);
        }
        if let Some(pool) = pools.get_mut(index).filter(|pool| pool.len() < IDLE_MAX) {
            line.idle_since_ms = now.mono_ms();
            line.buf.clear();
            line.buf.shrink_to(super::READ_BYTES);
            pool.push(line);
        }
    }

    /// Closes what rested too long and what the provider closed.
    pub(crate) fn prune(&self, now: Now) {
        for pool in self.by_origin.borrow_mut().iter_mut() {
            pool.retain(|line| now.mono_ms() < line.idle_since_ms + IDLE_MS_MAX && line.wire.is_reusable());
        }
    }
}

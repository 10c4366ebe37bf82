//! Idle connections to providers, by origin. Each shard has its own pool. A connection is used by one request at a time, and
//! returns to the pool only if its last answer ended exactly where it should.

use std::cell::RefCell;

use crate::clock::Now;
use crate::http::wire::Wire;
use crate::plan::OriginId;

/// Idle connections to one origin on one shard. Arbitrary: as many as 500 concurrent callers leave behind.
const IDLE_MAX: usize = 512;
/// Providers close idle connections after a minute or more. Ours close earlier, so that fewer are found closed.
const IDLE_MS_MAX: u64 = 50_000;
/// Buffer for one read from a provider: one or a few events, or a short answer with its head.
pub(crate) const READ_BYTES: usize = 8 * 1024;

/// A connection to a provider, and the buffer that it reads into.
pub(crate) struct UpstreamConn {
    pub(crate) wire: Wire,
    pub(crate) buf: Vec<u8>,
    /// Whether it has carried a request before.
    pub(crate) reused: bool,
    idle_since_ms: u64,
}

impl UpstreamConn {
    pub(crate) fn new(wire: Wire) -> UpstreamConn {
        UpstreamConn { wire, buf: Vec::new(), reused: false, idle_since_ms: 0 }
    }
}

/// The idle connections of a shard.
#[derive(Default)]
pub(crate) struct Pools {
    by_origin: RefCell<Vec<Vec<UpstreamConn>>>,
}

impl Pools {
    /// Takes the connection that was used most recently and is still open.
    pub(crate) fn take(&self, origin: OriginId, now: Now) -> Option<UpstreamConn> {
        let mut pools = self.by_origin.borrow_mut();
        let pool = pools.get_mut(usize::from(origin.0))?;
        while let Some(mut conn) = pool.pop() {
            let idle_ms = now.mono_ms().saturating_sub(conn.idle_since_ms);
            // Bytes that arrived meanwhile would be taken for the next caller's answer.
            if idle_ms < IDLE_MS_MAX && conn.wire.is_reusable() {
                conn.reused = true;
                return Some(conn);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, origin: OriginId, mut conn: UpstreamConn, now: Now) {
        let mut pools = self.by_origin.borrow_mut();
        let index = usize::from(origin.0);
        if pools.len() <= index {
            pools.resize_with(index + 1, Vec::new);
        }
        if let Some(pool) = pools.get_mut(index).filter(|pool| pool.len() < IDLE_MAX) {
            conn.idle_since_ms = now.mono_ms();
            conn.buf.clear();
            conn.buf.shrink_to(READ_BYTES);
            pool.push(conn);
        }
    }

    /// Closes connections that were idle for too long or that the provider closed.
    pub(crate) fn prune(&self, now: Now) {
        for pool in self.by_origin.borrow_mut().iter_mut() {
            pool.retain(|conn| now.mono_ms() < conn.idle_since_ms + IDLE_MS_MAX && conn.wire.is_reusable());
        }
    }
}

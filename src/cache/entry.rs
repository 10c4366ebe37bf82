//! A cached answer: immutable except for two flags, and shared by its owner and the fronts of all shards.
//! The shard that fetched the answer creates it. Reading it on another core does not change its bytes (a hit sets one flag,
//! and only once until the owner has seen it), so a hot entry stays in every core's own CPU cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::key::Key;
use crate::clock::Now;
use crate::llm::Usage;
use crate::units::MicroUsd;

/// An answer stored for reuse.
#[derive(Debug)]
pub struct CachedAnswer {
    key: Key,
    /// Whole body, as the provider sent it.
    pub body: Bytes,
    /// Content type, as the provider sent it.
    pub content_type: Box<str>,
    /// Usage that the provider reported for the original request.
    pub usage: Usage,
    /// Cost of the original request, which a hit saves.
    pub cost: MicroUsd,
    /// Expiry time on the monotonic clock.
    expires_ns: u64,
    /// Set once the owner has dropped the entry; nobody may serve it any more.
    evicted: AtomicBool,
    /// Set when a front serves the entry; cleared when the owner checks it.
    touched: AtomicBool,
}

/// Contents of a new entry.
#[derive(Debug)]
pub struct NewEntry {
    pub key: Key,
    pub body: Vec<u8>,
    pub content_type: Box<str>,
    pub usage: Usage,
    pub cost: MicroUsd,
    pub ttl: Duration,
}

impl CachedAnswer {
    /// The TTL starts at `now`, the time when the answer was complete.
    pub fn new(parts: NewEntry, now: Now) -> CachedAnswer {
        let NewEntry { key, body, content_type, usage, cost, ttl } = parts;
        let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        CachedAnswer {
            key,
            // Drops spare capacity, so that the counted size is the memory held.
            body: Bytes::from(body.into_boxed_slice()),
            content_type,
            usage,
            cost,
            expires_ns: now.mono_ns.saturating_add(ttl_ns),
            evicted: AtomicBool::new(false),
            touched: AtomicBool::new(false),
        }
    }

    pub fn key(&self) -> Key {
        self.key
    }

    /// Memory held for the entry, in bytes, without the allocator's rounding.
    pub fn size(&self) -> usize {
        self.body.len() + self.content_type.len() + OVERHEAD
    }

    /// Returns true from the expiry time on, inclusive, so an entry with a TTL of zero is never served.
    pub fn is_expired(&self, now: Now) -> bool {
        now.mono_ns >= self.expires_ns
    }

    /// Returns true if the entry is neither expired nor evicted.
    #[inline]
    pub(super) fn serves(&self, now: Now) -> bool {
        !self.is_expired(now) && !self.evicted.load(Ordering::Acquire)
    }

    /// Marks the entry as evicted; no front serves it from here on.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
    }

    /// Tells the owner that the entry is in use. Writes at most once between two checks by the owner, because each write
    /// takes the CPU cache line away from all other cores.
    #[inline]
    pub(super) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Returns true if the entry was touched since the last call, and clears the flag.
    pub(super) fn take_touch(&self) -> bool {
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }
}

/// Bytes per entry besides its contents: the entry itself, the two reference counts of its `Arc`, and its place in the
/// owner's list and index.
const OVERHEAD: usize = size_of::<CachedAnswer>() + 2 * size_of::<usize>() + super::lru::NODE_BYTES;

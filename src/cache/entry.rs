//! A cached answer: immutable but for two marks, shared by its owner and the fronts of all shards.
//! Made on the shard that fetched it. Reading it on another core changes none of its bytes (the one mark that a hit sets is
//! set once until the owner has seen it), so a hot entry stays in every core's own cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::key::Key;
use crate::clock::Now;
use crate::llm::Usage;
use crate::units::MicroUsd;

/// An answer to be given again.
#[derive(Debug)]
pub struct CachedAnswer {
    key: Key,
    /// As it came, whole.
    pub body: Bytes,
    /// As it came.
    pub content_type: Box<str>,
    /// What the provider counted for the original.
    pub usage: Usage,
    /// What the original cost, and a hit saves.
    pub cost: MicroUsd,
    /// On the monotonic clock.
    expires_ns: u64,
    /// The owner gave it up; nobody may serve it any more.
    evicted: AtomicBool,
    /// Served by a front since the owner last looked.
    touched: AtomicBool,
}

/// What an entry is made of.
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
    /// `now` is when the answer was whole.
    pub fn new(parts: NewEntry, now: Now) -> CachedAnswer {
        let NewEntry { key, body, content_type, usage, cost, ttl } = parts;
        let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        CachedAnswer {
            key,
            // Without spare capacity, so that what is counted is what is held.
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

    /// In bytes: everything that is held because of it, the allocator's rounding aside.
    pub fn size(&self) -> usize {
        self.body.len() + self.content_type.len() + OVERHEAD
    }

    /// From its last moment on; a TTL of zero never serves.
    pub fn is_expired(&self, now: Now) -> bool {
        now.mono_ns >= self.expires_ns
    }

    /// Neither expired nor given up.
    #[inline]
    pub(super) fn serves(&self, now: Now) -> bool {
        !self.is_expired(now) && !self.evicted.load(Ordering::Acquire)
    }

    /// From here on no front serves it.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Ordering::Release);
    }

    /// Tells the owner that it is in use. Written at most once between two looks of the owner, because each write takes the
    /// line away from all other cores.
    #[inline]
    pub(super) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was touched since this was last asked.
    pub(super) fn take_touch(&self) -> bool {
        self.touched.load(Ordering::Relaxed) && self.touched.swap(false, Ordering::Relaxed)
    }
}

/// The entry itself and its two counts, and its place in the owner's list and index.
const OVERHEAD: usize = size_of::<CachedAnswer>() + 2 * size_of::<usize>() + super::lru::NODE_BYTES;

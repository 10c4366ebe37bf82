//! A shard's own references to the hot entries of other owners, so that a hit on them never leaves its core.
//! Owned by one shard. It holds references, not copies, and never serves an entry that its owner has evicted, so the owners'
//! limits alone set the size of the cache. Dropped entries that it still references are bounded and swept.

use std::sync::Arc;

use super::entry::CachedAnswer;
use super::key::Key;
use super::lru::{Fate, Limits, Lru};
use crate::clock::Now;

/// Entries of other owners; the least recently used is dropped first.
#[derive(Debug)]
pub struct Front {
    lru: Lru,
    limits: Limits,
}

impl Front {
    /// `limits` are usually [`FRONT_LIMITS`].
    pub fn new(limits: Limits) -> Front {
        Front { lru: Lru::new(), limits }
    }

    /// Returns an entry that may be served, and lets its owner know that it is in use. Returning a reference avoids changing
    /// the reference count that all cores share, so copy a short body straight from it.
    #[inline]
    pub fn find(&mut self, key: Key, now: Now) -> Option<&Arc<CachedAnswer>> {
        let at = self.lru.find(key)?;
        if !self.lru.entry(at)?.serves(now) {
            self.lru.remove(at);
            return None;
        }
        self.lru.renew(at);
        let entry = self.lru.entry(at)?;
        entry.touch();
        Some(entry)
    }

    /// Keeps an entry that its owner handed out. The reference count goes up once here, not at each hit.
    pub fn keep(&mut self, entry: Arc<CachedAnswer>, now: Now) {
        if let Some(at) = self.lru.find(entry.key()) {
            self.lru.remove(at);
        }
        if !entry.serves(now) || self.limits.items == 0 || entry.size() > self.limits.bytes {
            return;
        }
        while !self.lru.fits(self.limits, 1, entry.size())
            && let Some(oldest) = self.lru.oldest()
        {
            self.lru.remove(oldest);
        }
        self.lru.insert(entry);
    }

    /// Drops entries that may not be served any more, in one small step. Called on the shard's own tick.
    pub fn sweep(&mut self, now: Now) {
        let fate = |entry: &CachedAnswer| if entry.serves(now) { Fate::Keep } else { Fate::Remove };
        self.lru.sweep(SWEEP_STEP, fate, drop);
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.lru.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lru.len() == 0
    }

    /// Total size of the entries, in bytes.
    pub fn bytes(&self) -> usize {
        self.lru.bytes()
    }
}

/// Default limits of a front. Arbitrary: covers most of a cache of the default size, and costs the front 60 bytes per entry,
/// since the bodies belong to the owners.
pub const FRONT_LIMITS: Limits = Limits { items: 4096, bytes: 32 << 20 };
/// Places that one sweep step checks. Arbitrary: with a step every 25 ms, every entry is checked within 2 seconds.
const SWEEP_STEP: usize = 64;

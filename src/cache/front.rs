//! A shard's own way to the hot entries of other owners, so that a hit on them never leaves its core.
//! Owned by one shard. It holds references, not copies, and never serves an entry that its owner has given up, so the cache
//! is as large as the owners say; what it holds beyond that is bounded and swept.

use std::sync::Arc;

use super::entry::CachedAnswer;
use super::key::Key;
use super::lru::{Fate, Limits, Lru};
use crate::clock::Now;

/// Entries of other owners, the least recently used leaving first.
#[derive(Debug)]
pub struct Front {
    lru: Lru,
    limits: Limits,
}

impl Front {
    /// Usually with [`FRONT_LIMITS`].
    pub fn new(limits: Limits) -> Front {
        Front { lru: Lru::new(), limits }
    }

    /// An entry that may be served; its owner learns that it is in use. The reference spares the count that all cores
    /// share: a short body is best copied from here.
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

    /// Keeps an entry that the owner gave. The count is raised once here, and not at each hit.
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

    /// A small step: lets go of what may not be served any more. For the shard's own tick.
    pub fn sweep(&mut self, now: Now) {
        let fate = |entry: &CachedAnswer| if entry.serves(now) { Fate::Keep } else { Fate::Remove };
        self.lru.sweep(SWEEP_STEP, fate, drop);
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.lru.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lru.len() == 0
    }

    /// Their sizes together.
    pub fn bytes(&self) -> usize {
        self.lru.bytes()
    }
}

/// Arbitrary: most of a cache of the default size, at 60 bytes an entry, since the bodies are the owners'.
pub const FRONT_LIMITS: Limits = Limits { items: 4096, bytes: 32 << 20 };
/// Places that one step of the sweep looks at. Arbitrary; at a step every 25 ms all are seen within 2 seconds.
const SWEEP_STEP: usize = 64;

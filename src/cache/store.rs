//! The entries that a shard owns, within exact limits, the least recently used leaving first.
//! Owned by one shard. It holds more than its limits only while it shrinks, after they were lowered, and then takes no new
//! entry in before it has room for it.

use std::sync::Arc;

use super::entry::CachedAnswer;
use super::key::Key;
use super::lru::{Fate, Limits, Lru};
use crate::clock::Now;

/// One owner's part of the cache.
#[derive(Debug)]
pub struct Store {
    lru: Lru,
    limits: Limits,
    evictions: Evictions,
}

/// How many entries left by themselves since the start, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Their time was over.
    pub ttl: u64,
    /// They made room.
    pub capacity: u64,
}

impl Store {
    /// With this shard's [`Limits::share`].
    pub fn new(limits: Limits) -> Store {
        Store { lru: Lru::new(), limits, evictions: Evictions::default() }
    }

    /// An entry that may be served, which is the youngest from now on. The reference spares the count that all cores share:
    /// a short body is best copied from here.
    #[inline]
    pub fn find(&mut self, key: Key, now: Now) -> Option<&Arc<CachedAnswer>> {
        self.locate(key, now).and_then(|at| self.at(at))
    }

    /// Where [`Store::find`] finds it: until the next change.
    #[inline]
    pub(super) fn locate(&mut self, key: Key, now: Now) -> Option<u32> {
        let at = self.lru.find(key)?;
        if self.lru.entry(at)?.is_expired(now) {
            self.remove(at, now);
            return None;
        }
        self.lru.renew(at);
        Some(at)
    }

    #[inline]
    pub(super) fn at(&self, at: u32) -> Option<&Arc<CachedAnswer>> {
        self.lru.entry(at)
    }

    /// Takes an entry in, in the place of one with the same key. Whether it did: one that is larger than all that this owner
    /// may hold, or expired already, is not stored, and marked as given up so that no front keeps it either.
    pub fn insert(&mut self, entry: &Arc<CachedAnswer>, now: Now) -> bool {
        if let Some(replaced) = self.lru.find(entry.key()).and_then(|at| self.lru.remove(at)) {
            replaced.evict();
        }
        let fits_alone = self.limits.items > 0 && entry.size() <= self.limits.bytes;
        let stored = fits_alone && !entry.is_expired(now) && self.shrink_for(1, entry.size(), now);
        if stored {
            self.lru.insert(Arc::clone(entry));
        } else {
            entry.evict();
        }
        stored
    }

    /// Other limits from now on. What is too much leaves at once, as far as one step goes; the rest with the next sweeps.
    pub fn set_limits(&mut self, limits: Limits, now: Now) {
        self.limits = limits;
        self.shrink_for(0, 0, now);
    }

    /// A small step: drops what has expired, renews what fronts have served, shrinks. For the shard's own tick.
    pub fn sweep(&mut self, now: Now) {
        self.shrink_for(0, 0, now);
        let fate = |entry: &CachedAnswer| match (entry.is_expired(now), entry.take_touch()) {
            (true, _) => Fate::Remove,
            (false, true) => Fate::Renew,
            (false, false) => Fate::Keep,
        };
        let evictions = &mut self.evictions;
        self.lru.sweep(SWEEP_STEP, fate, |entry| {
            entry.evict();
            evictions.ttl += 1;
        });
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

    pub fn evictions(&self) -> Evictions {
        self.evictions
    }

    /// Makes room for so much more, in one bounded step. Whether there is.
    fn shrink_for(&mut self, more: usize, bytes: usize, now: Now) -> bool {
        let mut chances = CHANCES_MAX;
        for _ in 0..SHRINK_STEP {
            if self.lru.fits(self.limits, more, bytes) {
                return true;
            }
            while let Some(at) = self.lru.oldest()
                && chances > 0
                && self.lru.entry(at).is_some_and(|entry| entry.serves(now) && entry.take_touch())
            {
                self.lru.renew(at);
                chances -= 1;
            }
            let Some(oldest) = self.lru.oldest() else { break };
            self.remove(oldest, now);
        }
        self.lru.fits(self.limits, more, bytes)
    }

    fn remove(&mut self, at: u32, now: Now) {
        if let Some(entry) = self.lru.remove(at) {
            entry.evict();
            match entry.is_expired(now) {
                true => self.evictions.ttl += 1,
                false => self.evictions.capacity += 1,
            }
        }
    }
}

/// Places that one step of the sweep looks at. Arbitrary; at a step every 25 ms, 5,000 entries are seen within 2 seconds.
const SWEEP_STEP: usize = 64;
/// Entries that one step evicts at most: as many of the smallest as a 1 MiB answer may need, and less than 1 ms of work.
const SHRINK_STEP: usize = 4096;
/// Touched entries that a step passes over, so that it ends when all are. Arbitrary; the sweep has found most of them before.
const CHANCES_MAX: usize = 32;

//! The entries that a shard owns, within exact limits; the least recently used is evicted first.
//! Owned by one shard. It exceeds its limits only while it shrinks after they were lowered, and until then it accepts no new
//! entry that it has no room for.

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

/// Entries evicted since the start, by reason. Replaced entries do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Evicted because they expired.
    pub ttl: u64,
    /// Evicted to make room.
    pub capacity: u64,
}

impl Store {
    /// `limits` are this shard's [`Limits::share`].
    pub fn new(limits: Limits) -> Store {
        Store { lru: Lru::new(), limits, evictions: Evictions::default() }
    }

    /// Returns an entry that may be served, and makes it the most recently used. Returning a reference avoids changing the
    /// reference count that all cores share, so copy a short body straight from it.
    #[inline]
    pub fn find(&mut self, key: Key, now: Now) -> Option<&Arc<CachedAnswer>> {
        self.locate(key, now).and_then(|at| self.at(at))
    }

    /// Like [`Store::find`], but returns the entry's position, which is valid until the next change.
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

    /// Stores an entry, replacing any entry with the same key. Returns false if it was not stored, because it is larger than
    /// this owner's limit, has already expired, or one step did not free enough room. Such an entry is marked as evicted, so
    /// that no front keeps it either.
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

    /// Changes the limits. One bounded step evicts excess entries at once; the next sweeps evict the rest.
    pub fn set_limits(&mut self, limits: Limits, now: Now) {
        self.limits = limits;
        self.shrink_for(0, 0, now);
    }

    /// Shrinks to the limits, drops expired entries and renews entries that fronts have served, in one small step. Called on
    /// the shard's own tick.
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

    pub fn evictions(&self) -> Evictions {
        self.evictions
    }

    /// Makes room for `more` entries of `bytes` in total, in one bounded step. Returns true if there is room.
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

/// Places that one sweep step checks. Arbitrary: with a step every 25 ms, 5,000 entries are checked within 2 seconds.
const SWEEP_STEP: usize = 64;
/// Most entries that one step evicts: as many of the smallest as a 1 MiB answer may displace, in less than 1 ms.
const SHRINK_STEP: usize = 4096;
/// Most touched entries that one step spares, so that it ends even if every entry is touched. Arbitrary: the sweep has
/// usually renewed most of them already.
const CHANCES_MAX: usize = 32;

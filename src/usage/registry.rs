//! The windows of all users, so that all shards count a user in the same one. Shared by all threads: a shard looks here
//! once per user, and the coordinator sweeps. It never holds more than [`CELLS_MAX`] windows.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use hashbrown::DefaultHashBuilder;

use super::ring::{BUCKETS, Slots, period};
use super::table::{Held, Table};
use crate::clock::Now;
use crate::who::Who;

#[allow(clippy::disallowed_types, reason = "touched once per user and shard, and held for less than 10 µs")]
type Stripe = std::sync::Mutex<Table<Arc<UserWindow>>>;

/// Everything that is counted for one user.
#[derive(Debug)]
pub(super) struct UserWindow {
    /// Without an agent: all agents of a user count together.
    who: Who,
    /// It was removed to make room. A shard that still counts in it must ask the registry again.
    evicted: AtomicBool,
    pub(super) slots: Slots,
}

impl UserWindow {
    pub(super) fn is_of(&self, who: Who<&str>) -> bool {
        self.who.as_str() == who
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// The windows of the process. A window is dropped when no shard holds it and nothing in it counts any more.
///
/// When the registry is full, a new user evicts the idlest of a few random ones (among equally idle ones, the one with
/// the fewest requests), whose last minute is then forgotten. So somebody who can invent 65,536 users a minute may,
/// with luck, reset the limit of an idle user; a busy user keeps its count.
#[derive(Debug)]
pub struct Registry {
    /// Selected by a part of the hash.
    stripes: Box<[Stripe]>,
    hasher: DefaultHashBuilder,
    /// The stripe that the sweep has reached.
    sweeping: AtomicUsize,
    /// The shards that have their [`super::LocalWindows`].
    taken: Box<[AtomicBool]>,
}

impl Registry {
    /// For shards numbered from zero.
    pub fn new(shards: usize) -> Arc<Registry> {
        Arc::new(Registry {
            stripes: (0..STRIPES).map(|_| Stripe::new(Table::new())).collect(),
            hasher: DefaultHashBuilder::default(),
            sweeping: AtomicUsize::new(0),
            taken: (0..shards).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// Users with a window.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| with(stripe, |table| table.len())).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks at most `most` windows, from where the last call stopped, and drops those that no longer count. The
    /// coordinator calls it in small steps: at 1,100 a second, 65,536 windows are checked within a minute.
    pub fn sweep(&self, now: Now, most: usize) {
        let now = period(now);
        let mut left = most;
        for _ in 0..STRIPES {
            let at = self.sweeping.load(Ordering::Relaxed) % STRIPES;
            // A few at a time, because a shard may be waiting for the lock.
            while left > 0 {
                let step = left.min(SWEEP_STEP);
                let looked_at = with(&self.stripes[at], |table| {
                    table.sweep(step, |held| {
                        // `get_mut` proves that no shard holds it, and none can get it now, because that takes the
                        // lock.
                        held.seen + BUCKETS as u64 <= now
                            && Arc::get_mut(&mut held.it).is_some_and(|cell| !cell.slots.is_live(now))
                    })
                });
                left -= looked_at;
                if looked_at < step {
                    break;
                }
            }
            if left == 0 {
                return;
            }
            self.sweeping.store(at + 1, Ordering::Relaxed);
        }
    }

    /// The hash is keyed, so that nobody outside can construct users that collide.
    #[inline]
    pub(super) fn hash(&self, who: Who<&str>) -> u64 {
        self.hasher.hash_one(who)
    }

    /// The window of this user. Creates it if necessary.
    pub(super) fn cell(&self, hash: u64, who: Who<&str>, now: u64) -> Arc<UserWindow> {
        let stripe = &self.stripes[(hash >> 40) as usize % STRIPES];
        with(stripe, |table| {
            if let Some(held) = table.find(hash, |cell| cell.is_of(who)) {
                held.seen = held.seen.max(now);
                return Arc::clone(&held.it);
            }
            if table.len() >= CELLS_MAX / STRIPES {
                let last_used = |held: &Held<Arc<UserWindow>>| {
                    let (last, requests) = held.it.slots.last_use(now);
                    (last.max(held.seen), requests)
                };
                if let Some(at) = table.idlest(hash, last_used) {
                    table.remove(at).it.evicted.store(true, Ordering::Relaxed);
                }
            }
            let who = who.to_owned();
            let cell = Arc::new(UserWindow { who, evicted: AtomicBool::new(false), slots: Slots::default() });
            table.insert(hash, now, Arc::clone(&cell));
            cell
        })
    }

    /// Returns true if the registry knows the shard and nobody else has taken it.
    pub(super) fn take_shard(&self, shard: usize) -> bool {
        self.taken.get(shard).is_some_and(|taken| !taken.swap(true, Ordering::AcqRel))
    }

    pub(super) fn free_shard(&self, shard: usize) {
        if let Some(taken) = self.taken.get(shard) {
            taken.store(false, Ordering::Release);
        }
    }
}

/// A table is consistent between any two steps, so a poisoned lock can be ignored.
fn with<T>(stripe: &Stripe, act: impl FnOnce(&mut Table<Arc<UserWindow>>) -> T) -> T {
    act(&mut stripe.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Users with a window. Arbitrary: about 40 MB when full.
pub const CELLS_MAX: usize = 65_536;
/// Arbitrary: two shards seldom need the same one of sixteen.
const STRIPES: usize = 16;
const _: () = assert!(CELLS_MAX.is_multiple_of(STRIPES));
/// Windows checked under one lock. Arbitrary: takes about 5 µs.
const SWEEP_STEP: usize = 32;

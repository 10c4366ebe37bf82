//! A shard's way to the windows: which cell a user has, and the evidence of having been counted in it.
//! Owned by one shard, and by its type it stays on that thread. It never waits, except for the registry when it meets a
//! user for the first time.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::registry::{Registry, UserWindow};
use super::ring::{BUCKETS, ESTIMATE_MAX, Slot, period};
use super::table::{Held, Table};
use crate::clock::Now;
use crate::units::MicroUsd;
use crate::who::Who;

/// One shard's windows. A bounded map to the registry's cells; forgetting one costs no more than asking again.
#[derive(Debug)]
pub struct LocalWindows {
    registry: Arc<Registry>,
    shard: usize,
    seats: Table<Rc<Seat>>,
}

/// A shard's place in a cell. Counted without atomics, so that requests of one user on all cores share no reference
/// count.
#[derive(Debug)]
struct Seat {
    cell: Arc<UserWindow>,
    slot: Arc<Slot>,
}

impl LocalWindows {
    /// # Panics
    ///
    /// When the shard is not one of those that the registry was made for, or has its windows already: two threads would
    /// write the same slots.
    pub fn new(registry: Arc<Registry>, shard: usize) -> LocalWindows {
        assert!(registry.take_shard(shard), "shard {shard} has windows already, or is not one of this registry's");
        LocalWindows { registry, shard, seats: Table::new() }
    }

    /// Counts a request of this user, with what it is estimated to cost, before it is judged.
    #[inline]
    pub fn enter(&mut self, who: Who<&str>, now: Now, estimate: MicroUsd) -> WindowEntry {
        let now = period(now);
        let who = who.without_agent();
        let hash = self.registry.hash(who);
        let seat = match self.seats.find(hash, |seat| seat.cell.is_of(who)) {
            Some(held) if !held.it.cell.is_evicted() => {
                held.seen = held.seen.max(now);
                Rc::clone(&held.it)
            }
            _ => self.seat(hash, who, now),
        };
        WindowEntry::new(seat, now, estimate)
    }

    /// Forgets a few of those who were silent for a minute. For the shard's own tick.
    pub fn sweep(&mut self, now: Now) {
        let now = period(now);
        let silent = |seen: u64| seen + BUCKETS as u64 <= now;
        self.seats.sweep(SWEEP_STEP, |held| silent(held.seen) || held.it.cell.is_evicted());
    }

    /// How many users it has at hand.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seats.len() == 0
    }

    #[cold]
    fn seat(&mut self, hash: u64, who: Who<&str>, now: u64) -> Rc<Seat> {
        // One in a cell that was evicted may stand there still.
        self.seats.remove_same(hash, |seat| seat.cell.is_of(who));
        if self.seats.len() >= SEATS_MAX {
            let last_used = |held: &Held<Rc<Seat>>| if held.it.cell.is_evicted() { 0 } else { held.seen };
            if let Some(at) = self.seats.idlest(hash, last_used) {
                self.seats.remove(at);
            }
        }
        let cell = self.registry.cell(hash, who, now);
        let slot = cell.slots.of(self.shard as u32);
        let seat = Rc::new(Seat { cell, slot });
        self.seats.insert(hash, now, Rc::clone(&seat));
        seat
    }
}

impl Drop for LocalWindows {
    fn drop(&mut self) {
        self.registry.free_shard(self.shard);
    }
}

/// What a user has used in the last minute, over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// This one included; those refused, and taken out again, not.
    pub requests: u64,
    pub tokens: u64,
    /// Settled, plus the estimates of all *other* requests in flight. This request's own is [`WindowEntry::estimate`].
    pub cost: MicroUsd,
}

/// Evidence that a request was counted. Ended by [`WindowEntry::settle`] when it was sent (or served), otherwise by
/// [`WindowEntry::refuse`] or by being dropped.
#[must_use = "dropped, it takes the request out of the count again"]
#[derive(Debug)]
pub struct WindowEntry {
    seat: Rc<Seat>,
    /// The period under which it was counted.
    counted_at: u64,
    /// In micro-dollars, as it stands in `pending`.
    estimate: u64,
    settled: bool,
}

impl WindowEntry {
    #[inline]
    fn new(seat: Rc<Seat>, now: u64, estimate: MicroUsd) -> WindowEntry {
        let estimate = micro(estimate).min(ESTIMATE_MAX);
        let counted_at = seat.slot.requests.add(now, 1);
        seat.slot.move_pending(0, estimate);
        fence(Ordering::SeqCst);
        WindowEntry { seat, counted_at, estimate, settled: false }
    }

    /// What this user has used as of now.
    #[inline]
    pub fn totals(&self, now: Now) -> Totals {
        let now = period(now);
        let (mut requests, mut tokens, mut cost) = (0, 0, 0_u64);
        for slot in self.seat.cell.slots.iter() {
            cost += slot.pending() + slot.settled.sum(now);
            requests += slot.requests.sum(now);
            tokens += slot.tokens.sum(now);
        }
        let cost = i64::try_from(cost.saturating_sub(self.estimate)).unwrap_or(i64::MAX);
        Totals { requests, tokens, cost: MicroUsd(cost) }
    }

    /// What this request is held to cost until it is settled.
    pub fn estimate(&self) -> MicroUsd {
        MicroUsd(self.estimate as i64)
    }

    /// Another model, another estimate.
    pub fn reestimate(&mut self, estimate: MicroUsd) {
        let estimate = micro(estimate).min(ESTIMATE_MAX);
        self.seat.slot.move_pending(self.estimate, estimate);
        self.estimate = estimate;
        fence(Ordering::SeqCst);
    }

    /// Takes the request out of the count, and its estimate, as if it had never come.
    pub fn refuse(self) {}

    /// The request is over: what it used counts from now on instead of its estimate.
    pub fn settle(mut self, now: Now, tokens: u64, cost: MicroUsd) {
        let now = period(now);
        let slot = &self.seat.slot;
        if tokens > 0 {
            slot.tokens.add(now, tokens);
        }
        if cost > MicroUsd(0) {
            slot.settled.add(now, micro(cost));
        }
        // After what was settled: see there.
        slot.move_pending(self.estimate, 0);
        self.settled = true;
    }
}

impl Drop for WindowEntry {
    fn drop(&mut self) {
        if !self.settled {
            self.seat.slot.requests.take(self.counted_at, 1);
            self.seat.slot.move_pending(self.estimate, 0);
        }
    }
}

/// Nothing has a price below zero.
fn micro(amount: MicroUsd) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

/// Users that a shard has at hand. Arbitrary: those of the last minute, seldom more, at some 100 bytes each.
pub const SEATS_MAX: usize = 16_384;
/// Seats that one step of the sweep looks at. Arbitrary; at a step every 25 ms all are seen within 7 seconds.
const SWEEP_STEP: usize = 64;

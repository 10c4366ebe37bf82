//! A shard's access to the windows, and the evidence that a request was counted in one. Owned by one shard; its type
//! keeps it on that thread. It waits only for the registry's lock, when it sees a user for the first time.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::registry::{Registry, UserWindow};
use super::ring::{BUCKETS, ESTIMATE_MAX, Slot, period};
use super::table::{Held, Table};
use crate::clock::Now;
use crate::units::MicroUsd;
use crate::who::Who;

/// One shard's windows: a bounded map to those of the registry. Forgetting one only costs another look-up there.
#[derive(Debug)]
pub struct LocalWindows {
    registry: Arc<Registry>,
    shard: usize,
    seats: Table<Rc<Seat>>,
}

/// A shard's slot in a user's window. Its references are counted without atomics, so that requests of one user on all
/// cores do not share a counter.
#[derive(Debug)]
struct Seat {
    cell: Arc<UserWindow>,
    slot: Arc<Slot>,
}

impl LocalWindows {
    /// # Panics
    ///
    /// If the registry does not know the shard, or the shard has its windows already: two threads would write the same
    /// slots.
    pub fn new(registry: Arc<Registry>, shard: usize) -> LocalWindows {
        assert!(registry.take_shard(shard), "shard {shard} has windows already, or is not one of this registry's");
        LocalWindows { registry, shard, seats: Table::new() }
    }

    /// Counts a request and its estimated cost, before it is judged.
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

    /// Forgets a few users that were idle for a minute. Called once per sweep of the shard.
    pub fn sweep(&mut self, now: Now) {
        let now = period(now);
        let silent = |seen: u64| seen + BUCKETS as u64 <= now;
        self.seats.sweep(SWEEP_STEP, |held| silent(held.seen) || held.it.cell.is_evicted());
    }

    /// Users that the shard knows at the moment.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seats.len() == 0
    }

    #[cold]
    fn seat(&mut self, hash: u64, who: Who<&str>, now: u64) -> Rc<Seat> {
        // An entry for an evicted window may still be there.
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
    /// Including this request, without refused ones.
    pub requests: u64,
    pub tokens: u64,
    /// The settled cost, plus the estimates of all *other* requests in flight. This request's own is
    /// [`WindowEntry::estimate`].
    pub cost: MicroUsd,
}

/// Evidence that a request was counted. [`WindowEntry::settle`] ends it once the request was answered;
/// [`WindowEntry::refuse`] or dropping it takes the request out of the count.
#[must_use = "dropping it takes the request out of the count again"]
#[derive(Debug)]
pub struct WindowEntry {
    seat: Rc<Seat>,
    /// The period under which it was counted.
    counted_at: u64,
    /// In micro-dollars, as added to `pending`.
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

    /// What this request counts as costing until it is settled.
    pub fn estimate(&self) -> MicroUsd {
        MicroUsd(self.estimate as i64)
    }

    /// Replaces the estimate, because the request goes to another model.
    pub fn reestimate(&mut self, estimate: MicroUsd) {
        let estimate = micro(estimate).min(ESTIMATE_MAX);
        self.seat.slot.move_pending(self.estimate, estimate);
        self.estimate = estimate;
        fence(Ordering::SeqCst);
    }

    /// Removes the request and its estimate, as if it had never come.
    pub fn refuse(self) {}

    /// Ends the request: what it used counts from now on instead of its estimate.
    pub fn settle(mut self, now: Now, tokens: u64, cost: MicroUsd) {
        let now = period(now);
        let slot = &self.seat.slot;
        if tokens > 0 {
            slot.tokens.add(now, tokens);
        }
        if cost > MicroUsd(0) {
            slot.settled.add(now, micro(cost));
        }
        // After the settled cost, see `Slot::move_pending`.
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

/// No cost is below zero.
fn micro(amount: MicroUsd) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

/// Users that a shard knows at once. Arbitrary: seldom more come in a minute, at about 100 bytes each.
pub const SEATS_MAX: usize = 16_384;
/// Users checked in one step of the sweep. Arbitrary: with a step every 25 ms, all are checked within 7 seconds.
const SWEEP_STEP: usize = 64;

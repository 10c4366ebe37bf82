//! Single flight: when many askers miss the same key at once, one fetches and the others wait for its answer.
//! Owned by the shard that owns the key. A pure state machine over tickets: it neither sends nor waits. It never makes the
//! waiters fetch one after the other: see [`Flights::failed`] and [`Flights::land`].
//!
//! ```text
//!   ask ── key not in flight ─► Lead ── land ────► the waiters get the answer, or each fetches alone
//!     └─── key in flight ─────► Wait    failed ──► the next waiter leads; after the second failure each fetches alone
//!                                       gone ────► the next waiter leads
//! ```

use hashbrown::HashTable;
use slab::Slab;

use super::key::Key;
use crate::clock::Now;

/// Calls in flight for the keys of one owner. `A` is an asker's address, which is returned unchanged.
#[derive(Debug)]
pub struct Flights<A> {
    /// Positions in `flights`.
    index: HashTable<usize>,
    flights: Slab<Flight>,
    seats: Slab<Seat<A>>,
    stamps: u64,
}

#[derive(Debug)]
struct Flight {
    key: Key,
    /// Seat of the leader; the waiters are linked behind it, in order of arrival.
    first: usize,
    last: usize,
    led_since_ns: u64,
    failures: u32,
}

#[derive(Debug)]
struct Seat<A> {
    asker: A,
    stamp: u64,
    flight: usize,
    before: usize,
    behind: usize,
}

/// An asker's place in a flight. A stale ticket (because its flight landed, for example) has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    seat: usize,
    stamp: u64,
}

/// The asker's part in a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fetch, then report the outcome with [`Flights::land`], [`Flights::failed`] or [`Flights::gone`].
    Lead(Ticket),
    /// Wait for the leader's answer; report giving up with [`Flights::gone`].
    Wait(Ticket),
    /// Fetch alone, because the maximum number of flights or askers is reached.
    Alone,
}

/// Next step after a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum After<A> {
    /// This asker leads now; the caller must notify it.
    Leads(A, Ticket),
    /// Each of these askers must fetch alone.
    Released(Vec<A>),
    /// Nobody waited.
    Nobody,
}

impl<A> Flights<A> {
    pub fn new() -> Flights<A> {
        Flights { index: HashTable::new(), flights: Slab::new(), seats: Slab::new(), stamps: 0 }
    }

    /// Registers an asker that missed this key.
    ///
    /// A leader that has been silent for more than [`LEAD_NS_MAX`] counts as lost, and this asker leads in its place.
    pub fn ask(&mut self, key: Key, asker: A, now: Now) -> Role {
        if self.seats.len() >= SEATS_MAX {
            return Role::Alone;
        }
        let found = self.index.find(key.table_hash(), |&at| self.flights.get(at).is_some_and(|it| it.key == key));
        let Some(&at) = found else {
            return if self.flights.len() >= FLIGHTS_MAX {
                Role::Alone
            } else {
                Role::Lead(self.take_off(key, asker, now))
            };
        };
        let flight = &self.flights[at];
        let last = flight.last;
        let lost = (now.mono_ns.saturating_sub(flight.led_since_ns) > LEAD_NS_MAX).then_some(flight.first);
        let ticket = self.sit(asker, at, last);
        let Some(lost) = lost else { return Role::Wait(ticket) };
        // Moves the new asker to the head of the waiters, then removes the lost leader from before it.
        self.unlink(ticket.seat);
        self.link_behind(ticket.seat, at, lost);
        self.leave(lost);
        self.flights[at].led_since_ns = now.mono_ns;
        Role::Lead(ticket)
    }

    /// Ends the flight because the leader has its answer. Returns the waiters. The caller gives them the answer, or, if the
    /// answer may not be shared (the provider returned an error, or the answer is too large), tells each to fetch alone, all
    /// at once and not one after the other. They have then waited in vain for one answer, and never for a second one.
    pub fn land(&mut self, leader: Ticket) -> Vec<A> {
        match self.led_by(leader) {
            Some(at) => {
                self.leave(leader.seat);
                self.release(at)
            }
            None => Vec::new(),
        }
    }

    /// Reports that the leader's call failed. The next waiter tries, because the fault may have been the leader's own (its
    /// timeout, its connection). When that call fails too, all other waiters are released: callers of a provider that is
    /// down should not have to find that out one after the other.
    pub fn failed(&mut self, leader: Ticket, now: Now) -> After<A>
    where
        A: Clone,
    {
        let Some(at) = self.led_by(leader) else { return After::Nobody };
        self.flights[at].failures += 1;
        if self.flights[at].failures < FAILURES_MAX {
            return self.gone(leader, now).map_or(After::Nobody, |(asker, ticket)| After::Leads(asker, ticket));
        }
        match self.land(leader) {
            released if released.is_empty() => After::Nobody,
            released => After::Released(released),
        }
    }

    /// Removes an asker that left. If it led, returns the next leader, which the caller must notify.
    pub fn gone(&mut self, asker: Ticket, now: Now) -> Option<(A, Ticket)>
    where
        A: Clone,
    {
        let led = self.led_by(asker);
        if led.is_none() && !self.is_seated(asker) {
            return None;
        }
        self.leave(asker.seat);
        let at = led?;
        let Some(first) = self.flights.get(at).map(|flight| flight.first).filter(|&first| first != NONE) else {
            self.end(at);
            return None;
        };
        self.flights[at].led_since_ns = now.mono_ns;
        let seat = &self.seats[first];
        Some((seat.asker.clone(), Ticket { seat: first, stamp: seat.stamp }))
    }

    /// Number of flights under way.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    fn take_off(&mut self, key: Key, asker: A, now: Now) -> Ticket {
        let flight = Flight { key, first: NONE, last: NONE, led_since_ns: now.mono_ns, failures: 0 };
        let at = self.flights.insert(flight);
        let flights = &self.flights;
        self.index.insert_unique(key.table_hash(), at, |&at| flights[at].key.table_hash());
        self.sit(asker, at, NONE)
    }

    fn sit(&mut self, asker: A, flight: usize, before: usize) -> Ticket {
        self.stamps += 1;
        let stamp = self.stamps;
        let seat = self.seats.insert(Seat { asker, stamp, flight, before: NONE, behind: NONE });
        self.link_behind(seat, flight, before);
        Ticket { seat, stamp }
    }

    fn is_seated(&self, ticket: Ticket) -> bool {
        self.seats.get(ticket.seat).is_some_and(|seat| seat.stamp == ticket.stamp)
    }

    /// Returns the flight that this ticket leads, if any.
    fn led_by(&self, ticket: Ticket) -> Option<usize> {
        let seat = self.seats.get(ticket.seat).filter(|seat| seat.stamp == ticket.stamp)?;
        (self.flights.get(seat.flight)?.first == ticket.seat).then_some(seat.flight)
    }

    fn leave(&mut self, seat: usize) {
        self.unlink(seat);
        self.seats.remove(seat);
    }

    /// Ends a flight and returns the askers that were still in it.
    fn release(&mut self, at: usize) -> Vec<A> {
        let mut released = Vec::new();
        let mut next = self.flights[at].first;
        while let Some(seat) = self.seats.try_remove(next) {
            next = seat.behind;
            released.push(seat.asker);
        }
        self.end(at);
        released
    }

    fn end(&mut self, at: usize) {
        let flight = self.flights.remove(at);
        let entry = self.index.find_entry(flight.key.table_hash(), |&indexed| indexed == at);
        entry.expect("every flight is indexed").remove();
    }

    /// Links a seat behind `before`. `NONE` as `before` makes it the head of an empty flight.
    fn link_behind(&mut self, seat: usize, flight: usize, before: usize) {
        let behind = self.seats.get_mut(before).map_or(NONE, |it| std::mem::replace(&mut it.behind, seat));
        match self.seats.get_mut(behind) {
            Some(it) => it.before = seat,
            None => self.flights[flight].last = seat,
        }
        if before == NONE {
            self.flights[flight].first = seat;
        }
        let it = &mut self.seats[seat];
        (it.before, it.behind) = (before, behind);
    }

    fn unlink(&mut self, seat: usize) {
        let Seat { flight, before, behind, .. } = self.seats[seat];
        match self.seats.get_mut(before) {
            Some(it) => it.behind = behind,
            None => self.flights[flight].first = behind,
        }
        match self.seats.get_mut(behind) {
            Some(it) => it.before = before,
            None => self.flights[flight].last = before,
        }
    }
}

impl<A> Default for Flights<A> {
    fn default() -> Self {
        Flights::new()
    }
}

/// Marks the absence of a seat: no seat has this number.
const NONE: usize = usize::MAX;
/// Most flights of one owner. Arbitrary: enough for 4,096 different misses a second if a call takes one second.
pub const FLIGHTS_MAX: usize = 4096;
/// Most askers in all flights of one owner. Arbitrary: most of the connections allowed by default.
pub const SEATS_MAX: usize = 16_384;
/// Number of failures in one flight after which the remaining waiters are released.
const FAILURES_MAX: u32 = 2;
/// Longest silence of a leader before it counts as lost: ten minutes, the longest that OpenAI's own clients wait for an
/// answer.
pub const LEAD_NS_MAX: u64 = 600_000_000_000;

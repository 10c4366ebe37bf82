//! Single flight: of many who miss the same key at once, one fetches and the others wait for its answer.
//! Owned by the key's owner; a pure state machine over tickets, which neither sends nor waits. It never lets a queue be
//! served one call after the other: see [`Flights::failed`] and [`Flights::land`].
//!
//! ```text
//!   ask ── nobody flies ──► Lead ── land ────► the others: here it is, or: each for itself
//!     └─── somebody does ─► Wait    failed ──► the next leads; the second time: each for itself
//!                                   gone ────► the next leads
//! ```

use hashbrown::HashTable;
use slab::Slab;

use super::key::Key;
use crate::clock::Now;

/// The calls under way of one owner. `A` is an asker's address, which comes back unchanged.
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
    /// The leader; behind it those who wait, in the order in which they came.
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

/// An asker's place. One that is over (its flight landed, say) does nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    seat: usize,
    stamp: u64,
}

/// What an asker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fetch, and say how it ended: [`Flights::land`], [`Flights::failed`], [`Flights::gone`].
    Lead(Ticket),
    /// Wait; and say when it does not any more: [`Flights::gone`].
    Wait(Ticket),
    /// Fetch for itself alone, because as many wait as may.
    Alone,
}

/// Who goes on after a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum After<A> {
    /// This one leads now, and is to be told.
    Leads(A, Ticket),
    /// All of these are to fetch, each for itself.
    Released(Vec<A>),
    /// Nobody waited.
    Nobody,
}

impl<A> Flights<A> {
    pub fn new() -> Flights<A> {
        Flights { index: HashTable::new(), flights: Slab::new(), seats: Slab::new(), stamps: 0 }
    }

    /// Someone missed this key.
    ///
    /// A leader of whom nothing was heard for [`LEAD_NS_MAX`] is taken for lost, and this asker leads in its place.
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
        // To the head of those who wait, then the lost one out from before it.
        self.unlink(ticket.seat);
        self.link_behind(ticket.seat, at, lost);
        self.leave(lost);
        self.flights[at].led_since_ns = now.mono_ns;
        Role::Lead(ticket)
    }

    /// The leader has its answer, and the flight is over. Those who waited: to be given the answer, or, if it may not be
    /// shared (an error of the provider's own, larger than allowed), to be told to fetch each for itself, at once and not
    /// one after the other. They have then waited for one answer in vain, and never for a second one.
    pub fn land(&mut self, leader: Ticket) -> Vec<A> {
        match self.led_by(leader) {
            Some(at) => {
                self.leave(leader.seat);
                self.release(at)
            }
            None => Vec::new(),
        }
    }

    /// The leader's call failed. The next one tries, because the fault may have been the leader's own (its timeout, its
    /// connection); when that fails too, all others are released, because callers of a provider that is down should not
    /// have to find that out one after the other.
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

    /// An asker left. If it led, the one who leads now and is to be told.
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

    /// Flights under way.
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

    /// The flight that this one leads.
    fn led_by(&self, ticket: Ticket) -> Option<usize> {
        let seat = self.seats.get(ticket.seat).filter(|seat| seat.stamp == ticket.stamp)?;
        (self.flights.get(seat.flight)?.first == ticket.seat).then_some(seat.flight)
    }

    fn leave(&mut self, seat: usize) {
        self.unlink(seat);
        self.seats.remove(seat);
    }

    /// Ends a flight; those who still sat in it.
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

    /// `NONE` as `before`: at the head of an empty flight.
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

/// No seat has this number.
const NONE: usize = usize::MAX;
/// Flights of one owner. Arbitrary: calls that take a second, at 4,096 different misses a second.
pub const FLIGHTS_MAX: usize = 4096;
/// Askers in all flights of one owner. Arbitrary: most of the connections that are allowed by default.
pub const SEATS_MAX: usize = 16_384;
/// Failures in one flight, after which those who are left are released.
const FAILURES_MAX: u32 = 2;
/// Ten minutes: what OpenAI's own clients wait for an answer at most.
pub const LEAD_NS_MAX: u64 = 600_000_000_000;

//! A shard's part of the cache: the entries for the keys that it owns, and the calls in flight for keys without an entry.
//! Owned by that shard: other shards ask by message, and the shard itself asks directly. It never keeps an asker waiting for
//! an answer that it holds.

use std::sync::Arc;

use super::entry::CachedAnswer;
use super::flight::{After, Flights, Role, Ticket};
use super::key::Key;
use super::store::Store;
use crate::clock::Now;

/// One shard's part of the cache. `A` is an asker's address.
#[derive(Debug)]
pub struct Owner<A> {
    /// Public for limits, sweeps and counts, and for lookups and inserts outside any flight (`Cache-Control: no-cache`).
    pub store: Store,
    flights: Flights<A>,
}

/// Result of a cache lookup.
#[derive(Debug)]
pub enum Answer<'o> {
    /// The cached answer.
    Hit(&'o Arc<CachedAnswer>),
    /// No answer is cached; [`Role`] says how the asker goes on.
    Miss(Role),
}

impl<A: Clone> Owner<A> {
    pub fn new(store: Store) -> Owner<A> {
        Owner { store, flights: Flights::new() }
    }

    /// Looks up the answer for this key. On a miss, the asker joins the key's flight.
    pub fn ask(&mut self, key: Key, asker: A, now: Now) -> Answer<'_> {
        let held = self.store.locate(key, now);
        if let Some(entry) = held.and_then(|at| self.store.at(at)) {
            return Answer::Hit(entry);
        }
        Answer::Miss(self.flights.ask(key, asker, now))
    }

    /// Stores the leader's answer, which may be shared, and ends the flight. Returns the waiters, which must be given the
    /// answer even if it was too large to store.
    pub fn landed(&mut self, leader: Ticket, entry: &Arc<CachedAnswer>, now: Now) -> Vec<A> {
        self.store.insert(entry, now);
        self.flights.land(leader)
    }

    /// Ends the flight because the leader's answer may not be shared. Returns the waiters, each of which must fetch alone.
    pub fn unshared(&mut self, leader: Ticket) -> Vec<A> {
        self.flights.land(leader)
    }

    /// See [`Flights::failed`].
    pub fn failed(&mut self, leader: Ticket, now: Now) -> After<A> {
        self.flights.failed(leader, now)
    }

    /// See [`Flights::gone`].
    pub fn gone(&mut self, asker: Ticket, now: Now) -> Option<(A, Ticket)> {
        self.flights.gone(asker, now)
    }

    /// Number of flights under way.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }
}

//! What a shard does for the keys that it owns: its entries, and the calls under way for those that it has not.
//! Owned by that shard; other shards ask by message, its own directly. It never keeps an asker waiting for an answer that
//! it holds.

use std::sync::Arc;

use super::entry::CachedAnswer;
use super::flight::{After, Flights, Role, Ticket};
use super::key::Key;
use super::store::Store;
use crate::clock::Now;

/// One shard's part of the cache. `A` is an asker's address.
#[derive(Debug)]
pub struct Owner<A> {
    /// For limits, sweeps and counts; and for what is asked or stored outside any flight (`Cache-Control: no-cache`).
    pub store: Store,
    flights: Flights<A>,
}

/// What an asker is to do.
#[derive(Debug)]
pub enum Answer<'o> {
    /// Here it is.
    Hit(&'o Arc<CachedAnswer>),
    /// See [`Role`].
    Miss(Role),
}

impl<A: Clone> Owner<A> {
    pub fn new(store: Store) -> Owner<A> {
        Owner { store, flights: Flights::new() }
    }

    /// Someone wants the answer of this key.
    pub fn ask(&mut self, key: Key, asker: A, now: Now) -> Answer<'_> {
        let held = self.store.locate(key, now);
        if let Some(entry) = held.and_then(|at| self.store.at(at)) {
            return Answer::Hit(entry);
        }
        Answer::Miss(self.flights.ask(key, asker, now))
    }

    /// The leader has an answer that may be shared. Those to be given it; it is theirs even where it was too large to store.
    pub fn landed(&mut self, leader: Ticket, entry: &Arc<CachedAnswer>, now: Now) -> Vec<A> {
        self.store.insert(entry, now);
        self.flights.land(leader)
    }

    /// The leader has an answer that may not be shared. Those who are to fetch, each for itself.
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

    /// Calls under way.
    pub fn flights(&self) -> usize {
        self.flights.len()
    }
}

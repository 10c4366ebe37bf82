//! What shards share and write, exhaustively, as one type: usage windows, rate limits, circuit breakers, heartbeats. Made once
//! when the process starts and never replaced; shards and the coordinator hold it by `Arc`. No shard takes a lock or waits here,
//! except in [`Shared::windows`] when it meets a user for the first time.
//!
//! Plans hold ids into it ([`ProviderSlots`]) and no state. So a plan can be replaced while requests run: a provider that keeps
//! its name keeps its breaker and its limit, whichever plan a request started with.

// Breakers and limits by id.
mod slots;

// Whether each shard is alive.
mod heartbeats;

use std::sync::Arc;

use crate::breaker::Breaker;
use crate::limit::Limit;
use crate::usage::Registry;

pub use heartbeats::{Heartbeats, STALLED_MS};
pub use slots::{BreakerId, LimitId, NoFreeSlot, ProviderSlots, SLOTS_MAX, SlotClaims};

use slots::SlotTable;

/// All state that several shards write.
#[derive(Debug)]
pub struct Shared {
    /// What each user used in the last minute.
    pub windows: Arc<Registry>,
    /// Whether each shard is alive.
    pub heartbeats: Heartbeats,
    limits: SlotTable<Limit>,
    breakers: SlotTable<Breaker>,
}

impl Shared {
    /// For shards numbered from zero.
    pub fn new(shards: usize) -> Arc<Shared> {
        Arc::new(Shared {
            windows: Registry::new(shards),
            heartbeats: Heartbeats::new(shards),
            limits: SlotTable::default(),
            breakers: SlotTable::default(),
        })
    }

    /// The limit behind an id.
    #[inline]
    pub fn limit(&self, id: LimitId) -> &Limit {
        self.limits.at(id.0)
    }

    /// Slots for a plan in the making. `in_use` are those of all plans that a request may still be using, the running plan included.
    pub fn claim_slots(&self, in_use: impl IntoIterator<Item = ProviderSlots>) -> SlotClaims<'_> {
        SlotClaims::new(&self.breakers, &self.limits, in_use)
    }

    /// The breaker behind an id.
    #[inline]
    pub fn breaker(&self, id: BreakerId) -> &Breaker {
        self.breakers.at(id.0)
    }
}

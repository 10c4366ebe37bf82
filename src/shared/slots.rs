//! Breakers and limits by id. Shards read them without a lock; the coordinator claims them for a plan in the making.
//!
//! *Invariant:* an id means the same breaker or limit for as long as a plan names it. A slot is used again only when no plan
//! that may still be in use names it, so the number of slots bounds what is in use at once and not the number of reloads.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::breaker::Breaker;
use crate::clock::Now;
use crate::limit::{Ceiling, Limit};

/// The index of a breaker in [`Shared`](super::Shared).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerId(pub(super) u16);

/// The index of a limit in [`Shared`](super::Shared).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitId(pub(super) u16);

/// What a plan's provider shares with all shards and with other plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderSlots {
    /// Whether it is worth asking.
    pub breaker: BreakerId,
    /// How often it may be asked; absent if there is no limit.
    pub limit: Option<LimitId>,
}

/// Breakers, or limits, that are in use at once. Arbitrary: more than anybody configures, and the empty table stays small.
pub const SLOTS_MAX: usize = 4_096;

/// All breakers or all limits are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {SLOTS_MAX} providers are in use at once, those of replaced configurations included")]
pub struct NoFreeSlot;

/// A table whose slots are made when they are first claimed and are never freed.
#[derive(Debug)]
pub(super) struct SlotTable<T>(Box<[OnceLock<Box<T>>]>);

impl<T> Default for SlotTable<T> {
    fn default() -> Self {
        SlotTable((0..SLOTS_MAX).map(|_| OnceLock::new()).collect())
    }
}

impl<T: Default> SlotTable<T> {
    #[inline]
    pub(super) fn at(&self, index: u16) -> &T {
        self.0[usize::from(index)].get_or_init(Box::default)
    }
}

/// Gives a plan in the making the slots that it does not take over from the plan before.
#[derive(Debug)]
pub struct SlotClaims<'s> {
    breakers: (&'s SlotTable<Breaker>, FreeIndexes),
    limits: (&'s SlotTable<Limit>, FreeIndexes),
}

impl<'s> SlotClaims<'s> {
    pub(super) fn new(
        breakers: &'s SlotTable<Breaker>,
        limits: &'s SlotTable<Limit>,
        in_use: impl IntoIterator<Item = ProviderSlots>,
    ) -> SlotClaims<'s> {
        let (mut free_breakers, mut free_limits) = (FreeIndexes::default(), FreeIndexes::default());
        for slots in in_use {
            free_breakers.in_use.insert(slots.breaker.0);
            free_limits.in_use.extend(slots.limit.map(|id| id.0));
        }
        SlotClaims { breakers: (breakers, free_breakers), limits: (limits, free_limits) }
    }

    /// A closed breaker that no plan uses.
    ///
    /// # Errors
    /// All of [`SLOTS_MAX`] are in use.
    pub fn breaker(&mut self) -> Result<BreakerId, NoFreeSlot> {
        let (table, free) = &mut self.breakers;
        let index = free.claim()?;
        table.at(index).restart();
        Ok(BreakerId(index))
    }

    /// A limit that no plan uses and to which nothing is charged.
    ///
    /// # Errors
    /// All of [`SLOTS_MAX`] are in use.
    pub fn limit(&mut self, ceiling: Ceiling, now: Now) -> Result<LimitId, NoFreeSlot> {
        let (table, free) = &mut self.limits;
        let index = free.claim()?;
        table.at(index).restart(ceiling, now);
        Ok(LimitId(index))
    }
}

#[derive(Debug, Default)]
struct FreeIndexes {
    in_use: BTreeSet<u16>,
    /// All below it are in use.
    next: u16,
}

impl FreeIndexes {
    fn claim(&mut self) -> Result<u16, NoFreeSlot> {
        while self.in_use.contains(&self.next) {
            self.next += 1;
        }
        let claimed = self.next;
        if usize::from(claimed) >= SLOTS_MAX {
            return Err(NoFreeSlot);
        }
        self.next += 1;
        Ok(claimed)
    }
}

const _: () = assert!(SLOTS_MAX < u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::super::Shared;
    use super::*;
    use crate::breaker::{BreakerRules, BreakerState, CallResult};

    const ONE: Ceiling = Ceiling::Grant { units: 1 };

    fn in_use(breaker: BreakerId, limit: LimitId) -> ProviderSlots {
        ProviderSlots { breaker, limit: Some(limit) }
    }

    #[test]
    fn slots_in_use_are_not_claimed_again_and_free_ones_start_afresh() {
        let (shared, now, rules) = (Shared::new(1), Now::default(), BreakerRules { failures: 1, ..Default::default() });
        let mut claims = shared.claim_slots([]);
        let (breaker, limit) = (claims.breaker().unwrap(), claims.limit(ONE, now).unwrap());
        assert!((claims.breaker().unwrap(), claims.limit(ONE, now).unwrap()) != (breaker, limit));
        shared.breaker(breaker).ask(&rules, now).unwrap().end(CallResult::Failure, now, 0);
        let _charge = shared.limit(limit).charge(now).unwrap();
        let used_up = || (shared.breaker(breaker).state(now).name(), shared.limit(limit).standing(now).remaining);

        let mut claims = shared.claim_slots([in_use(breaker, limit)]);
        assert!(claims.breaker().unwrap() != breaker && claims.limit(ONE, now).unwrap() != limit);
        assert_eq!(used_up(), ("open", 0));

        let mut claims = shared.claim_slots([]);
        assert_eq!((claims.breaker(), claims.limit(ONE, now)), (Ok(breaker), Ok(limit)));
        assert_eq!(used_up(), ("closed", 1));
        assert_eq!(shared.breaker(breaker).state(now), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn claims_beyond_the_table_are_refused() {
        let shared = Shared::new(1);
        let mut claims = shared.claim_slots([]);
        (0..SLOTS_MAX).for_each(|_| assert!(claims.breaker().is_ok()));
        assert_eq!(claims.breaker(), Err(NoFreeSlot));
        assert!(claims.limit(ONE, Now::default()).is_ok(), "limits have a table of their own");
    }
}

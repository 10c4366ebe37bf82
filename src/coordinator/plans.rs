//! The plan in force, and the plans that it replaced until no request uses them. Owned by the coordinator's thread. It keeps a
//! plan until it is the last to hold it, so that no shard has to free a hundred compiled policies.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::helpers::resolver::{Resolver, names};
use crate::clock::Now;
use crate::plan::Plan;
use crate::shared::{Shared, SlotClaims};

/// A host and a port.
pub(super) type Name = (Arc<str>, u16);

/// The published plan and the retired ones.
pub(super) struct Plans {
    published: Arc<ArcSwap<Plan>>,
    /// Holds the breakers and limits that plans refer to.
    shared: Arc<Shared>,
    /// Replaced plans that a request may still use.
    retired: Vec<Arc<Plan>>,
    /// Names that are not resolved any more, but that a request under a retired plan may need.
    leaving: Vec<Name>,
}

impl Plans {
    pub(super) fn new(published: Arc<ArcSwap<Plan>>, shared: Arc<Shared>) -> Plans {
        Plans { published, shared, retired: Vec::new(), leaving: Vec::new() }
    }

    /// The plan in force.
    pub(super) fn running(&self) -> Arc<Plan> {
        self.published.load_full()
    }

    /// Claims slots for the next plan, from those that no plan in use refers to.
    pub(super) fn claim_slots(&self) -> SlotClaims<'_> {
        let running = self.running();
        self.shared.claim_slots(self.retired.iter().chain([&running]).flat_map(|plan| plan.slots()))
    }

    /// Makes `plan` the one that judges the next request of every shard. The resolver must follow its names already.
    pub(super) fn publish(&mut self, plan: Plan, resolver: &mut Resolver, now: Now) {
        plan.apply_ceilings(&self.shared, now);
        self.leaving.extend(resolver.release(&plan));
        self.retired.push(self.published.swap(Arc::new(plan)));
        // Now rather than at the next tick, for bursts of changes.
        self.free();
    }

    /// Frees the plans that no request uses, and returns the names that no request can need any more.
    pub(super) fn prune(&mut self) -> Vec<Name> {
        self.free();
        if self.leaving.is_empty() {
            return Vec::new();
        }
        let running = self.running();
        // A name that came back is not leaving.
        self.leaving.retain(|name| !names(&running).any(|named| named == *name));
        let needed: Vec<Name> = self.retired.iter().flat_map(|plan| names(plan)).collect();
        let (kept, gone) = self.leaving.drain(..).partition(|name| needed.contains(name));
        self.leaving = kept;
        gone
    }

    fn free(&mut self) {
        // A plan that only this list holds cannot be handed out again.
        self.retired.retain(|plan| Arc::strong_count(plan) > 1);
    }

    /// Number of retired plans in use.
    #[cfg(test)]
    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }
}

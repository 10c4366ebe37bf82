//! The plan that runs, and those that it replaced until nobody uses them any more. Owned by the coordinator. It never lets a
//! shard be the last to hold a plan: freeing a hundred compiled policies is no work for one.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::helpers::resolver::{Resolver, names};
use crate::clock::Now;
use crate::plan::Plan;
use crate::shared::{Shared, SlotClaims};

/// A host and port.
pub(super) type Name = (Arc<str>, u16);

/// The published plan and the retired ones.
pub(super) struct Plans {
    published: Arc<ArcSwap<Plan>>,
    /// Has the breakers and limits that plans name.
    shared: Arc<Shared>,
    /// In use by some request, perhaps.
    retired: Vec<Arc<Plan>>,
    /// Not followed any more, but perhaps needed by a request under a retired plan.
    leaving: Vec<Name>,
}

impl Plans {
    pub(super) fn new(published: Arc<ArcSwap<Plan>>, shared: Arc<Shared>) -> Plans {
        Plans { published, shared, retired: Vec::new(), leaving: Vec::new() }
    }

    /// The plan that runs.
    pub(super) fn running(&self) -> Arc<Plan> {
        self.published.load_full()
    }

    /// Slots for the plan that comes next: those that no plan in use names.
    pub(super) fn claim_slots(&self) -> SlotClaims<'_> {
        let running = self.running();
        self.shared.claim_slots(self.retired.iter().chain([&running]).flat_map(|plan| plan.slots()))
    }

    /// Makes `plan` the one that the next request of every shard is judged by. Its names must be followed already.
    pub(super) fn publish(&mut self, plan: Plan, resolver: &mut Resolver, now: Now) {
        plan.apply_ceilings(&self.shared, now);
        self.leaving.extend(resolver.release(&plan));
        self.retired.push(self.published.swap(Arc::new(plan)));
        // A burst of changes does not wait for the next tick.
        self.free();
    }

    /// Frees what nobody uses any more, and tells the names that no request can need.
    pub(super) fn prune(&mut self) -> Vec<Name> {
        self.free();
        if self.leaving.is_empty() {
            return Vec::new();
        }
        let running = self.running();
        // One that came back is not leaving.
        self.leaving.retain(|name| !names(&running).any(|named| named == *name));
        let needed: Vec<Name> = self.retired.iter().flat_map(|plan| names(plan)).collect();
        let (stay, gone) = self.leaving.drain(..).partition(|name| needed.contains(name));
        self.leaving = stay;
        gone
    }

    fn free(&mut self) {
        // Only this list holds it: no one can come to hold it again.
        self.retired.retain(|plan| Arc::strong_count(plan) > 1);
    }

    /// How many retired plans are in use.
    #[cfg(test)]
    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }
}

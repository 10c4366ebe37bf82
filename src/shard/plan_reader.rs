//! The shard's view of the plan that runs. Owned by one shard thread: the check whether a newer plan was published is one
//! atomic load, and a request's reference to its plan is counted without atomics.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::plan::Plan;

/// Hands out the newest plan. Only the coordinator ever frees a plan.
pub(crate) struct PlanReader {
    published: RefCell<arc_swap::Cache<Arc<ArcSwap<Plan>>, Arc<Plan>>>,
    /// The plan that `published` held last.
    current: RefCell<Rc<PlanRef>>,
}

/// A plan that this shard holds.
pub(crate) struct PlanRef(Arc<Plan>);

impl Deref for PlanRef {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

impl PlanReader {
    pub(crate) fn new(published: Arc<ArcSwap<Plan>>) -> PlanReader {
        let current = RefCell::new(Rc::new(PlanRef(published.load_full())));
        PlanReader { current, published: RefCell::new(arc_swap::Cache::new(published)) }
    }

    /// The plan as of now. A request takes it once and keeps it.
    pub(crate) fn plan(&self) -> Rc<PlanRef> {
        let mut published = self.published.borrow_mut();
        let (newest, mut current) = (published.load(), self.current.borrow_mut());
        if !Arc::ptr_eq(newest, &current.0) {
            *current = Rc::new(PlanRef(newest.clone()));
        }
        current.clone()
    }
}

//! A shard: the sum of its parts, shared by its tasks. Only connections, listeners and orders see all of it; every stage of a
//! request takes the parts it needs. Nothing in it crosses a thread but the published plan and the channels.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::account::Accounting;
use super::ground::Ground;
use super::judge::admit::Governor;
use super::plan_reader::PlanReader;
use super::upstream::Upstream;
use crate::link::Event;

/// The state of one shard.
pub(crate) struct Shard {
    pub(crate) ground: Rc<Ground>,
    pub(crate) plans: PlanReader,
    pub(crate) governor: RefCell<Governor>,
    pub(crate) accounting: Rc<Accounting>,
    pub(crate) upstream: Upstream,
    /// To the coordinator.
    pub(crate) events: flume::Sender<Event>,
    /// Open connections of callers.
    pub(crate) connections: Cell<usize>,
    /// Listeners that still accept.
    pub(crate) listeners: Cell<usize>,
}

impl Shard {
    /// Connections that this shard may have at once.
    pub(crate) fn connections_max(&self) -> usize {
        self.plans.plan().connections_max.div_ceil(self.ground.shards)
    }
}

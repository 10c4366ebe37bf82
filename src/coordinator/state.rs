//! Everything that the coordinator knows: the fields and a few sums over them. Owned by the coordinator's thread. It reacts
//! to nothing: `run` dispatches, and the modules between take `&mut State`.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::access::AccessState;
use super::helpers::otlp::Otlp;
use super::helpers::read_thread::ReadThread;
use super::helpers::resolver::Resolver;
use super::keeper::Keeper;
use super::life::{Life, LifecycleParts};
use super::live_tail::LiveTail;
use super::plans::Plans;
use super::policies::Policies;
use super::running::Running;
use super::store::Store;
use super::tally_totals::TallyTotals;
use super::write_queue::WriteQueue;
use crate::clock::{Clock, Now};
use crate::link::{Driver, Order};
use crate::plan::Plan;
use crate::shared::Shared;

/// Parts of the coordinator's state.
pub struct StateParts {
    /// The process's clock.
    pub clock: Clock,
    /// The plan that shards read.
    pub plan: Arc<ArcSwap<Plan>>,
    /// What shards share.
    pub shared: Arc<Shared>,
    /// One sender of orders to each shard.
    pub orders: Vec<flume::Sender<Order>>,
    pub keeper: Keeper,
    /// The policies in the plan.
    pub policies: Policies,
    /// The configuration that the plan was made of.
    pub running: Running,
    /// Resolves the plan's host names.
    pub resolver: Resolver,
    pub life: LifecycleParts,
}

/// The coordinator's state.
pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) started: Now,
    pub(super) running: Running,
    pub(super) plans: Plans,
    /// What shards share.
    pub(super) shared: Arc<Shared>,
    pub(super) resolver: Resolver,
    pub(super) policies: Policies,
    pub(super) keeper: Keeper,
    pub(super) write_queue: WriteQueue,
    pub(super) read_thread: ReadThread,
    pub(super) live_tail: LiveTail,
    /// `None` unless the environment names a collector.
    pub(super) otlp: Option<Otlp>,
    pub(super) access: AccessState,
    /// Counts running exports: each holds a clone.
    pub(super) exports: Arc<()>,
    pub(super) orders: Vec<flume::Sender<Order>>,
    pub(super) shards: Vec<ShardState>,
    pub(super) totals: TallyTotals,
    pub(super) life: Life,
}

/// The state of one shard, as last reported.
#[derive(Clone, Default)]
pub(super) struct ShardState {
    pub(super) driver: Option<Driver>,
    /// Epoch of its last report.
    pub(super) epoch: u64,
    pub(super) in_flight: u64,
    pub(super) cache_items: u64,
    /// It accepts no connections any more.
    pub(super) stopped: bool,
    pub(super) drained: bool,
}

impl State {
    pub(super) fn new(parts: StateParts) -> State {
        let StateParts { clock, plan, shared, orders, keeper, policies, running, resolver, life } = parts;
        State {
            clock,
            started: clock.now(),
            running,
            plans: Plans::new(plan, shared.clone()),
            shared,
            resolver,
            policies,
            read_thread: ReadThread::new(keeper.store().map(Store::path), clock),
            keeper,
            write_queue: WriteQueue::default(),
            live_tail: LiveTail::new(clock.now()),
            otlp: Otlp::start(clock),
            access: AccessState::default(),
            exports: Arc::default(),
            shards: vec![ShardState::default(); orders.len()],
            orders,
            totals: TallyTotals::default(),
            life: Life::new(life),
        }
    }

    /// Sends an order to every shard. Never waits: a shard with [`crate::link::ORDERS_MAX`] orders in its queue is stuck for
    /// good.
    pub(super) fn send_order(&self, order: &Order) {
        for (shard, orders) in self.orders.iter().enumerate() {
            if orders.try_send(order.clone()).is_err() {
                tracing::error!(shard, "a shard does not take orders");
            }
        }
    }

    /// Entries in the cache, as last reported.
    pub(super) fn cache_items(&self) -> u64 {
        self.shards.iter().map(|shard| shard.cache_items).sum()
    }

    /// Requests in flight, as last reported.
    pub(super) fn in_flight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.in_flight).sum()
    }
}

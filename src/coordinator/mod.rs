//! The control plane: one thread, one loop over one [`Event`] enum. It merges what the shards count, answers the REST API,
//! resolves names through helpers, drains the process. It never holds a shard up: orders are tried, not waited for.

mod api; // the REST API, a file per resource
mod ledger; // the merged counts
mod metrics; // the ledger as Prometheus text
pub mod resolver; // names to addresses, on helper threads
mod signals;
pub mod store; // policies and their audit in SQLite
pub mod watch; // changes of the configuration's file // SIGTERM and SIGINT

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Now};
use crate::link::{ApiCall, Driver, Event, Order};
use crate::plan::Plan;
use ledger::Ledger;

/// The loop wakes at least so often: for deadlines of its own.
const TICK: Duration = Duration::from_millis(100);
/// A question that needs fresh counts waits so long for the slowest shard, then is answered with what is there.
const FLUSH_PATIENCE_MS: u64 = 500;
/// Questions that may wait for fresh counts at once; more are answered at once with what is there.
const WAITING_MAX: usize = 256;

/// The coordinator's state.
pub struct Coordinator {
    clock: Clock,
    started: Now,
    plan: Arc<ArcSwap<Plan>>,
    events: flume::Receiver<Event>,
    orders: Vec<flume::Sender<Order>>,
    shards: Vec<ShardState>,
    ledger: Ledger,
    epoch: u64,
    waiting: VecDeque<Waiting>,
    draining: bool,
}

/// What is known of a shard.
#[derive(Clone, Default)]
struct ShardState {
    driver: Option<Driver>,
    epoch: u64,
    in_flight: u64,
    drained: bool,
}

/// A question that waits until every shard has reported.
struct Waiting {
    call: ApiCall,
    epoch: u64,
    until_ms: u64,
}

impl Coordinator {
    /// A coordinator for shards that follow `orders` and send to `events`.
    pub fn new(
        clock: Clock,
        plan: Arc<ArcSwap<Plan>>,
        events: flume::Receiver<Event>,
        orders: Vec<flume::Sender<Order>>,
    ) -> Coordinator {
        Coordinator {
            clock,
            started: clock.now(),
            plan,
            events,
            shards: vec![ShardState::default(); orders.len()],
            orders,
            ledger: Ledger::default(),
            epoch: 0,
            waiting: VecDeque::new(),
            draining: false,
        }
    }

    /// Runs until the process is to end. `listening` is called once, when every shard accepts connections.
    ///
    /// # Errors
    /// A shard could not start.
    pub fn run(mut self, listening: impl FnOnce(&[Driver])) -> anyhow::Result<()> {
        let mut listening = Some(listening);
        loop {
            match self.events.recv_timeout(TICK) {
                Ok(event) => self.handle(event)?,
                Err(flume::RecvTimeoutError::Timeout) => {}
                Err(flume::RecvTimeoutError::Disconnected) => anyhow::bail!("every shard is gone"),
            }
            self.answer_waiting();
            if listening.is_some() {
                let drivers: Vec<Driver> = self.shards.iter().filter_map(|shard| shard.driver).collect();
                if drivers.len() == self.shards.len()
                    && let Some(listening) = listening.take()
                {
                    listening(&drivers);
                }
            }
            if self.draining && self.shards.iter().all(|shard| shard.drained) {
                tracing::info!("stopped");
                return Ok(());
            }
        }
    }

    fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Listening { shard, driver } => self.shard(shard).driver = Some(driver),
            Event::Failed { shard, error } => anyhow::bail!("shard {shard} could not start: {error}"),
            Event::Report { shard, epoch, tally } => {
                self.ledger.add(&tally);
                let state = self.shard(shard);
                state.epoch = state.epoch.max(epoch);
                state.in_flight = tally.in_flight;
            }
            Event::Call(call) => self.call(call),
            Event::Drained { shard, cut } => {
                if cut > 0 {
                    tracing::warn!(shard, connections = cut, "gave connections up at the end of drain_timeout");
                }
                self.shard(shard).drained = true;
            }
            Event::Resolved { host, port, result } => self.resolved(host, port, result),
            Event::Terminate if self.draining => {
                tracing::warn!("told to stop again: stopping at once");
                self.shards.iter_mut().for_each(|shard| shard.drained = true);
            }
            Event::Terminate => {
                tracing::info!("draining");
                self.draining = true;
                self.order(&Order::Drain);
            }
        }
        Ok(())
    }

    fn shard(&mut self, index: usize) -> &mut ShardState {
        &mut self.shards[index]
    }

    /// Tells every shard. One that has not taken its last [`crate::link::ORDERS_MAX`] orders is stuck for good.
    fn order(&self, order: &Order) {
        for (shard, orders) in self.orders.iter().enumerate() {
            if orders.try_send(order.clone()).is_err() {
                tracing::error!(shard, "a shard does not take orders");
            }
        }
    }

    fn resolved(&self, host: Arc<str>, port: u16, result: Result<Arc<[std::net::SocketAddr]>, String>) {
        let addresses = result.unwrap_or_else(|error| {
            tracing::warn!(host = &*host, error, "could not resolve a provider's name");
            Arc::new([])
        });
        self.order(&Order::Addresses { host, port, addresses });
    }

    /// Answers a REST request, at once or when every shard has reported.
    fn call(&mut self, call: ApiCall) {
        if !api::needs_fresh_counts(&call) || self.waiting.len() >= WAITING_MAX {
            self.answer(call);
            return;
        }
        self.epoch += 1;
        self.order(&Order::Flush { epoch: self.epoch });
        let until_ms = self.clock.now().mono_ms() + FLUSH_PATIENCE_MS;
        self.waiting.push_back(Waiting { call, epoch: self.epoch, until_ms });
    }

    fn answer_waiting(&mut self) {
        let reported = self.shards.iter().map(|shard| shard.epoch).min().unwrap_or(0);
        while let Some(first) = self.waiting.front() {
            if first.epoch > reported && self.clock.now().mono_ms() < first.until_ms {
                return;
            }
            if let Some(waiting) = self.waiting.pop_front() {
                self.answer(waiting.call);
            }
        }
    }

    fn answer(&self, call: ApiCall) {
        let answer = api::answer(self, &call);
        // The caller may have left.
        let _ = call.reply.try_send(answer);
    }
}

pub use signals::listen as listen_for_signals;

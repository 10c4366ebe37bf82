//! The control plane: one thread, one loop over one [`Event`] enum. It merges what the shards count, answers the REST API,
//! resolves names through helpers, drains the process. It never holds a shard up: orders are tried, not waited for.

// Policies, their audit, traces and usage in SQLite.
pub mod store;

// Threads that do what blocks by nature.
pub mod helpers;

// Prices from a file.
pub mod price_file;

// Tries one expression once.
pub mod try_expression;

// Tries one expression on requests that were.
pub mod replay;

// Another process takes this one's place.
pub mod handover;

// The merged counts.
mod tally_totals;

// The plan that runs, and those before it.
mod plans;

// What waits to be stored.
mod write_queue;

// Those who follow the traces as they come.
mod live_tail;

// Who may call the REST API.
mod access;

// The policies and where they are kept.
mod governance;

// How the process begins to serve, is replaced, ends.
pub mod lifecycle;

// From a changed file to a new plan.
mod reload;

// The counts as Prometheus text.
mod metrics;

// The REST API.
mod api;

// A request, for tests.
#[cfg(test)]
mod sample;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::clock::{Clock, Now};
use crate::fault_injection::{InjectionPoint, panic_if_requested};
use crate::link::usage::Batch;
use crate::link::{ApiAnswer, ApiCall, Driver, Event, Order};
use crate::plan::Plan;
use crate::shared::Shared;
use access::Doors;
pub use api::document as openapi;
use api::{Admitted, Exports, Reply};
pub use governance::{Governance, GovernanceError};
use helpers::otlp::Otlp;
pub use helpers::otlp::exports_spans;
use helpers::read_thread::Reading;
use helpers::resolver::Resolver;
pub use helpers::signals::listen as listen_for_signals;
use lifecycle::Life;
use live_tail::Followers;
use plans::Plans;
pub use reload::{Pins, Running, SetLogLevel, Source, Start, warn};
use store::Store;
use tally_totals::Ledger;
use write_queue::Recorder;

/// The loop wakes at least so often: for deadlines of its own.
const TICK: Duration = Duration::from_millis(100);
/// A question that needs fresh counts waits so long for the slowest shard, then is answered with what is there.
const FLUSH_PATIENCE_MS: u64 = 500;
/// Questions that may wait for fresh counts at once; more are answered at once with what is there.
const WAITING_MAX: usize = 256;
/// Cells of the usage registry that are looked at in each tick: 65,536 of them in a minute.
const SWEPT_CELLS: usize = 110;

/// What a coordinator is made of.
pub struct Parts {
    /// The process's clock.
    pub clock: Clock,
    /// What runs, as the shards read it.
    pub plan: Arc<ArcSwap<Plan>>,
    /// What shards share.
    pub shared: Arc<Shared>,
    /// Up from the shards and the helpers.
    pub events: flume::Receiver<Event>,
    /// Down to each shard.
    pub orders: Vec<flume::Sender<Order>>,
    /// The policies that are in the plan.
    pub governance: Governance,
    /// The configuration that the plan was made of.
    pub running: Running,
    /// Follows the plan's names.
    pub resolver: Resolver,
    /// How the process begins and ends.
    pub life: lifecycle::Parts,
}

/// The coordinator's state.
pub struct Coordinator {
    clock: Clock,
    started: Now,
    plans: Plans,
    governance: Governance,
    recorder: Recorder,
    /// Absent unless the environment names a collector.
    otlp: Option<Otlp>,
    running: Running,
    resolver: Resolver,
    doors: Doors,
    reading: Reading,
    followers: Followers,
    exports: Exports,
    shared: Arc<Shared>,
    ticked: Now,
    events: flume::Receiver<Event>,
    orders: Vec<flume::Sender<Order>>,
    shards: Vec<ShardState>,
    ledger: Ledger,
    epoch: u64,
    waiting: VecDeque<Waiting>,
    life: Life,
}

/// What is known of a shard.
#[derive(Clone, Default)]
struct ShardState {
    driver: Option<Driver>,
    epoch: u64,
    in_flight: u64,
    cache_items: u64,
    /// Accepts nothing any more.
    stopped: bool,
    drained: bool,
}

/// A question that waits until every shard has reported.
struct Waiting {
    call: ApiCall,
    admitted: Admitted,
    epoch: u64,
    until_ms: u64,
}

impl Coordinator {
    /// A coordinator for shards that follow `orders` and send to `events`.
    pub fn new(parts: Parts) -> Coordinator {
        let Parts { clock, plan, shared, events, orders, governance, running, resolver, life } = parts;
        Coordinator {
            clock,
            started: clock.now(),
            plans: Plans::new(plan, shared.clone()),
            reading: Reading::new(governance.store().map(Store::path), clock),
            governance,
            recorder: Recorder::default(),
            otlp: Otlp::start(clock),
            running,
            resolver,
            doors: Doors::default(),
            followers: Followers::new(clock.now()),
            exports: Exports::default(),
            shared,
            ticked: clock.now(),
            events,
            shards: vec![ShardState::default(); orders.len()],
            orders,
            ledger: Ledger::default(),
            epoch: 0,
            waiting: VecDeque::new(),
            life: Life::new(life),
        }
    }

    /// Runs until the process is to end. `listening` is called once, when every shard accepts connections.
    ///
    /// # Errors
    /// A shard could not start.
    pub fn run(mut self, listening: impl FnOnce()) -> anyhow::Result<()> {
        let mut listening = Some(listening);
        self.look_at_files();
        loop {
            match self.events.recv_timeout(TICK) {
                Ok(event) => self.handle(event)?,
                Err(flume::RecvTimeoutError::Timeout) => {}
                Err(flume::RecvTimeoutError::Disconnected) => anyhow::bail!("every shard is gone"),
            }
            self.answer_waiting();
            self.tick();
            if listening.is_some() {
                let drivers: Vec<Driver> = self.shards.iter().filter_map(|shard| shard.driver).collect();
                if drivers.len() == self.shards.len()
                    && let Some(listening) = listening.take()
                {
                    self.serves(&drivers)?;
                    listening();
                }
            }
            if self.life.may_end() && self.shards.iter().all(|shard| shard.drained) {
                self.stop();
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
                (state.in_flight, state.cache_items) = (tally.in_flight, tally.cache_items);
            }
            Event::Batch(batch) => self.batch(*batch),
            Event::Call(call) => self.call(*call),
            Event::Drained { shard, cut } => {
                if cut > 0 {
                    tracing::warn!(shard, connections = cut, "gave connections up at the end of drain_timeout");
                }
                self.shard(shard).drained = true;
            }
            Event::Resolved { host, port, result } => self.resolved(host, port, result),
            // What this process makes of it is nobody's business any more, and would stand in the audit twice.
            Event::FilesChanged if self.life.is_closed_to_changes() => self.life.files_changed = true,
            Event::FilesChanged => self.files_changed(),
            Event::Stopped { shard } => self.shard_stopped(shard),
            Event::Terminate => self.told_to_stop(),
            Event::HandOver => self.told_to_hand_over(),
            Event::Succession(news) => self.succession(news),
            Event::Departure(news) => self.departure(news),
        }
        Ok(())
    }

    /// Takes over what a shard's requests took.
    fn batch(&mut self, mut batch: Batch) {
        self.followers.tell(&mut batch.traces, self.clock.now(), api::item);
        if let Some(otlp) = &mut self.otlp {
            otlp.offer(&mut batch.traces, &self.plans.running());
        }
        if !self.running.config().storage.traces {
            batch.traces.clear();
        }
        if let Some(store) = self.governance.store() {
            self.recorder.take(batch, store.fault().is_some());
        }
    }

    /// Brings everything that waits to where it goes, within bounds.
    fn stop(&mut self) {
        // Shards that were not waited for may have reported.
        for event in self.events.clone().try_iter() {
            if let Event::Batch(batch) = event {
                self.batch(*batch);
            }
        }
        self.governance.end(&mut self.recorder, self.clock.now());
        if let Some(otlp) = self.otlp.take() {
            otlp.finish();
        }
        tracing::info!("stopped");
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

    /// What is due every now and then.
    fn tick(&mut self) {
        let now = self.clock.now();
        if now.since(self.ticked) < TICK {
            return;
        }
        let last = std::mem::replace(&mut self.ticked, now);
        self.check_heartbeats(last, now);
        if !self.ledger.total().requests.is_empty() {
            panic_if_requested(InjectionPoint::Coordinator);
        }
        self.shared.windows.sweep(now, SWEPT_CELLS);
        self.ledger.mark(now);
        let retention = &self.running.config().storage.retention;
        self.governance.keep(&mut self.recorder, retention, self.life.is_alone(), now);
        self.governance.check(now);
        self.followers.beat(now);
        for (host, port) in self.plans.prune() {
            self.order(&Order::Forget { host, port });
        }
    }

    /// Entries in the cache, as last reported.
    fn cache_items(&self) -> u64 {
        self.shards.iter().map(|shard| shard.cache_items).sum()
    }

    /// Requests under way, as last reported.
    fn in_flight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.in_flight).sum()
    }

    fn resolved(&self, host: Arc<str>, port: u16, result: Result<Arc<[std::net::SocketAddr]>, String>) {
        let addresses = result.unwrap_or_else(|error| {
            tracing::warn!(host = &*host, error, "could not resolve a provider's name");
            Arc::new([])
        });
        if self.resolver.follows(&host, port) {
            self.order(&Order::Addresses { host, port, addresses });
        }
    }

    /// Answers a REST request, at once or when every shard has reported.
    fn call(&mut self, call: ApiCall) {
        let admitted = match api::admit(self, &call) {
            Ok(admitted) => admitted,
            Err(answer) => return reply(&call, answer),
        };
        if !admitted.needs_fresh_counts || self.waiting.len() >= WAITING_MAX {
            return self.answer(&call, admitted);
        }
        self.epoch += 1;
        self.order(&Order::Flush { epoch: self.epoch });
        let until_ms = self.clock.now().mono_ms() + FLUSH_PATIENCE_MS;
        self.waiting.push_back(Waiting { call, admitted, epoch: self.epoch, until_ms });
    }

    fn answer_waiting(&mut self) {
        let reported = self.shards.iter().map(|shard| shard.epoch).min().unwrap_or(0);
        while let Some(first) = self.waiting.front() {
            if first.epoch > reported && self.clock.now().mono_ms() < first.until_ms {
                return;
            }
            if let Some(Waiting { call, admitted, .. }) = self.waiting.pop_front() {
                self.answer(&call, admitted);
            }
        }
    }

    fn answer(&mut self, call: &ApiCall, admitted: Admitted) {
        match api::answer(self, admitted, call) {
            Reply::Now(answer) => reply(call, answer),
            Reply::Read(question) => self.reading.ask(question, call.reply.clone()),
            Reply::Later => {}
        }
    }
}

/// The caller may have left.
fn reply(call: &ApiCall, answer: ApiAnswer) {
    let _ = call.reply.try_send(answer);
}

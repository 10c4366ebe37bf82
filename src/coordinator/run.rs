//! The coordinator's loop: receives one [`Event`] after another, dispatches it, and does what is due at each tick. One
//! thread. It never waits for a shard: orders are tried, and a call that needs fresh counts waits in a queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::api::{self, AuthorizedCall, Reply};
use super::state::{State, StateParts};
use super::{lifecycle, reload};
use crate::clock::Now;
use crate::fault_injection::{InjectionPoint, panic_if_requested};
use crate::link::usage::UsageBatch;
use crate::link::{ApiAnswer, ApiCall, Driver, Event, Order, Tally};

/// Longest sleep of the loop, so that deadlines are met without an event.
const TICK: Duration = Duration::from_millis(100);
/// A tick that comes this much late means that the coordinator itself was held up: heartbeats are judged at the next tick,
/// when shards have had their chance to beat.
const HELD_UP_MS: u64 = 1_000;
/// How long a call that needs fresh counts waits for the slowest shard. Then it is answered with the counts that are there.
const FLUSH_PATIENCE_MS: u64 = 500;
/// Most calls that may wait for fresh counts; others are answered at once with the counts that are there.
const WAITING_MAX: usize = 256;
/// Cells of the usage registry that one tick sweeps: 65,536 cells in a minute.
const SWEPT_CELLS: usize = 110;

/// Parts of a [`Coordinator`].
pub struct CoordinatorParts {
    pub state: StateParts,
    /// Events from the shards and the helper threads.
    pub events: flume::Receiver<Event>,
}

/// The control plane.
pub struct Coordinator {
    pub(super) state: State,
    events: flume::Receiver<Event>,
    ticked: Now,
    /// Number of the last flush order.
    epoch: u64,
    waiting: VecDeque<WaitingCall>,
}

/// A call that waits until every shard has reported.
struct WaitingCall {
    call: ApiCall,
    authorized: AuthorizedCall,
    epoch: u64,
    until_ms: u64,
}

impl Coordinator {
    /// A coordinator for the shards that receive `parts.state.orders` and send to `parts.events`.
    pub fn new(parts: CoordinatorParts) -> Coordinator {
        let CoordinatorParts { state, events } = parts;
        let state = State::new(state);
        let (ticked, waiting) = (state.started, VecDeque::new());
        Coordinator { state, events, ticked, epoch: 0, waiting }
    }

    /// Runs until the process may end. Calls `listening` once, when every shard accepts connections.
    ///
    /// # Errors
    /// A shard could not start.
    pub fn run(mut self, listening: impl FnOnce()) -> anyhow::Result<()> {
        let mut listening = Some(listening);
        reload::apply_first_change(&mut self.state);
        loop {
            match self.events.recv_timeout(TICK) {
                Ok(event) => self.handle(event)?,
                Err(flume::RecvTimeoutError::Timeout) => {}
                Err(flume::RecvTimeoutError::Disconnected) => anyhow::bail!("every shard is gone"),
            }
            self.answer_waiting();
            self.tick();
            if listening.is_some() {
                let drivers: Vec<Driver> = self.state.shards.iter().filter_map(|shard| shard.driver).collect();
                if drivers.len() == self.state.shards.len()
                    && let Some(listening) = listening.take()
                {
                    lifecycle::begin_serving(&mut self.state, &drivers)?;
                    listening();
                }
            }
            if self.state.life.may_end() && self.state.shards.iter().all(|shard| shard.drained) {
                self.finish();
                return Ok(());
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        let state = &mut self.state;
        match event {
            Event::Listening { shard, driver } => state.shards[shard].driver = Some(driver),
            Event::Failed { shard, error } => anyhow::bail!("shard {shard} could not start: {error}"),
            Event::Report { shard, epoch, tally } => self.take_report(shard, epoch, &tally),
            Event::Batch(batch) => self.take_batch(*batch),
            Event::Call(call) => self.take_call(*call),
            Event::Drained { shard, cut } => {
                if cut > 0 {
                    tracing::warn!(shard, connections = cut, "closed busy connections at the end of drain_timeout");
                }
                state.shards[shard].drained = true;
            }
            Event::Resolved { host, port, result } => self.take_addresses(host, port, result),
            // The successor has read the files, or will: reloading here would write the change to the audit twice.
            Event::FilesChanged if state.life.is_closed_to_changes() => state.life.files_changed = true,
            Event::FilesChanged => reload::apply_change(state),
            Event::Stopped { shard } => lifecycle::shard_stopped(state, shard),
            Event::Terminate => lifecycle::stop(state),
            Event::HandOver => lifecycle::hand_over(state),
            Event::Succession(news) => lifecycle::successor_reported(state, news),
            Event::Departure(news) => lifecycle::predecessor_reported(state, news),
        }
        Ok(())
    }

    fn take_report(&mut self, shard: usize, epoch: u64, tally: &Tally) {
        self.state.totals.add(tally);
        let shard = &mut self.state.shards[shard];
        shard.epoch = shard.epoch.max(epoch);
        (shard.in_flight, shard.cache_items) = (tally.in_flight, tally.cache_items);
    }

    /// Passes a shard's usage and traces on to the live tail, the collector and the store.
    fn take_batch(&mut self, mut batch: UsageBatch) {
        let state = &mut self.state;
        state.live_tail.send(&mut batch.traces, state.clock.now(), api::item);
        if let Some(otlp) = &mut state.otlp {
            otlp.offer(&mut batch.traces, &state.plans.running());
        }
        if !state.running.config().storage.traces {
            batch.traces.clear();
        }
        if let Some(store) = state.keeper.store() {
            state.write_queue.push(batch, store.fault().is_some());
        }
    }

    fn take_addresses(&mut self, host: Arc<str>, port: u16, result: Result<Arc<[SocketAddr]>, String>) {
        let addresses = result.unwrap_or_else(|error| {
            tracing::warn!(host = &*host, error, "could not resolve the host of a provider");
            Arc::new([])
        });
        if self.state.resolver.follows(&host, port) {
            self.state.send_order(&Order::Addresses { host, port, addresses });
        }
    }

    /// Answers a call to the REST API, at once or when every shard has reported.
    fn take_call(&mut self, call: ApiCall) {
        let authorized = match api::authorize(&mut self.state, &call) {
            Ok(authorized) => authorized,
            Err(answer) => return send_answer(&call, answer),
        };
        if !authorized.needs_fresh_counts() || self.waiting.len() >= WAITING_MAX {
            return self.answer(&call, authorized);
        }
        self.epoch += 1;
        self.state.send_order(&Order::Flush { epoch: self.epoch });
        let until_ms = self.state.clock.now().mono_ms() + FLUSH_PATIENCE_MS;
        self.waiting.push_back(WaitingCall { call, authorized, epoch: self.epoch, until_ms });
    }

    fn answer_waiting(&mut self) {
        let reported = self.state.shards.iter().map(|shard| shard.epoch).min().unwrap_or(0);
        while let Some(first) = self.waiting.front() {
            if first.epoch > reported && self.state.clock.now().mono_ms() < first.until_ms {
                return;
            }
            if let Some(WaitingCall { call, authorized, .. }) = self.waiting.pop_front() {
                self.answer(&call, authorized);
            }
        }
    }

    fn answer(&mut self, call: &ApiCall, authorized: AuthorizedCall) {
        match api::answer(&mut self.state, authorized, call) {
            Reply::Now(answer) => send_answer(call, answer),
            Reply::Read(question) => self.state.read_thread.ask(question, call.reply.clone()),
            Reply::Later => {}
        }
    }

    /// Does what is due, at most once in [`TICK`].
    fn tick(&mut self) {
        let state = &mut self.state;
        let now = state.clock.now();
        let since = now.since(self.ticked);
        if since < TICK {
            return;
        }
        self.ticked = now;
        if since < TICK + Duration::from_millis(HELD_UP_MS) {
            lifecycle::check_heartbeats(state, now);
        }
        if !state.totals.total().requests.is_empty() {
            panic_if_requested(InjectionPoint::Coordinator);
        }
        state.shared.windows.sweep(now, SWEPT_CELLS);
        state.totals.mark(now);
        let retention = &state.running.config().storage.retention;
        state.keeper.write_and_prune(&mut state.write_queue, retention, state.life.is_alone(), now);
        state.keeper.check_health(now);
        state.live_tail.beat(now);
        for (host, port) in state.plans.prune() {
            state.send_order(&Order::Forget { host, port });
        }
    }

    /// Stores and exports what still waits, within bounds.
    pub(super) fn finish(&mut self) {
        // Shards that the process did not wait for may have reported.
        for event in self.events.clone().try_iter() {
            if let Event::Batch(batch) = event {
                self.take_batch(*batch);
            }
        }
        let state = &mut self.state;
        state.keeper.finish(&mut state.write_queue, state.clock.now());
        if let Some(otlp) = state.otlp.take() {
            otlp.finish();
        }
        tracing::info!("stopped");
    }
}

/// Sends an answer to the shard that asked. The caller may have left already.
fn send_answer(call: &ApiCall, answer: ApiAnswer) {
    let _ = call.reply.try_send(answer);
}

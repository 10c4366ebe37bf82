//! Accounting: a finished request goes into the shard's tally, its next usage batch and one log line. Owned by the shard.
//! Each request that was read is settled exactly once, however it ended.

// A finished request as counts and as a trace.
pub(crate) mod trace;

// Exact usage and some traces, for the coordinator.
pub(crate) mod batch_builder;

// The limit on log lines.
pub(crate) mod log_lines;

use std::cell::{Cell, Ref, RefCell};

use crate::cache::Evictions;
use crate::clock::Now;
use crate::dialect::openai::tokens::{COMPLETION_TOKENS, PROMPT_TOKENS};
use crate::fault_injection::{self, InjectionPoint};
use crate::link::usage::UsageBatch;
use crate::link::{AttemptOutcome, Tally};
use crate::plan::LabelId;
use crate::pricing::Learned;
use crate::shard::judge::record::{CacheStatus, End, Record};

use batch_builder::BatchBuilder;
use log_lines::LogLines;

/// Everything that one shard counts.
pub(crate) struct Accounting {
    tally: RefCell<Tally>,
    batch: RefCell<BatchBuilder>,
    learned: RefCell<Learned>,
    log_lines: RefCell<LogLines>,
    in_flight: Cell<u64>,
}

impl Accounting {
    /// `boot` identifies the run of the process; it is the same on all shards.
    pub(crate) fn new(boot: u128, shard: usize) -> Accounting {
        Accounting {
            tally: RefCell::default(),
            batch: RefCell::new(BatchBuilder::new(boot, shard)),
            learned: RefCell::default(),
            log_lines: RefCell::default(),
            in_flight: Cell::new(0),
        }
    }

    /// Accounts for a finished request.
    pub(crate) fn settle(&self, mut record: Record<'_>, end: End<'_>) {
        fault_injection::panic_if_requested(InjectionPoint::Accounting);
        self.count(&record, end);
        self.leave_window(&mut record, end);
        let plan = record.plan;
        if plan.keeps_accounts {
            self.batch.borrow_mut().add_request(&record, end, plan.keeps_traces);
        }
        let succeeded = end.refusal.is_none() && record.cut.is_none() && end.status < 400;
        let logged = match succeeded {
            true => tracing::enabled!(tracing::Level::DEBUG),
            false => self.log_lines.borrow_mut().admit(end.now),
        };
        if logged {
            log(&record, end, succeeded);
        }
    }

    /// Adds a finished request to the tally.
    fn count(&self, record: &Record<'_>, end: End<'_>) {
        let tally = &mut *self.tally.borrow_mut();
        let labels = (record.provider_label, record.model_label);
        *tally.requests.entry((labels.0, labels.1, end.status)).or_default() += 1;
        let cell = tally.by_model.entry(labels).or_default();
        cell.duration.observe(record.duration_ns(end.now));
        if let Some(first) = record.attempts.iter().rev().find_map(|attempt| attempt.first_byte) {
            cell.first_byte.observe(record.duration_ns(first));
        }
        cell.usage.add(&record.usage);
        cell.cost = cell.cost.saturating_add(record.cost);
        if let Some(decided) = record.decided {
            let until = record.attempts.first().map_or(end.now, |attempt| attempt.started);
            tally.overhead.observe(until.mono_ns.saturating_sub(decided.mono_ns));
        }
        match record.cache_status {
            CacheStatus::Bypass => {}
            CacheStatus::Miss => tally.cache_misses += 1,
            CacheStatus::Hit { saved } => {
                tally.cache_hits += 1;
                tally.saved = tally.saved.saturating_add(saved);
            }
        }
        for matched in &record.verdict.matches {
            let label: LabelId = record.plan.policy_label(matched.policy);
            *tally.policy_matches.entry((label, matched.action, matched.mode)).or_default() += 1;
        }
        for failed in &record.verdict.errors {
            *tally.policy_errors.entry(record.plan.policy_label(failed.policy)).or_default() += 1;
        }
        if let Some(refusal) = end.refusal {
            let row = refusal.row();
            *tally.refusals.entry((row.source.label(), row.code.unwrap_or("bad_request"))).or_default() += 1;
        }
    }

    /// Replaces the request's estimate in its user's window by what it used, and learns from a good answer.
    fn leave_window(&self, record: &mut Record<'_>, end: End<'_>) {
        let Some(entry) = record.window_entry.take() else { return };
        entry.settle(end.now, record.usage.total, record.cost);
        if record.cut.is_none() && end.status < 300 && !matches!(record.cache_status, CacheStatus::Hit { .. }) {
            self.learned.borrow_mut().learn(record.model(), record.body_bytes, &record.usage);
        }
    }

    /// Records how the last attempt at a provider ended, and counts it.
    pub(crate) fn end_attempt(&self, record: &mut Record<'_>, outcome: AttemptOutcome) {
        if let Some(attempt) = record.attempts.last_mut() {
            attempt.outcome = outcome;
        }
        *self.tally.borrow_mut().attempts.entry((record.provider_label, outcome)).or_default() += 1;
    }

    /// What past answers teach about the size of the next one.
    pub(crate) fn learned(&self) -> Ref<'_, Learned> {
        self.learned.borrow()
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn begin_flight(&self) -> InFlight<'_> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self)
    }

    /// Called once per sweep of the shard.
    pub(crate) fn sweep(&self, now: Now) {
        self.log_lines.borrow_mut().sweep(now);
    }

    /// Whether anything was counted since the tally was last taken.
    pub(crate) fn has_tally(&self) -> bool {
        !self.tally.borrow().is_empty()
    }

    /// Takes what was counted since the last call.
    pub(crate) fn take_tally(&self, evicted: Evictions, cache_items: u64) -> Tally {
        let mut tally = self.tally.take();
        tally.in_flight = self.in_flight.get();
        (tally.evicted, tally.cache_items) = (evicted, cache_items);
        tally.traces_dropped = self.batch.borrow_mut().take_dropped();
        tally
    }

    /// Merges a tally that could not be sent into the next one.
    pub(crate) fn take_back_tally(&self, tally: &Tally) {
        self.tally.borrow_mut().merge(tally);
    }

    /// Drops the traces of the next batch, but not its usage: the coordinator is behind.
    pub(crate) fn drop_traces(&self) {
        self.batch.borrow_mut().drop_traces();
    }

    /// The next batch, or `None` if there is nothing to send.
    pub(crate) fn take_batch(&self) -> Option<UsageBatch> {
        self.batch.borrow_mut().finish_batch()
    }

    /// Merges a batch that could not be sent into the next one.
    pub(crate) fn take_back_batch(&self, batch: UsageBatch) {
        self.batch.borrow_mut().take_back(batch);
    }
}

/// Counts a request as in flight while it lives.
pub(crate) struct InFlight<'a>(&'a Accounting);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// One log line about a request: at debug level if it succeeded, else a warning.
fn log(record: &Record<'_>, end: End<'_>, succeeded: bool) {
    let id = record.request_id.as_ref().map_or("", |id| id.as_str());
    let (who, model) = (record.names.who(), record.model());
    let Record { provider, usage, cost, cut, .. } = record;
    let (input, output) = (usage.input, usage.output);
    let (status, ms) = (end.status, record.duration_ns(end.now) as f64 / 1e6);
    if succeeded {
        tracing::debug!(
            id,
            user = who.user,
            tenant = who.tenant,
            agent = who.agent,
            model,
            provider,
            status,
            { PROMPT_TOKENS } = input,
            { COMPLETION_TOKENS } = output,
            cost_usd = %cost,
            ms,
            "request"
        );
    } else {
        tracing::warn!(
            id,
            user = who.user,
            tenant = who.tenant,
            agent = who.agent,
            model,
            provider,
            status,
            refusal = end.refusal.map(|refusal| refusal.row().code.unwrap_or("bad_request")),
            policy = end.refusal.and_then(|refusal| refusal.policy()),
            cut,
            { PROMPT_TOKENS } = input,
            { COMPLETION_TOKENS } = output,
            cost_usd = %cost,
            ms,
            "request"
        );
    }
}

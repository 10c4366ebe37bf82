//! What a request took, into the shard's tally, its books and one log line. Called exactly once for each request that was
//! read, when it is over, however it ended.

// A request that is over, as a trace.
pub(crate) mod trace;

// Exact usage and some traces, for the coordinator.
pub(crate) mod batch_builder;

use crate::clock::Now;
use crate::fault_injection::{InjectionPoint, panic_if_requested};
use crate::link::{AttemptOutcome, Tally};
use crate::plan::{LabelId, Plan};
use crate::pricing::Learned;
use crate::shard::Shard;
use crate::shard::account::trace::End;
use crate::shard::answer::refusal::Refusal;
use crate::shard::judge::record::{Cached, Ids, Record};

/// The status recorded for a caller who left before the answer began. nginx's convention.
pub(crate) const CALLER_LEFT: u16 = 499;

impl Record<'_> {
    /// Accounts for it. `status` is what the caller saw, or [`CALLER_LEFT`].
    pub(crate) fn settle(mut self, shard: &Shard, status: u16, refusal: Option<&Refusal>) {
        panic_if_requested(InjectionPoint::Shard);
        let now = shard.now();
        self.fold(now, status, refusal, &mut shard.tally.borrow_mut(), &mut shard.governor.borrow_mut().learned);
        let kept = |plan: &Plan| (plan.keeps_accounts, plan.keeps_traces);
        let (keeps_accounts, keeps_traces) = self.plan.map_or_else(|| kept(&shard.plan()), kept);
        if keeps_accounts {
            self.name_trace(shard, now);
            shard.books.borrow_mut().take(&self, End { now, status, refusal }, keeps_traces);
        }
        let well = refusal.is_none() && self.cut.is_none() && status < 400;
        let wanted =
            if well { tracing::enabled!(tracing::Level::DEBUG) } else { shard.log_lines.borrow_mut().take(now) };
        if wanted {
            self.log(status, self.took_ns(now), refusal, well);
        }
    }

    /// Counts it, gives its place in its user's window up for what it used, and learns from its answer.
    pub(crate) fn fold(
        &mut self,
        now: Now,
        status: u16,
        refusal: Option<&Refusal>,
        tally: &mut Tally,
        learned: &mut Learned,
    ) {
        let labels = (self.provider_label, self.model_label);
        *tally.requests.entry((labels.0, labels.1, status)).or_default() += 1;
        let cell = tally.cells.entry(labels).or_default();
        cell.duration.observe(self.took_ns(now));
        if let Some(first) = self.tried.iter().rev().find_map(|tried| tried.first_byte) {
            cell.first_byte.observe(self.took_ns(first));
        }
        cell.usage.add(&self.usage);
        cell.cost = cell.cost.saturating_add(self.cost);
        if let Some(decided) = self.decided {
            let until = self.tried.first().map_or(now, |tried| tried.started);
            tally.overhead.observe(until.mono_ns.saturating_sub(decided.mono_ns));
        }
        match self.cached {
            Cached::Bypass => {}
            Cached::Miss => tally.cache_misses += 1,
            Cached::Hit { saved } => {
                tally.cache_hits += 1;
                tally.saved = tally.saved.saturating_add(saved);
            }
        }
        let label = |policy| self.plan.map_or(LabelId::OTHER, |plan| plan.policy_label(policy));
        for it in &self.verdict.matches {
            *tally.policy_matches.entry((label(it.policy), it.action, it.mode)).or_default() += 1;
        }
        for it in &self.verdict.errors {
            *tally.policy_errors.entry(label(it.policy)).or_default() += 1;
        }
        if let Some(refusal) = refusal {
            let row = refusal.row();
            *tally.refusals.entry((row.fault.label(), row.code.unwrap_or("bad_request"))).or_default() += 1;
        }
        if let Some(entry) = self.entry.take() {
            entry.settle(now, self.usage.total, self.cost);
            if self.cut.is_none() && status < 300 && !matches!(self.cached, Cached::Hit { .. }) {
                learned.learn(self.model(), self.body_bytes, &self.usage);
            }
        }
    }

    /// Takes over how the last attempt at a provider ended, and counts it.
    pub(crate) fn attempt_ended(&mut self, shard: &Shard, outcome: AttemptOutcome) {
        if let Some(tried) = self.tried.last_mut() {
            tried.outcome = outcome;
        }
        *shard.tally.borrow_mut().attempts.entry((self.provider_label, outcome)).or_default() += 1;
    }

    /// One that was refused before its head said whose trace it is has one of its own.
    fn name_trace(&mut self, shard: &Shard, now: Now) {
        if self.ids.trace == 0 {
            self.ids = Ids::new(None, now, shard.random());
        }
    }

    fn log(&self, status: u16, took_ns: u64, refusal: Option<&Refusal>, well: bool) {
        let id = self.request_id.as_ref().map_or("", |id| id.as_str());
        let code = refusal.map(|refusal| refusal.row().code.unwrap_or("bad_request"));
        let policy = refusal.and_then(Refusal::policy);
        let (who, model) = (self.names.who(), self.model());
        let Record { provider, usage, cost, cut, .. } = self;
        let (prompt, completion, ms) = (usage.prompt, usage.completion, took_ns as f64 / 1e6);
        if well {
            tracing::debug!(
                id,
                user = who.user,
                tenant = who.tenant,
                agent = who.agent,
                model,
                provider,
                status,
                prompt_tokens = prompt,
                completion_tokens = completion,
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
                refusal = code,
                policy,
                cut,
                prompt_tokens = prompt,
                completion_tokens = completion,
                cost_usd = %cost,
                ms,
                "request"
            );
        }
    }
}

/// Lines a second and shard about requests that did not go well; beyond, only their number is told. A line costs as much as
/// a refusal, and whoever is refused over and over should not be able to fill a disk. Arbitrary.
const LOG_LINES_MAX: u32 = 100;

/// Which requests are worth a line.
#[derive(Default)]
pub(crate) struct LogLines {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl LogLines {
    /// Begins another second, and tells how many lines the last one left out. For the shard's own tick, too: the last of many
    /// refusals may be followed by none.
    pub(crate) fn turn(&mut self, now: Now) {
        let second = now.mono_ms() / 1_000;
        if second != self.second {
            (self.second, self.lines) = (second, 0);
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                tracing::warn!(requests = left_out, "more requests did not go well than are logged");
            }
        }
    }

    /// Whether there is room for one more.
    fn take(&mut self, now: Now) -> bool {
        self.turn(now);
        let room = self.lines < LOG_LINES_MAX;
        self.lines += u32::from(room);
        self.left_out += u64::from(!room);
        room
    }
}

/// Counts a request as under way while it lives.
pub(crate) struct InFlight<'s>(&'s Shard);

impl<'s> InFlight<'s> {
    pub(crate) fn new(shard: &'s Shard) -> InFlight<'s> {
        shard.in_flight.set(shard.in_flight.get() + 1);
        InFlight(shard)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

//! Writes the demo's sample history: some hours of invented requests and the policies that judged them. It is written with
//! the store's own code, so that totals agree with lists.
//! Runs once on the main thread, before the gateway starts. The same seed always gives the same history.
//! Never sends a request to a provider.

use std::path::Path;

use anyhow::Context;
use fastrand::Rng;

use crate::coordinator::store::{By, Store, StoredPolicy};
use crate::link::trace::{Attempt, CacheOutcome, PolicyInputs, PolicyMatch, Refused, Trace};
use crate::link::usage::{UsageBatch, UsageTotals};
use crate::llm::{Operation, Usage};
use crate::policy::{Action, Mode};
use crate::pricing::Prices;
use crate::units::MicroUsd;
use crate::who::Who;

/// Length of the history with the default number of traces. More traces make it longer, up to [`LENGTH_FACTOR_MAX`] times.
const HISTORY_MS: u64 = 6 * 3_600_000;
/// Limits the history to six days, which is less than the default retention of seven days.
const LENGTH_FACTOR_MAX: u64 = 24;
/// Default number of runs of agents. Each run is a trace of one to five requests.
pub const RUNS: u64 = 900;
/// Runs that are written at once. Arbitrary: fewer would write slowly, more would take much memory.
const RUNS_PER_BATCH: u64 = 2_000;
const SEED: u64 = 20;

/// An agent that sends requests in the demo.
#[derive(Clone, Copy)]
pub(super) struct DemoAgent {
    /// Its name and its tenant; the user differs from run to run.
    pub who: Who<&'static str>,
    pub model: &'static str,
    /// Most requests of one run.
    pub requests_max: u64,
    /// Middle of the range of input tokens per request.
    pub input_tokens: u64,
}

const fn agent(who: Who<&'static str>, model: &'static str, requests_max: u64, input_tokens: u64) -> DemoAgent {
    DemoAgent { who, model, requests_max, input_tokens }
}

pub(super) const AGENTS: [DemoAgent; 6] = [
    agent(Who::new("acme", "", "researcher"), "gpt-4o", 5, 2_400),
    agent(Who::new("acme", "", "coder"), "claude-sonnet-4-5", 4, 3_200),
    agent(Who::new("globex", "", "support"), "gpt-4o-mini", 2, 700),
    agent(Who::new("globex", "", "batch-summarizer"), "gpt-4o", 1, 1_500),
    agent(Who::new("globex", "", "crawler"), "text-embedding-3-small", 3, 500),
    agent(Who::new("trial", "", "playground"), "gpt-4o", 2, 900),
];
pub(super) const USERS: [&str; 5] = ["ana", "ben", "chidi", "dora", "emeka"];

struct DemoPolicy {
    name: &'static str,
    description: &'static str,
    expression: &'static str,
    action: &'static str,
    target_model: Option<&'static str>,
    mode: &'static str,
}

// Positions of the policies in `POLICIES`.
const TRIAL_BUDGET: usize = 0;
const SMALL_MODEL_FOR_BATCHES: usize = 1;
const LARGE_PROMPTS: usize = 2;
const NO_EMBEDDINGS_FOR_CRAWLERS: usize = 3;

const POLICIES: [DemoPolicy; 4] = [
    DemoPolicy {
        name: "trial budget",
        description: "Trial users may spend two cents a minute.",
        expression: "tenant_id == 'trial' && cost_usd + est_cost_usd > 0.02",
        action: "block",
        target_model: None,
        mode: "enforce",
    },
    DemoPolicy {
        name: "batches on the small model",
        description: "Nobody waits for a batch, so a cheaper model is good enough.",
        expression: "agent == 'batch-summarizer' && model == 'gpt-4o'",
        action: "downgrade",
        target_model: Some("gpt-4o-mini"),
        mode: "enforce",
    },
    DemoPolicy {
        name: "large prompts",
        description: "Draws attention to prompts that contain whole files.",
        expression: "est_input_tokens > 4000",
        action: "alert",
        target_model: None,
        mode: "enforce",
    },
    DemoPolicy {
        name: "no embeddings for crawlers",
        description: "In shadow mode first, to see whom it would block.",
        expression: "agent == 'crawler' && endpoint == '/v1/embeddings'",
        action: "block",
        target_model: None,
        mode: "shadow",
    },
];

/// Writes a history of `runs` runs that ends at `now_ms` into a new database.
///
/// # Errors
/// The database cannot be written.
pub(super) fn seed(database: &Path, runs: u64, now_ms: u64) -> anyhow::Result<()> {
    let mut history = History::new(runs, now_ms);
    let began_ms = now_ms - history.length_ms;
    let mut store = Store::open(database, now_ms).context("opening the demo's database")?;
    for (index, demo) in POLICIES.iter().enumerate() {
        let policy = StoredPolicy {
            id: policy_id(index),
            name: demo.name.into(),
            description: demo.description.into(),
            expression: demo.expression.into(),
            action: demo.action.into(),
            target_model: demo.target_model.map(Into::into),
            message: None,
            priority: 100,
            enabled: true,
            mode: demo.mode.into(),
            created_at_ms: began_ms,
            updated_at_ms: began_ms,
        };
        let by = By { actor: "demo", at_ms: began_ms };
        store.insert_policy(&policy, by).context("adding the demo's policies")?;
    }
    let boot = u128::from(SEED);
    for (sequence, first) in (1..).zip((0..runs).step_by(RUNS_PER_BATCH as usize)) {
        let mut batch = UsageBatch { boot, shard: 0, sequence, ..UsageBatch::default() };
        for run in first..runs.min(first + RUNS_PER_BATCH) {
            history.run(run, &mut batch.traces);
        }
        let mut totals = UsageTotals::default();
        batch.traces.iter().for_each(|trace| totals.count(trace));
        batch.totals = totals;
        store.record(&[batch], now_ms).context("writing the demo's history")?;
    }
    Ok(())
}

fn policy_id(index: usize) -> String {
    format!("pol_{:016x}", 0xde30_0000 + index)
}

struct History {
    rng: Rng,
    runs: u64,
    length_ms: u64,
    now_ms: u64,
}

impl History {
    fn new(runs: u64, now_ms: u64) -> History {
        History {
            rng: Rng::with_seed(SEED),
            runs,
            length_ms: HISTORY_MS * (runs / RUNS).clamp(1, LENGTH_FACTOR_MAX),
            now_ms,
        }
    }

    /// Adds the requests of one run of an agent.
    fn run(&mut self, run: u64, traces: &mut Vec<Trace>) {
        // Runs become more frequent towards the present.
        let share = run as f64 / self.runs as f64;
        let ago_ms = (self.length_ms as f64 * (1.0 - share).powf(1.2)) as u64;
        let mut at_ms = self.now_ms - ago_ms.max(2_000) + self.rng.u64(0..1_500);
        let agent = AGENTS[self.rng.usize(0..AGENTS.len())];
        let user = USERS[self.rng.usize(0..USERS.len())];
        let trace_id = u128::from(at_ms) << 80 | u128::from(self.rng.u64(..));
        let mut parent = None;
        for _ in 0..self.rng.u64(1..=agent.requests_max) {
            let mut trace = self.request(at_ms, agent);
            (trace.trace_id, trace.parent_span_id) = (trace_id, parent);
            trace.who = Who { user, ..agent.who }.to_owned();
            self.judge(&mut trace);
            parent = parent.or(Some(trace.span_id));
            at_ms += trace.duration_ns / 1_000_000 + self.rng.u64(20..1_200);
            traces.push(trace);
        }
    }

    /// Invents a successful request.
    fn request(&mut self, started_ms: u64, agent: DemoAgent) -> Trace {
        let DemoAgent { model, input_tokens, .. } = agent;
        let embeds = model.starts_with("text-embedding");
        let input = input_tokens / 2 + self.rng.u64(0..input_tokens * 2);
        let output = if embeds { 0 } else { self.rng.u64(20..600) };
        let usage = Usage { input, output, total: input + output, ..Usage::default() };
        let first_byte_ns = self.rng.u64(180..900) * 1_000_000;
        let connect_ns = (self.rng.u8(0..6) == 0).then(|| self.rng.u64(8..40) * 1_000_000);
        let duration_ns = first_byte_ns + output * self.rng.u64(6..14) * 1_000_000;
        let price = Prices::built_in().price(model).cloned();
        let provider = if model.starts_with("claude") { "anthropic" } else { "openai" };
        Trace {
            trace_id: 1,
            span_id: self.rng.u64(1..),
            parent_span_id: None,
            sampled: true,
            request_id: format!("req_{:032x}", self.rng.u128(..)).into(),
            started_ms,
            duration_ns,
            first_byte_ns: Some(first_byte_ns),
            who: Who::default(),
            operation: Some(if embeds { Operation::Embeddings } else { Operation::Chat }),
            provider: provider.into(),
            model_asked: model.into(),
            model: model.into(),
            stream: !embeds && self.rng.u8(0..3) == 0,
            status: 200,
            refusal: None,
            cache: CacheOutcome::Bypass,
            usage,
            cost: price.as_ref().map_or(MicroUsd(0), |price| price.cost(&usage)),
            saved: MicroUsd(0),
            priced: price.is_some(),
            inputs: PolicyInputs { temperature: 0.7, est_input_tokens: input as i64, ..PolicyInputs::default() },
            matches: Vec::new(),
            faults: Vec::new(),
            attempts: vec![Attempt {
                provider: provider.into(),
                started_ns: self.rng.u64(40_000..90_000),
                connect_ns,
                tls_ns: connect_ns.map(|ns| ns * 2),
                first_byte_ns: Some(first_byte_ns),
                stream_ns: Some(duration_ns - first_byte_ns),
                outcome: "answered".into(),
                status: Some(200),
            }],
            cut: None,
            captured: None,
        }
    }

    /// Applies the policies, the cache and random failures to a request.
    fn judge(&mut self, trace: &mut Trace) {
        if &*trace.who.agent == "batch-summarizer" {
            let mini = Prices::built_in().price("gpt-4o-mini").cloned();
            trace.model = "gpt-4o-mini".into();
            trace.cost = mini.map_or(MicroUsd(0), |price| price.cost(&trace.usage));
            trace.matches.push(matched(SMALL_MODEL_FOR_BATCHES, Action::Downgrade, Mode::Enforce));
        }
        if trace.usage.input > 4_000 {
            trace.matches.push(matched(LARGE_PROMPTS, Action::Alert, Mode::Enforce));
        }
        if &*trace.who.agent == "crawler" {
            trace.matches.push(matched(NO_EMBEDDINGS_FOR_CRAWLERS, Action::Block, Mode::Shadow));
        }
        match self.rng.u8(0..100) {
            0..20 if &*trace.who.tenant == "trial" => {
                trace.matches.push(matched(TRIAL_BUDGET, Action::Block, Mode::Enforce));
                trace.duration_ns = 60_000;
                refuse(trace, 403, "policy_violation", "policy", "Blocked by the policy `trial budget`.");
                trace.attempts.clear();
            }
            20..36 if !trace.stream && &*trace.who.agent != "crawler" => hit(trace, self.rng.u64(90_000..400_000)),
            36..38 => {
                trace.duration_ns = 30_000_000_000;
                refuse(trace, 504, "upstream_timeout", "provider", "The provider `openai` did not answer in time.");
            }
            38..40 => {
                trace.duration_ns = 640_000_000;
                refuse(trace, 502, "provider_error", "provider", "The provider `openai` answered with status 500.");
            }
            40..42 => {
                let message = "The rate limit of the provider `openai` is used up; try again later.";
                trace.duration_ns = 70_000;
                refuse(trace, 429, "rate_limit_exceeded", "policy", message);
                trace.attempts.clear();
            }
            42 if trace.stream => trace.cut = Some("the caller left in the middle of the stream".into()),
            43..60 if !trace.stream && &*trace.who.agent != "crawler" => {
                (trace.inputs.temperature, trace.cache) = (0.0, CacheOutcome::Miss);
            }
            _ => {}
        }
    }
}

/// Turns a request into a cache hit.
fn hit(trace: &mut Trace, duration_ns: u64) {
    trace.inputs.temperature = 0.0;
    trace.cache = CacheOutcome::Hit;
    trace.saved = std::mem::replace(&mut trace.cost, MicroUsd(0));
    trace.usage = Usage::default();
    trace.duration_ns = duration_ns;
    trace.first_byte_ns = None;
    trace.attempts.clear();
}

/// Turns a request into a refused one; the caller sets its duration.
fn refuse(trace: &mut Trace, status: u16, code: &'static str, fault: &'static str, message: &'static str) {
    trace.status = status;
    trace.refusal = Some(Refused { code: code.into(), fault: fault.into(), message: message.into() });
    trace.usage = Usage::default();
    trace.cost = MicroUsd(0);
    trace.first_byte_ns = None;
    for attempt in &mut trace.attempts {
        (attempt.first_byte_ns, attempt.stream_ns, attempt.status) = (None, None, (status == 502).then_some(500));
        attempt.outcome = if status == 504 { "timeout" } else { "server_error" }.into();
    }
}

fn matched(index: usize, action: Action, mode: Mode) -> PolicyMatch {
    let policy = &POLICIES[index];
    PolicyMatch {
        id: policy_id(index).into(),
        name: policy.name.into(),
        action,
        mode,
        effective: mode == Mode::Enforce,
        note: if mode == Mode::Enforce { "applied" } else { "shadow" }.into(),
        target: policy.target_model.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::coordinator::store::Paging;
    use crate::coordinator::store::reader::{Filter, Reader};

    #[test]
    fn seeded_history_is_in_the_past_and_covers_every_outcome() {
        let folder = tempfile::tempdir().unwrap();
        seed(&folder.path().join("luner.db"), RUNS, 1_769_860_800_000).unwrap();
        let mut history = History::new(RUNS, 1_769_860_800_000);
        let mut traces = Vec::new();
        (0..RUNS).for_each(|run| history.run(run, &mut traces));
        let oldest = history.now_ms - HISTORY_MS;
        assert!(traces.iter().all(|trace| trace.started_ms >= oldest && trace.started_ms < history.now_ms + 60_000));
        for status in [200, 403, 429, 502, 504] {
            assert!(traces.iter().any(|trace| trace.status == status), "{status}");
        }
        assert!(traces.iter().any(|trace| trace.cache == CacheOutcome::Hit));
        assert!(traces.iter().any(|trace| trace.cut.is_some()));
        assert!(traces.iter().any(|trace| trace.model != trace.model_asked));
    }

    #[test]
    fn long_history_is_written_completely_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        let (database, now_ms) = (folder.path().join("luner.db"), 1_769_860_800_000);
        seed(&database, RUNS_PER_BATCH * 2 + 1, now_ms).unwrap();
        let reader = Reader::open(&database, Clock::start()).unwrap();
        let page = reader.listed_traces(&Filter::default(), Paging { page: 1, page_size: 1 }).unwrap();
        assert_eq!(page.total, RUNS_PER_BATCH * 2 + 1);
        let history = History::new(u64::MAX, now_ms);
        assert_eq!(history.length_ms, 6 * 24 * 3_600_000);
    }
}

//! A past for the demo: some hours of made-up requests, and the policies that judged them, written through the store's own
//! way of recording, so that every sum agrees with every list. Runs once, before the gateway starts. The same seed makes the
//! same past; nothing of it ever reached a provider.

use std::path::Path;

use anyhow::Context;
use fastrand::Rng;

use crate::coordinator::store::{By, Store, StoredPolicy};
use crate::dialect::openai::usage::Usage;
use crate::link::trace::{Attempt, CacheOutcome, PolicyInputs, PolicyMatch, Refused, Trace};
use crate::link::usage::{Accounts, Batch};
use crate::llm::Operation;
use crate::policy::{Action, Mode};
use crate::pricing::Prices;
use crate::units::MicroUsd;
use crate::who::Who;

/// How far back it goes with as many traces as usual; with more it goes further, up to [`LONGER_MAX`] times.
const PAST_MS: u64 = 6 * 3_600_000;
/// Six days: less than what is kept at least by default.
const LONGER_MAX: u64 = 24;
/// Runs of agents; each is a trace of one to five requests.
pub const RUNS: u64 = 900;
/// Runs that are written at once, which bounds the memory. Arbitrary.
const RUNS_A_BATCH: u64 = 2_000;
const SEED: u64 = 20;

/// Who is about: agent, tenant, model, how many requests a run takes at most, and how much it reads.
pub(super) const AGENTS: [(&str, &str, &str, u64, u64); 6] = [
    ("researcher", "acme", "gpt-4o", 5, 2_400),
    ("coder", "acme", "claude-sonnet-4-5", 4, 3_200),
    ("support", "globex", "gpt-4o-mini", 2, 700),
    ("batch-summarizer", "globex", "gpt-4o", 1, 1_500),
    ("crawler", "globex", "text-embedding-3-small", 3, 500),
    ("playground", "trial", "gpt-4o", 2, 900),
];
pub(super) const USERS: [&str; 5] = ["ana", "ben", "chidi", "dora", "emeka"];

/// A policy: name, what it is for, expression, action, target, mode.
type Sketch = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>, &'static str);

/// The demo's.
const POLICIES: [Sketch; 4] = [
    (
        "trial budget",
        "Who tries us out may spend two cents a minute.",
        "tenant_id == 'trial' && cost_usd + est_cost_usd > 0.02",
        "block",
        None,
        "enforce",
    ),
    (
        "batches on the small model",
        "Nobody waits for a batch, so it need not be the best model.",
        "agent == 'batch-summarizer' && model == 'gpt-4o'",
        "downgrade",
        Some("gpt-4o-mini"),
        "enforce",
    ),
    ("large prompts", "Worth a look: somebody sends whole files.", "est_input_tokens > 4000", "alert", None, "enforce"),
    (
        "no embeddings for crawlers",
        "Tried out in the shadow first.",
        "agent == 'crawler' && endpoint == '/v1/embeddings'",
        "block",
        None,
        "shadow",
    ),
];

/// Writes a past of so many runs into a new database. `now_ms` is where it ends.
///
/// # Errors
/// The database cannot be written.
pub(super) fn seed(database: &Path, runs: u64, now_ms: u64) -> anyhow::Result<()> {
    let mut past = Past::new(runs, now_ms);
    let began_ms = now_ms - past.length_ms;
    let mut store = Store::open(database, now_ms).context("opening the demo's database")?;
    for (index, (name, description, expression, action, target, mode)) in POLICIES.into_iter().enumerate() {
        let policy = StoredPolicy {
            id: policy_id(index),
            name: name.into(),
            description: description.into(),
            expression: expression.into(),
            action: action.into(),
            target_model: target.map(Into::into),
            message: None,
            priority: 100,
            enabled: true,
            mode: mode.into(),
            created_at_ms: began_ms,
            updated_at_ms: began_ms,
        };
        let by = By { actor: "demo", at_ms: began_ms };
        store.insert_policy(&policy, by).context("adding the demo's policies")?;
    }
    let boot = u128::from(SEED);
    for (sequence, first) in (1..).zip((0..runs).step_by(RUNS_A_BATCH as usize)) {
        let mut batch = Batch { boot, shard: 0, sequence, ..Batch::default() };
        for run in first..runs.min(first + RUNS_A_BATCH) {
            past.run(run, &mut batch.traces);
        }
        let mut accounts = Accounts::default();
        batch.traces.iter().for_each(|trace| accounts.count(trace));
        batch.accounts = accounts;
        store.record(&[batch], now_ms).context("writing the demo's past")?;
    }
    Ok(())
}

fn policy_id(index: usize) -> String {
    format!("pol_{:016x}", 0xde30_0000 + index)
}

struct Past {
    rng: Rng,
    runs: u64,
    length_ms: u64,
    now_ms: u64,
}

impl Past {
    fn new(runs: u64, now_ms: u64) -> Past {
        Past { rng: Rng::with_seed(SEED), runs, length_ms: PAST_MS * (runs / RUNS).clamp(1, LONGER_MAX), now_ms }
    }

    /// One run of an agent.
    fn run(&mut self, run: u64, traces: &mut Vec<Trace>) {
        // Busier towards now.
        let share = run as f64 / self.runs as f64;
        let ago_ms = (self.length_ms as f64 * (1.0 - share).powf(1.2)) as u64;
        let mut at_ms = self.now_ms - ago_ms.max(2_000) + self.rng.u64(0..1_500);
        let (agent, tenant, model, calls, reads) = AGENTS[self.rng.usize(0..AGENTS.len())];
        let user = USERS[self.rng.usize(0..USERS.len())];
        let trace_id = u128::from(at_ms) << 80 | u128::from(self.rng.u64(..));
        let mut parent = None;
        for _ in 0..self.rng.u64(1..=calls) {
            let mut trace = self.request(at_ms, model, reads);
            (trace.trace_id, trace.parent_span_id) = (trace_id, parent);
            trace.who = Who { tenant, user, agent }.to_owned();
            self.judge(&mut trace);
            parent = parent.or(Some(trace.span_id));
            at_ms += trace.duration_ns / 1_000_000 + self.rng.u64(20..1_200);
            traces.push(trace);
        }
    }

    /// A request that went well.
    fn request(&mut self, started_ms: u64, model: &str, reads: u64) -> Trace {
        let embeds = model.starts_with("text-embedding");
        let prompt = reads / 2 + self.rng.u64(0..reads * 2);
        let completion = if embeds { 0 } else { self.rng.u64(20..600) };
        let usage = Usage { prompt, completion, total: prompt + completion, ..Usage::default() };
        let first_byte_ns = self.rng.u64(180..900) * 1_000_000;
        let connect_ns = (self.rng.u8(0..6) == 0).then(|| self.rng.u64(8..40) * 1_000_000);
        let duration_ns = first_byte_ns + completion * self.rng.u64(6..14) * 1_000_000;
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
            inputs: PolicyInputs { temperature: 0.7, est_input_tokens: prompt as i64, ..PolicyInputs::default() },
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

    /// What the policies, the cache and luck made of it.
    fn judge(&mut self, trace: &mut Trace) {
        if &*trace.who.agent == "batch-summarizer" {
            let mini = Prices::built_in().price("gpt-4o-mini").cloned();
            trace.model = "gpt-4o-mini".into();
            trace.cost = mini.map_or(MicroUsd(0), |price| price.cost(&trace.usage));
            trace.matches.push(matched(1, Action::Downgrade, Mode::Enforce));
        }
        if trace.usage.prompt > 4_000 {
            trace.matches.push(matched(2, Action::Alert, Mode::Enforce));
        }
        if &*trace.who.agent == "crawler" {
            trace.matches.push(matched(3, Action::Block, Mode::Shadow));
        }
        match self.rng.u8(0..100) {
            0..20 if &*trace.who.tenant == "trial" => {
                trace.matches.push(matched(0, Action::Block, Mode::Enforce));
                let message = "Blocked by the policy `trial budget`.".into();
                refuse(trace, 403, "policy_violation", "policy", message, 60_000);
                trace.attempts.clear();
            }
            20..36 if !trace.stream && &*trace.who.agent != "crawler" => hit(trace, self.rng.u64(90_000..400_000)),
            36..38 => {
                let message = "The provider `openai` did not answer in time.".into();
                refuse(trace, 504, "upstream_timeout", "provider", message, 30_000_000_000);
            }
            38..40 => {
                let message = "The provider `openai` answered with status 500.".into();
                refuse(trace, 502, "provider_error", "provider", message, 640_000_000);
            }
            40..42 => {
                let message = "The rate limit of the provider `openai` is used up; try again later.".into();
                refuse(trace, 429, "rate_limit_exceeded", "policy", message, 70_000);
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

/// The answer came from the cache.
fn hit(trace: &mut Trace, duration_ns: u64) {
    trace.inputs.temperature = 0.0;
    trace.cache = CacheOutcome::Hit;
    trace.saved = std::mem::replace(&mut trace.cost, MicroUsd(0));
    trace.usage = Usage::default();
    trace.duration_ns = duration_ns;
    trace.first_byte_ns = None;
    trace.attempts.clear();
}

fn refuse(
    trace: &mut Trace,
    status: u16,
    code: &'static str,
    fault: &'static str,
    message: Box<str>,
    duration_ns: u64,
) {
    trace.status = status;
    trace.refusal = Some(Refused { code: code.into(), fault: fault.into(), message });
    trace.usage = Usage::default();
    trace.cost = MicroUsd(0);
    trace.duration_ns = duration_ns;
    trace.first_byte_ns = None;
    for attempt in &mut trace.attempts {
        (attempt.first_byte_ns, attempt.stream_ns, attempt.status) = (None, None, (status == 502).then_some(500));
        attempt.outcome = if status == 504 { "timeout" } else { "server_error" }.into();
    }
}

fn matched(index: usize, action: Action, mode: Mode) -> PolicyMatch {
    let (name, _, _, _, target, _) = POLICIES[index];
    PolicyMatch {
        id: policy_id(index).into(),
        name: name.into(),
        action,
        mode,
        effective: mode == Mode::Enforce,
        note: if mode == Mode::Enforce { "applied" } else { "shadow" }.into(),
        target: target.map(Into::into),
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
        let mut past = Past::new(RUNS, 1_769_860_800_000);
        let mut traces = Vec::new();
        (0..RUNS).for_each(|run| past.run(run, &mut traces));
        let oldest = past.now_ms - PAST_MS;
        assert!(traces.iter().all(|it| it.started_ms >= oldest && it.started_ms < past.now_ms + 60_000));
        for status in [200, 403, 429, 502, 504] {
            assert!(traces.iter().any(|it| it.status == status), "{status}");
        }
        assert!(traces.iter().any(|it| it.cache == CacheOutcome::Hit) && traces.iter().any(|it| it.cut.is_some()));
        assert!(traces.iter().any(|it| it.model != it.model_asked));
    }

    #[test]
    fn long_history_is_written_completely_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        let (database, now_ms) = (folder.path().join("luner.db"), 1_769_860_800_000);
        seed(&database, RUNS_A_BATCH * 2 + 1, now_ms).unwrap();
        let reader = Reader::open(&database, Clock::start()).unwrap();
        let page = reader.listed(&Filter::default(), Paging { page: 1, page_size: 1 }).unwrap();
        assert_eq!(page.total, RUNS_A_BATCH * 2 + 1);
        let past = Past::new(u64::MAX, now_ms);
        assert_eq!(past.length_ms, 6 * 24 * 3_600_000);
    }
}

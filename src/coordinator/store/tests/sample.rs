//! Random requests from a seed, the same on every machine. Everything that can happen to a request happens to a few of them.

use std::borrow::Cow;

use crate::link::trace::{
    Attempt, CacheOutcome, Captured, PolicyFailure, PolicyInputs, PolicyMatch, Refused, Trace, Window,
};
use crate::link::usage::UsageBatch;
use crate::llm::{Operation, Usage};
use crate::policy::{Action, Mode};
use crate::units::MicroUsd;
use crate::who::{Who, WhoPart};

pub(in crate::coordinator) struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    pub fn id(&mut self) -> u128 {
        (0..5).fold(1, |id, _| id << 31 ^ u128::from(self.next()))
    }
}

/// How the requests are spread over time and users.
#[derive(Clone, Copy)]
pub(in crate::coordinator) struct Spread {
    pub from_ms: u64,
    pub ms: u64,
    pub users: u64,
    /// One in this many requests joins the trace before it; never if 0.
    pub joins_one_in: u64,
}

pub(in crate::coordinator) const AGENTS: [&str; 5] = ["planner", "coder", "support-bot", "", "Übersetzer"];
pub(in crate::coordinator) const TENANTS: [&str; 3] = ["acme", "globex", ""];
pub(in crate::coordinator) const MODELS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "claude-3-5-sonnet", "embed-3"];
pub(in crate::coordinator) const PROVIDERS: [&str; 3] = ["openai-prod", "backup", "local"];

/// `n` requests in the order in which they ended.
pub(in crate::coordinator) fn traces(seeded: &mut Seeded, spread: Spread, n: u64) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::with_capacity(n as usize);
    for at in 0..n {
        let mut trace = trace(seeded, &spread, spread.from_ms + spread.ms * at / n);
        if let Some(before) = traces.last().filter(|_| spread.joins_one_in > 0 && seeded.one_in(spread.joins_one_in)) {
            trace.trace_id = before.trace_id;
            trace.parent_span_id = Some(before.span_id);
            trace.started_ms = (before.started_ms + seeded.below(3_000)).saturating_sub(seeded.below(1_000));
        }
        traces.push(trace);
    }
    traces
}

fn trace(seeded: &mut Seeded, spread: &Spread, started_ms: u64) -> Trace {
    let cache = [CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Bypass, CacheOutcome::Bypass];
    let cache = cache[seeded.below(4) as usize];
    let (input, output) = (seeded.below(3_000), seeded.below(900));
    let (asked, provider) = (seeded.pick(&MODELS), seeded.pick(&PROVIDERS));
    let user = format!("user-{}", seeded.below(spread.users));
    let mut trace = Trace {
        trace_id: seeded.id(),
        span_id: seeded.next() << 31 | seeded.next(),
        parent_span_id: None,
        sampled: true,
        request_id: format!("req-{:x}", seeded.next()).into(),
        started_ms,
        duration_ns: 1_000_000 + seeded.below(4_000_000_000),
        first_byte_ns: Some(seeded.below(1_000_000_000)),
        who: Who::from_fn(|part| match part {
            WhoPart::Tenant => seeded.pick(&TENANTS),
            WhoPart::User => user.as_str(),
            WhoPart::Agent => seeded.pick(&AGENTS),
        })
        .to_owned(),
        operation: Operation::ALL.get(seeded.below(5) as usize).copied(),
        provider: provider.into(),
        model_asked: asked.into(),
        model: asked.into(),
        stream: seeded.one_in(3),
        status: 200,
        refusal: None,
        cache,
        usage: Usage {
            input,
            output,
            total: input + output,
            cache_read: input / 3,
            cache_write: input / 5,
            ..Usage::default()
        },
        cost: MicroUsd((input * 3 + output * 15) as i64),
        saved: MicroUsd(0),
        priced: !seeded.one_in(50),
        inputs: inputs(seeded, input),
        matches: Vec::new(),
        faults: Vec::new(),
        attempts: attempts(seeded, provider),
        cut: seeded.one_in(40).then_some(Cow::Borrowed("caller left")),
        captured: None,
    };
    vary(seeded, &mut trace);
    trace
}

fn inputs(seeded: &mut Seeded, prompt: u64) -> PolicyInputs {
    let window = Window { request_count: 3, cost_micro: 1_200, tokens_used: 900 };
    PolicyInputs {
        temperature: 1.0,
        max_tokens: 256,
        window: seeded.one_in(2).then_some(window),
        est_input_tokens: prompt as i64,
        est_cost_micro: prompt as i64 * 3,
    }
}

fn attempts(seeded: &mut Seeded, provider: &str) -> Vec<Attempt> {
    let attempt = Attempt {
        provider: provider.into(),
        started_ns: 200_000,
        connect_ns: seeded.one_in(5).then_some(800_000),
        tls_ns: None,
        first_byte_ns: Some(300_000_000),
        stream_ns: Some(500_000_000),
        outcome: "answered".into(),
        status: Some(200),
    };
    vec![attempt; 1 + usize::from(seeded.one_in(10))]
}

/// Turns some plain successes into something else.
fn vary(seeded: &mut Seeded, trace: &mut Trace) {
    if trace.cache == CacheOutcome::Hit {
        trace.saved = std::mem::take(&mut trace.cost);
        trace.usage = Usage::default();
        trace.attempts.clear();
    }
    match seeded.below(20) {
        0 => refuse(trace, 403, "policy", "policy_violation", "blocked by the policy `no-opus`", Action::Block),
        1 => refuse(trace, 429, "policy", "rate_limit_exceeded", "Too many requests", Action::Alert),
        2 => refuse(trace, 502, "provider", "provider_error", "The provider answered with status 500.", Action::Alert),
        3 => trace.status = 429,
        4 => {
            trace.model = "gpt-4o-mini".into();
            trace.matches.push(matched("pol_cheaper", Action::Downgrade, Mode::Enforce));
        }
        5 => trace.matches.push(matched("pol_watch", Action::Alert, Mode::Enforce)),
        6 => trace.matches.push(matched("pol_trial", Action::Block, Mode::Shadow)),
        7 => {
            let kind = Cow::Borrowed("overflow");
            trace.faults.push(PolicyFailure { id: "pol_odd".into(), name: "odd".into(), kind });
        }
        8 => trace.captured = Some(Captured { request: b"{\"a\":1}".to_vec(), answer: vec![7; 100], cut: false }),
        _ => {}
    }
    if trace.refusal.as_ref().is_some_and(|refused| refused.code == "rate_limit_exceeded") {
        trace.refusal = trace.refusal.take().map(|refused| Refused { fault: "provider".into(), ..refused });
    }
}

fn refuse(trace: &mut Trace, status: u16, fault: &'static str, code: &'static str, message: &str, action: Action) {
    trace.status = status;
    trace.refusal = Some(Refused { code: code.into(), fault: fault.into(), message: message.into() });
    if action == Action::Block {
        trace.matches.push(matched("pol_block", action, Mode::Enforce));
    }
}

/// A filter for one part of the identity.
pub(in crate::coordinator) fn just(part: WhoPart, name: &str) -> Who<Option<String>> {
    let mut who = Who::default();
    *who.get_mut(part) = Some(name.to_owned());
    who
}

pub(in crate::coordinator) fn matched(id: &str, action: Action, mode: Mode) -> PolicyMatch {
    let effective = mode == Mode::Enforce;
    let note = if effective { "applied" } else { "shadow" };
    PolicyMatch { id: id.into(), name: id.into(), action, mode, effective, note: note.into(), target: None }
}

/// The requests in batches, as the shards of one process would send them.
pub(in crate::coordinator) fn batches(traces: Vec<Trace>, each: usize) -> Vec<UsageBatch> {
    let mut sequence = 0;
    let mut batches = Vec::new();
    let mut traces = traces.into_iter().peekable();
    while traces.peek().is_some() {
        sequence += 1;
        let mut batch = UsageBatch {
            boot: 7,
            shard: 0,
            sequence,
            traces: traces.by_ref().take(each).collect(),
            ..UsageBatch::default()
        };
        batch.traces.iter().for_each(|trace| batch.totals.count(trace));
        batches.push(batch);
    }
    batches
}

//! A trace as a list shows it: from the store, or from a request that has just ended. Plain values. What a list and the live
//! stream show of one thing is made here, so that they cannot differ.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::coordinator::store::reader::{ListedTrace, RequestRow};
use crate::dialect::openai::path;
use crate::link::trace::{CacheOutcome, Marks, PolicyMatch, Trace};
use crate::llm::Usage;
use crate::policy::{Action, Mode};

/// A trace in a list: its requests summed. Names are those of its first request, the status is the highest.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TraceItem {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    pub duration_ms: f64,
    pub agent_name: String,
    pub user_id: String,
    pub tenant_id: String,
    /// Its path; empty where nothing is served at the path.
    pub endpoint: String,
    /// The one that was used.
    pub model: String,
    pub model_asked: String,
    /// Empty if none was chosen.
    pub provider: String,
    /// HTTP; 499 for a caller who left before the answer began.
    pub status: u16,
    pub outcome: Outcome,
    /// Of the last request that the gateway itself refused.
    pub refusal: Option<Refusal>,
    pub stream: bool,
    /// Calls in this trace.
    pub requests: u64,
    pub spans: u64,
    pub tokens: Tokens,
    pub cost_usd: f64,
    /// What hits would have cost.
    pub saved_usd: f64,
    pub cache: CacheOutcome,
    /// Policies that matched.
    pub policies: Vec<PolicyMark>,
}

/// What came of it, by what weighs most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Ok,
    Error,
    Blocked,
    Alerted,
    Downgraded,
}

/// An error that the gateway itself answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Refusal {
    /// OpenAI's `error.code`.
    pub code: String,
    /// caller, policy, provider or gateway.
    pub fault: String,
    /// As the caller read it.
    pub message: String,
}

/// Tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Tokens {
    pub prompt: u64,
    pub completion: u64,
    pub total: u64,
    /// Of the prompt; in a list, of a trace's first ten requests. So is the next.
    pub cached: u64,
    /// Of the completion.
    pub reasoning: u64,
}

/// A policy that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PolicyMark {
    pub name: String,
    pub action: Action,
    pub mode: Mode,
    /// Whether it changed what happened to the request, or for an alert: whether it is one.
    pub effective: bool,
}

impl From<ListedTrace> for TraceItem {
    fn from(ListedTrace { row, requests }: ListedTrace) -> TraceItem {
        let refusal = requests.iter().rev().find_map(Refusal::of);
        let mut policies: Vec<PolicyMark> = Vec::new();
        for mark in requests.iter().flat_map(|request| &request.detail.matches).map(PolicyMark::from) {
            if !policies.contains(&mark) {
                policies.push(mark);
            }
        }
        let sum = |part: fn(&Usage) -> u64| requests.iter().map(|request| part(&request.usage)).sum();
        let tokens = Tokens {
            prompt: row.prompt_tokens,
            completion: row.completion_tokens,
            total: row.total_tokens,
            cached: sum(|usage| usage.cache_read),
            reasoning: sum(|usage| usage.reasoning),
        };
        TraceItem {
            trace_id: hex(row.trace_id),
            started_at: rfc3339(row.started_ms),
            duration_ms: row.duration_us as f64 / 1e3,
            agent_name: row.who.agent,
            user_id: row.who.user,
            tenant_id: row.who.tenant,
            endpoint: requests.into_iter().next().map(|request| request.endpoint).unwrap_or_default(),
            model: row.model,
            model_asked: row.model_asked,
            provider: row.provider,
            status: row.status,
            outcome: Outcome::of(row.marks),
            refusal,
            stream: row.marks.has(Marks::STREAM),
            requests: row.requests,
            spans: row.spans,
            tokens,
            cost_usd: row.cost.usd(),
            saved_usd: row.saved.usd(),
            cache: cache(row.marks),
            policies,
        }
    }
}

impl From<&Trace> for TraceItem {
    fn from(trace: &Trace) -> TraceItem {
        TraceItem {
            trace_id: hex(trace.trace_id),
            started_at: rfc3339(trace.started_ms),
            // As precise as it is stored.
            duration_ms: (trace.duration_ns / 1000) as f64 / 1e3,
            agent_name: trace.who.agent.to_string(),
            user_id: trace.who.user.to_string(),
            tenant_id: trace.who.tenant.to_string(),
            endpoint: trace.operation.map_or("", path::of).to_owned(),
            model: trace.model.to_string(),
            model_asked: trace.model_asked.to_string(),
            provider: trace.provider.to_string(),
            status: trace.status,
            outcome: Outcome::of(trace.marks()),
            refusal: trace.refusal.as_ref().map(|refused| Refusal {
                code: refused.code.to_string(),
                fault: refused.fault.to_string(),
                message: refused.message.to_string(),
            }),
            stream: trace.stream,
            requests: 1,
            spans: trace.spans(),
            tokens: Tokens::from(&trace.usage),
            cost_usd: trace.cost.usd(),
            saved_usd: trace.saved.usd(),
            cache: trace.cache,
            policies: trace.matches.iter().map(PolicyMark::from).collect(),
        }
    }
}

impl Outcome {
    pub(crate) fn of(marks: Marks) -> Outcome {
        let by_weight = [
            (Marks::BLOCKED, Outcome::Blocked),
            (Marks::ERROR, Outcome::Error),
            (Marks::DOWNGRADED, Outcome::Downgraded),
            (Marks::ALERTED, Outcome::Alerted),
        ];
        by_weight.into_iter().find(|(mark, _)| marks.has(*mark)).map_or(Outcome::Ok, |(_, outcome)| outcome)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Blocked => "blocked",
            Outcome::Alerted => "alerted",
            Outcome::Downgraded => "downgraded",
        }
    }
}

impl Refusal {
    pub(crate) fn of(request: &RequestRow) -> Option<Refusal> {
        let code = request.code.clone()?;
        let [fault, message] = [&request.fault, &request.error].map(|text| text.clone().unwrap_or_default());
        Some(Refusal { code, fault, message })
    }
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Tokens {
        let Usage { input, output, total, cache_read, reasoning, .. } = *usage;
        Tokens { prompt: input, completion: output, total, cached: cache_read, reasoning }
    }
}

impl From<&PolicyMatch> for PolicyMark {
    fn from(found: &PolicyMatch) -> PolicyMark {
        let PolicyMatch { name, action, mode, effective, .. } = found;
        PolicyMark { name: name.to_string(), action: *action, mode: *mode, effective: *effective }
    }
}

/// Of a trace: a hit in any of its requests is one.
fn cache(marks: Marks) -> CacheOutcome {
    match (marks.has(Marks::HIT), marks.has(Marks::MISS)) {
        (true, _) => CacheOutcome::Hit,
        (false, true) => CacheOutcome::Miss,
        (false, false) => CacheOutcome::Bypass,
    }
}

pub(crate) fn hex(trace_id: u128) -> String {
    format!("{trace_id:032x}")
}

//! A trace as lists, exports and the live stream show it, made from stored rows or from a request that has just ended. Plain
//! values, in one place, so that the three cannot differ.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::coordinator::api::shape::identity::NamedWho;
use crate::coordinator::store::reader::{ListedTrace, RequestRow};
use crate::dialect::openai::path;
use crate::link::trace::{CacheOutcome, Marks, PolicyMatch, Trace};
use crate::llm::Usage;
use crate::policy::{Action, Mode};

/// A trace in a list: the sums of its requests, the names of the first, the highest status.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TraceItem {
    /// 32 hexadecimal digits.
    pub(crate) trace_id: String,
    /// RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub(crate) started_at: String,
    pub(crate) duration_ms: f64,
    #[serde(flatten)]
    pub(crate) who: NamedWho,
    /// The path; empty if luner serves nothing there.
    pub(crate) endpoint: String,
    /// The model that was used.
    pub(crate) model: String,
    pub(crate) model_asked: String,
    /// Empty if none was chosen.
    pub(crate) provider: String,
    /// HTTP; 499 if the caller left before the answer began.
    pub(crate) status: u16,
    pub(crate) outcome: TraceOutcome,
    /// The refusal of the last request that the gateway itself refused.
    pub(crate) refusal: Option<TraceRefusal>,
    pub(crate) stream: bool,
    /// Number of requests in this trace.
    pub(crate) requests: u64,
    pub(crate) spans: u64,
    pub(crate) tokens: TokenCounts,
    pub(crate) cost_usd: f64,
    /// Cost that cache hits saved.
    pub(crate) saved_usd: f64,
    pub(crate) cache: CacheOutcome,
    /// Policies that matched.
    pub(crate) policies: Vec<PolicyMark>,
}

/// How the trace ended; of several outcomes, the most important one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Outcome")]
pub(crate) enum TraceOutcome {
    Ok,
    Error,
    Blocked,
    Alerted,
    Downgraded,
}

/// An error that the gateway itself answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Refusal")]
pub(crate) struct TraceRefusal {
    /// OpenAI's `error.code`.
    pub(crate) code: String,
    /// caller, policy, provider or gateway.
    pub(crate) fault: String,
    /// The message that the caller received.
    pub(crate) message: String,
}

/// Tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Tokens")]
pub(crate) struct TokenCounts {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) total: u64,
    /// Part of the prompt. In a list, only the first ten requests of a trace count.
    pub(crate) cached: u64,
    /// Part of the prompt, written to the provider's cache. In a list, only the first ten requests of a trace count.
    pub(crate) cache_write: u64,
    /// Part of the completion. In a list, only the first ten requests of a trace count.
    pub(crate) reasoning: u64,
}

/// A policy that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PolicyMark {
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    /// Whether it changed what happened to the request. For an alert: whether it raised one.
    pub(crate) effective: bool,
}

impl From<ListedTrace> for TraceItem {
    fn from(ListedTrace { row, requests }: ListedTrace) -> TraceItem {
        let refusal = requests.iter().rev().find_map(TraceRefusal::of);
        let mut policies: Vec<PolicyMark> = Vec::new();
        for mark in requests.iter().flat_map(|request| &request.detail.matches).map(PolicyMark::from) {
            if !policies.contains(&mark) {
                policies.push(mark);
            }
        }
        let sum = |part: fn(&Usage) -> u64| requests.iter().map(|request| part(&request.usage)).sum();
        let tokens = TokenCounts {
            prompt: row.input_tokens,
            completion: row.output_tokens,
            total: row.total_tokens,
            cached: sum(|usage| usage.cache_read),
            cache_write: sum(|usage| usage.cache_write),
            reasoning: sum(|usage| usage.reasoning),
        };
        TraceItem {
            trace_id: hex(row.trace_id),
            started_at: rfc3339(row.started_ms),
            duration_ms: row.duration_us as f64 / 1e3,
            who: row.who.into(),
            endpoint: requests.into_iter().next().map(|request| request.endpoint).unwrap_or_default(),
            model: row.model,
            model_asked: row.model_asked,
            provider: row.provider,
            status: row.status,
            outcome: TraceOutcome::of(row.marks),
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
            // The store keeps microseconds.
            duration_ms: (trace.duration_ns / 1000) as f64 / 1e3,
            who: trace.who.as_str().map(str::to_owned).into(),
            endpoint: trace.operation.map_or("", path::of).to_owned(),
            model: trace.model.to_string(),
            model_asked: trace.model_asked.to_string(),
            provider: trace.provider.to_string(),
            status: trace.status,
            outcome: TraceOutcome::of(trace.marks()),
            refusal: trace.refusal.as_ref().map(|refused| TraceRefusal {
                code: refused.code.to_string(),
                fault: refused.fault.to_string(),
                message: refused.message.to_string(),
            }),
            stream: trace.stream,
            requests: 1,
            spans: trace.spans(),
            tokens: TokenCounts::from(&trace.usage),
            cost_usd: trace.cost.usd(),
            saved_usd: trace.saved.usd(),
            cache: trace.cache,
            policies: trace.matches.iter().map(PolicyMark::from).collect(),
        }
    }
}

impl TraceOutcome {
    pub(crate) fn of(marks: Marks) -> TraceOutcome {
        let by_weight = [
            (Marks::BLOCKED, TraceOutcome::Blocked),
            (Marks::ERROR, TraceOutcome::Error),
            (Marks::DOWNGRADED, TraceOutcome::Downgraded),
            (Marks::ALERTED, TraceOutcome::Alerted),
        ];
        by_weight.into_iter().find(|(mark, _)| marks.has(*mark)).map_or(TraceOutcome::Ok, |(_, outcome)| outcome)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            TraceOutcome::Ok => "ok",
            TraceOutcome::Error => "error",
            TraceOutcome::Blocked => "blocked",
            TraceOutcome::Alerted => "alerted",
            TraceOutcome::Downgraded => "downgraded",
        }
    }
}

impl TraceRefusal {
    pub(crate) fn of(request: &RequestRow) -> Option<TraceRefusal> {
        let code = request.code.clone()?;
        let [fault, message] = [&request.fault, &request.error].map(|text| text.clone().unwrap_or_default());
        Some(TraceRefusal { code, fault, message })
    }
}

impl From<&Usage> for TokenCounts {
    fn from(usage: &Usage) -> TokenCounts {
        let Usage { input, output, total, cache_read, cache_write, reasoning, .. } = *usage;
        TokenCounts { prompt: input, completion: output, total, cached: cache_read, cache_write, reasoning }
    }
}

impl From<&PolicyMatch> for PolicyMark {
    fn from(found: &PolicyMatch) -> PolicyMark {
        let PolicyMatch { name, action, mode, effective, .. } = found;
        PolicyMark { name: name.to_string(), action: *action, mode: *mode, effective: *effective }
    }
}

/// The cache outcome of a trace: a hit if any of its requests was a hit.
fn cache(marks: Marks) -> CacheOutcome {
    match (marks.has(Marks::HIT), marks.has(Marks::MISS)) {
        (true, _) => CacheOutcome::Hit,
        (false, true) => CacheOutcome::Miss,
        (false, false) => CacheOutcome::Bypass,
    }
}

/// A request that has just ended, as one line of JSON.
pub(crate) fn json_of(trace: &Trace) -> String {
    serde_json::to_string(&TraceItem::from(trace)).expect("numbers and texts serialise")
}

/// A trace id as 32 hexadecimal digits.
pub(crate) fn hex(trace_id: u128) -> String {
    format!("{trace_id:032x}")
}

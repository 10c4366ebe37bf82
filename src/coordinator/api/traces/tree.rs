//! The tree of spans and the timeline of a trace, made from its stored requests. Pure. The tree is never deeper than its bound,
//! whatever parents callers named.

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::trace_item::{TokenCounts, TraceOutcome};
use crate::coordinator::store::reader::RequestRow;
use crate::dialect::openai::path;
use crate::link::trace::{Attempt, CacheOutcome};
use crate::llm::Operation;
use crate::policy::Action;

/// Deepest nesting of requests in one trace; a request that would be deeper becomes a root. Arbitrary: agents that call agents
/// are three or four deep, and the tree is written recursively.
const DEPTH_MAX: usize = 32;

/// A span: a request, or something that happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Span")]
pub(crate) struct SpanNode {
    /// 16 hexadecimal digits for a request; for what happened to it, those digits, a dash and a number.
    pub id: String,
    pub parent_id: Option<String>,
    pub name: String,
    /// Since the trace began.
    pub start_ms: f64,
    pub duration_ms: f64,
    pub status: SpanStatus,
    /// Names are those of OpenTelemetry's conventions, or begin with `luner.`.
    pub attributes: Map<String, Value>,
    pub tokens: Option<TokenCounts>,
    pub cost_usd: Option<f64>,
    pub children: Vec<SpanNode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SpanStatus {
    Ok,
    Error,
    Blocked,
}

/// Something that happened at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Moment {
    /// Since the trace began.
    pub at_ms: f64,
    pub name: String,
    pub span_id: Option<String>,
}

/// The spans of `requests`, which are in the order in which they started. A request is a child of the request whose span its
/// caller named as the parent, if that one started earlier.
pub(crate) fn tree(requests: &[RequestRow], trace_started_ms: u64) -> Vec<SpanNode> {
    // Index and depth of the request with each span id.
    let mut places: HashMap<u64, (usize, usize)> = HashMap::new();
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(requests.len());
    for (at, request) in requests.iter().enumerate() {
        let parent = request.parent_span_id.and_then(|span| places.get(&span).copied());
        let parent = parent.filter(|(_, depth)| *depth < DEPTH_MAX);
        parents.push(parent.map(|(index, _)| index));
        places.entry(request.span_id).or_insert((at, parent.map_or(1, |(_, depth)| depth + 1)));
    }
    let mut spans: Vec<Option<SpanNode>> =
        requests.iter().map(|request| Some(request_span(request, trace_started_ms))).collect();
    let mut roots = Vec::new();
    // Backwards, so that a span has its own children before it becomes a child.
    for (at, parent) in parents.iter().enumerate().rev() {
        let Some(span) = spans.get_mut(at).and_then(Option::take) else { continue };
        match parent.and_then(|parent| spans.get_mut(parent)).and_then(Option::as_mut) {
            Some(parent) => parent.children.push(span),
            None => roots.push(span),
        }
    }
    roots.reverse();
    roots.iter_mut().for_each(sort_children);
    roots
}

fn sort_children(span: &mut SpanNode) {
    span.children.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    span.children.iter_mut().for_each(sort_children);
}

fn request_span(request: &RequestRow, trace_started_ms: u64) -> SpanNode {
    let start_ms = request.started_ms.saturating_sub(trace_started_ms) as f64;
    let outcome = TraceOutcome::of(request.marks);
    let status = match outcome {
        TraceOutcome::Blocked => SpanStatus::Blocked,
        TraceOutcome::Error => SpanStatus::Error,
        _ => SpanStatus::Ok,
    };
    SpanNode {
        id: span_id(request.span_id),
        parent_id: request.parent_span_id.map(span_id),
        name: format!("{} {}", operation_name(&request.endpoint), request.model).trim().to_owned(),
        start_ms,
        duration_ms: ms(request.duration_ns),
        status,
        attributes: attributes(request, outcome),
        tokens: Some(TokenCounts::from(&request.usage)),
        cost_usd: Some(request.cost.usd()),
        children: Children { request, start_ms, spans: Vec::new() }.all(),
    }
}

fn attributes(request: &RequestRow, outcome: TraceOutcome) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut put = |name: &str, value: Value| _ = attributes.insert(name.to_owned(), value);
    put("gen_ai.operation.name", operation_name(&request.endpoint).into());
    put("gen_ai.request.model", request.model_asked.as_str().into());
    put("gen_ai.response.model", request.model.as_str().into());
    put("http.response.status_code", request.status.into());
    put("url.path", request.endpoint.as_str().into());
    put("luner.outcome", outcome.name().into());
    put("luner.cache", json!(request.cache));
    for (name, text) in [
        ("gen_ai.provider.name", Some(&request.provider)),
        ("error.type", request.code.as_ref()),
        ("luner.refusal.fault", request.fault.as_ref()),
        // Without a code the answer was cut, and the message repeats `luner.cut`.
        ("luner.refusal.message", request.error.as_ref().filter(|_| request.code.is_some())),
        ("luner.cut", request.cut.as_ref()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            put(name, text.as_str().into());
        }
    }
    for (part, text) in request.who.parts().filter(|(_, text)| !text.is_empty()) {
        put(&format!("luner.{}", part.name()), text.as_str().into());
    }
    attributes
}

/// Collects the spans of what happened to one request, in order.
struct Children<'r> {
    request: &'r RequestRow,
    start_ms: f64,
    spans: Vec<SpanNode>,
}

impl Children<'_> {
    fn all(mut self) -> Vec<SpanNode> {
        let detail = &self.request.detail;
        for found in &detail.matches {
            let status =
                if found.effective && found.action == Action::Block { SpanStatus::Blocked } else { SpanStatus::Ok };
            let attributes = json!({
                "luner.policy.id": found.id, "luner.policy.action": found.action, "luner.policy.mode": found.mode,
                "luner.policy.effective": found.effective, "luner.policy.note": found.note,
                "luner.policy.target": found.target,
            });
            self.push(format!("policy {}", found.name), [0, 0], status, attributes);
        }
        for failed in &detail.faults {
            let attributes = json!({ "luner.policy.id": failed.id, "error.type": failed.kind });
            self.push(format!("policy {}", failed.name), [0, 0], SpanStatus::Error, attributes);
        }
        if self.request.cache != CacheOutcome::Bypass {
            let whole = if self.request.cache == CacheOutcome::Hit { self.request.duration_ns } else { 0 };
            self.push("cache".into(), [0, whole], SpanStatus::Ok, json!({ "luner.cache": self.request.cache }));
        }
        let last = detail.attempts.len().saturating_sub(1);
        for (at, attempt) in detail.attempts.iter().enumerate() {
            self.attempt(attempt, at == last);
        }
        self.spans
    }

    fn attempt(&mut self, attempt: &Attempt, last: bool) {
        let good = attempt.outcome == "answered" && attempt.status.is_none_or(|status| status < 400);
        let status = if good { SpanStatus::Ok } else { SpanStatus::Error };
        let attributes = json!({
            "gen_ai.provider.name": attempt.provider, "luner.attempt.outcome": attempt.outcome,
            "http.response.status_code": attempt.status,
            "luner.attempt.connect_ms": attempt.connect_ns.map(ms), "luner.attempt.tls_ms": attempt.tls_ns.map(ms),
            "luner.attempt.first_byte_ms": attempt.first_byte_ns.map(ms),
            "luner.attempt.stream_ms": attempt.stream_ns.map(ms),
        });
        self.push(
            format!("attempt {}", attempt.provider),
            [attempt.started_ns, duration_ns(attempt)],
            status,
            attributes,
        );
        if let Some(span) = self.spans.last_mut().filter(|_| last && good) {
            (span.tokens, span.cost_usd) =
                (Some(TokenCounts::from(&self.request.usage)), Some(self.request.cost.usd()));
        }
    }

    /// Adds a span that began `after_ns` after the request and took `took_ns`.
    fn push(&mut self, name: String, [after_ns, took_ns]: [u64; 2], status: SpanStatus, attributes: Value) {
        let attributes = match attributes {
            Value::Object(all) => all.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        let parent = span_id(self.request.span_id);
        self.spans.push(SpanNode {
            id: format!("{parent}-{}", self.spans.len() + 1),
            parent_id: Some(parent),
            name,
            start_ms: self.start_ms + ms(after_ns),
            duration_ms: ms(took_ns),
            status,
            attributes,
            tokens: None,
            cost_usd: None,
            children: Vec::new(),
        });
    }
}

fn duration_ns(attempt: &Attempt) -> u64 {
    let Attempt { connect_ns, tls_ns, first_byte_ns, stream_ns, .. } = *attempt;
    let connected = connect_ns.unwrap_or(0).saturating_add(tls_ns.unwrap_or(0));
    first_byte_ns.unwrap_or(connected).saturating_add(stream_ns.unwrap_or(0))
}

/// Everything that happened, in the order of time.
pub(crate) fn timeline(requests: &[RequestRow], trace_started_ms: u64) -> Vec<Moment> {
    let mut moments = Vec::new();
    for request in requests {
        let start_ms = request.started_ms.saturating_sub(trace_started_ms) as f64;
        let span_id = Some(span_id(request.span_id));
        let mut put = |after_ns: u64, name: String| {
            moments.push(Moment { at_ms: start_ms + ms(after_ns), name, span_id: span_id.clone() });
        };
        put(0, "request received".into());
        let detail = &request.detail;
        detail.matches.iter().for_each(|found| put(0, format!("policy {} matched", found.name)));
        detail.faults.iter().for_each(|failed| put(0, format!("policy {} failed", failed.name)));
        for attempt in &detail.attempts {
            put(attempt.started_ns, format!("sent to {}", attempt.provider));
            match attempt.first_byte_ns {
                Some(after) => put(attempt.started_ns.saturating_add(after), "first byte".into()),
                None => put(attempt.started_ns.saturating_add(duration_ns(attempt)), attempt.outcome.to_string()),
            }
        }
        let end = match &request.cut {
            Some(cut) => format!("ended: {cut}"),
            None => format!("answered with {}", request.status),
        };
        put(request.duration_ns, end);
    }
    moments.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    moments
}

/// The operation's name in OpenTelemetry's GenAI conventions, or `request` for any other path.
fn operation_name(endpoint: &str) -> &'static str {
    path::operation(endpoint).map_or("request", Operation::gen_ai_name)
}

pub(crate) fn span_id(span: u64) -> String {
    format!("{span:016x}")
}

pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;

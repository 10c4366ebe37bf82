//! The tree of spans and the timeline of a trace, from what is stored of its requests. Pure. Neither is ever deeper or longer
//! than its bound, whatever parents callers named.

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::trace_item::{Outcome, Tokens};
use crate::coordinator::store::reader::RequestRow;
use crate::link::trace::{Attempt, CacheOutcome};
use crate::policy::Action;

/// Nesting of requests in one trace; what would lie deeper stands beside its parent. Arbitrary: agents that call agents are
/// three or four deep, and the tree is written recursively.
const DEPTH_MAX: usize = 32;

/// A span: a request, or what happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Span {
    /// 16 hexadecimal digits of a request's own span, and behind a dash the number of what happened to it.
    pub id: String,
    pub parent_id: Option<String>,
    pub name: String,
    /// Since the trace began.
    pub start_ms: f64,
    pub duration_ms: f64,
    pub status: SpanStatus,
    /// Named after OpenTelemetry's conventions, or `luner.…`.
    pub attributes: Map<String, Value>,
    pub tokens: Option<Tokens>,
    pub cost_usd: Option<f64>,
    pub children: Vec<Span>,
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

/// The spans of requests, which stand in the order in which they started. A request whose caller named another request's
/// span as its parent stands below it, if that one started before.
pub(crate) fn tree(requests: &[RequestRow], trace_started_ms: u64) -> Vec<Span> {
    // Whose child each is, and how deep it then lies.
    let mut places: HashMap<u64, (usize, usize)> = HashMap::new();
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(requests.len());
    for (at, request) in requests.iter().enumerate() {
        let parent = request.parent_span_id.and_then(|span| places.get(&span).copied());
        let parent = parent.filter(|(_, depth)| *depth < DEPTH_MAX);
        parents.push(parent.map(|(index, _)| index));
        places.entry(request.span_id).or_insert((at, parent.map_or(1, |(_, depth)| depth + 1)));
    }
    let mut spans: Vec<Option<Span>> =
        requests.iter().map(|request| Some(of_request(request, trace_started_ms))).collect();
    let mut roots = Vec::new();
    // From the last on: when a span is put below its parent, its own children are there.
    for (at, parent) in parents.iter().enumerate().rev() {
        let Some(span) = spans.get_mut(at).and_then(Option::take) else { continue };
        match parent.and_then(|parent| spans.get_mut(parent)).and_then(Option::as_mut) {
            Some(parent) => parent.children.push(span),
            None => roots.push(span),
        }
    }
    roots.reverse();
    roots.iter_mut().for_each(in_order);
    roots
}

fn in_order(span: &mut Span) {
    span.children.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    span.children.iter_mut().for_each(in_order);
}

fn of_request(request: &RequestRow, trace_started_ms: u64) -> Span {
    let start_ms = request.started_ms.saturating_sub(trace_started_ms) as f64;
    let outcome = Outcome::of(request.marks);
    let status = match outcome {
        Outcome::Blocked => SpanStatus::Blocked,
        Outcome::Error => SpanStatus::Error,
        _ => SpanStatus::Ok,
    };
    Span {
        id: id(request.span_id),
        parent_id: request.parent_span_id.map(id),
        name: format!("{} {}", operation(&request.endpoint), request.model).trim().to_owned(),
        start_ms,
        duration_ms: ms(request.duration_ns),
        status,
        attributes: attributes(request, outcome),
        tokens: Some(Tokens::from(&request.usage)),
        cost_usd: Some(request.cost.usd()),
        children: Children { request, start_ms, spans: Vec::new() }.all(),
    }
}

fn attributes(request: &RequestRow, outcome: Outcome) -> Map<String, Value> {
    let mut attributes = Map::new();
    let mut put = |name: &str, value: Value| _ = attributes.insert(name.to_owned(), value);
    put("gen_ai.operation.name", operation(&request.endpoint).into());
    put("gen_ai.request.model", request.model_asked.as_str().into());
    put("gen_ai.response.model", request.model.as_str().into());
    put("http.response.status_code", request.status.into());
    put("url.path", request.endpoint.as_str().into());
    put("luner.outcome", outcome.name().into());
    put("luner.cache", json!(request.cache));
    for (name, text) in [
        ("gen_ai.provider.name", Some(&request.provider)),
        ("luner.user", Some(&request.who.user)),
        ("luner.tenant", Some(&request.who.tenant)),
        ("luner.agent", Some(&request.who.agent)),
        ("error.type", request.code.as_ref()),
        ("luner.refusal.fault", request.fault.as_ref()),
        // Of an answer that was cut, the message is why.
        ("luner.refusal.message", request.error.as_ref().filter(|_| request.code.is_some())),
        ("luner.cut", request.cut.as_ref()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            put(name, text.as_str().into());
        }
    }
    attributes
}

/// What happened to one request, in order.
struct Children<'r> {
    request: &'r RequestRow,
    start_ms: f64,
    spans: Vec<Span>,
}

impl Children<'_> {
    fn all(mut self) -> Vec<Span> {
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
        self.push(format!("attempt {}", attempt.provider), [attempt.started_ns, took(attempt)], status, attributes);
        if let Some(span) = self.spans.last_mut().filter(|_| last && good) {
            (span.tokens, span.cost_usd) = (Some(Tokens::from(&self.request.usage)), Some(self.request.cost.usd()));
        }
    }

    /// A span that began so long after the request and took so long, in nanoseconds.
    fn push(&mut self, name: String, [after_ns, took_ns]: [u64; 2], status: SpanStatus, attributes: Value) {
        let attributes = match attributes {
            Value::Object(all) => all.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        };
        let parent = id(self.request.span_id);
        self.spans.push(Span {
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

fn took(attempt: &Attempt) -> u64 {
    let Attempt { connect_ns, tls_ns, first_byte_ns, stream_ns, .. } = *attempt;
    let connected = connect_ns.unwrap_or(0).saturating_add(tls_ns.unwrap_or(0));
    first_byte_ns.unwrap_or(connected).saturating_add(stream_ns.unwrap_or(0))
}

/// What happened when, in the order in which it did.
pub(crate) fn timeline(requests: &[RequestRow], trace_started_ms: u64) -> Vec<Moment> {
    let mut moments = Vec::new();
    for request in requests {
        let start_ms = request.started_ms.saturating_sub(trace_started_ms) as f64;
        let span_id = Some(id(request.span_id));
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
                None => put(attempt.started_ns.saturating_add(took(attempt)), attempt.outcome.to_string()),
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

fn operation(endpoint: &str) -> &str {
    // The words of the GenAI conventions, where they have one.
    match endpoint {
        "/v1/chat/completions" | "/v1/responses" => "chat",
        "/v1/completions" => "text_completion",
        "/v1/embeddings" => "embeddings",
        _ => "request",
    }
}

pub(crate) fn id(span: u64) -> String {
    format!("{span:016x}")
}

pub(crate) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;

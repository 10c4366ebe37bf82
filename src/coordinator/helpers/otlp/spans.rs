//! Turns a request into spans whose names and attributes follow OpenTelemetry's GenAI conventions (semconv 1.41). Pure. Spans
//! never contain prompts or answers.
//!
//! The request is a SERVER span, a child of the caller's span; each attempt at a provider is a CLIENT span below it. The cache
//! look-up and the policies take no measurable time, so they are events of the request's span. Only the request's span has
//! tokens and costs, so that sums over spans are right.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::dialect::openai::path;
use crate::link::AttemptOutcome;
use crate::link::trace::{Attempt, CacheOutcome, PolicyMatch, Trace, attempt_span_id};
use crate::llm::Operation;
use crate::policy::Action;

/// Address of a provider.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub host: Arc<str>,
    pub port: u16,
}

const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// The number of spans of a request.
pub(super) fn count(trace: &Trace) -> u64 {
    1 + trace.attempts.len() as u64
}

/// Adds the spans of a request: its own, then those of its attempts.
pub(super) fn of(trace: &Trace, servers: &HashMap<Box<str>, Server>, spans: &mut Vec<SpanData>) {
    let operation = trace.operation.map_or("", Operation::gen_ai_name);
    let mut attributes = common(trace, operation, &trace.provider, servers);
    of_request(trace, &mut attributes);
    let (start, end) = (at(trace, 0), at(trace, trace.duration_ns));
    spans.push(SpanData {
        span_context: context(trace, trace.span_id),
        parent_span_id: trace.parent_span_id.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: trace.parent_span_id.is_some(),
        span_kind: SpanKind::Server,
        name: name(operation, &trace.model_asked),
        start_time: start,
        end_time: end,
        attributes,
        dropped_attributes_count: 0,
        events: events(trace),
        links: SpanLinks::default(),
        status: status_of_request(trace),
        instrumentation_scope: scope(),
    });
    for (number, attempt) in trace.attempts.iter().enumerate() {
        let next = trace.attempts.get(number + 1).map_or(trace.duration_ns, |next| next.started_ns);
        spans.push(of_attempt(trace, (number, attempt), next, servers));
    }
}

/// `next_ns` is when the next attempt began, or when the request ended.
fn of_attempt(
    trace: &Trace,
    (number, attempt): (usize, &Attempt),
    next_ns: u64,
    servers: &HashMap<Box<str>, Server>,
) -> SpanData {
    let operation = trace.operation.map_or("", Operation::gen_ai_name);
    let mut attributes = common(trace, operation, &attempt.provider, servers);
    attributes.push(text("luner.provider", &attempt.provider));
    attributes.push(text("luner.outcome", &attempt.outcome));
    attributes.push(KeyValue::new("luner.attempt", number as i64));
    for (key, ns) in [
        ("luner.connect_ms", attempt.connect_ns),
        ("luner.tls_ms", attempt.tls_ns),
        ("luner.first_byte_ms", attempt.first_byte_ns),
    ] {
        attributes.extend(ns.map(|ns| KeyValue::new(key, ms(ns))));
    }
    let code = attempt.status.filter(|status| *status >= 400).map(|status| status.to_string());
    let answered = attempt.outcome == AttemptOutcome::Answered.label();
    let error = code.map(Cow::Owned).or_else(|| (!answered).then(|| attempt.outcome.clone()));
    attributes.extend(attempt.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    attributes.extend(error.clone().map(|error| KeyValue::new("error.type", error)));
    // An attempt without an answer lasted until the next one at the latest.
    let took = attempt.first_byte_ns.map(|first| attempt.started_ns + first + attempt.stream_ns.unwrap_or(0));
    SpanData {
        span_context: context(trace, attempt_span_id(trace.span_id, number)),
        parent_span_id: trace.span_id.into(),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: name(operation, &trace.model),
        start_time: at(trace, attempt.started_ns),
        end_time: at(trace, took.unwrap_or(next_ns).max(attempt.started_ns)),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, |_| Status::error("")),
        instrumentation_scope: scope(),
    }
}

/// Attributes that a request and its attempts have in common.
fn common(
    trace: &Trace,
    operation: &'static str,
    provider: &str,
    servers: &HashMap<Box<str>, Server>,
) -> Vec<KeyValue> {
    let server = servers.get(provider);
    let mut attributes = Vec::with_capacity(32);
    if !operation.is_empty() {
        attributes.push(KeyValue::new("gen_ai.operation.name", operation));
    }
    if !trace.model_asked.is_empty() {
        attributes.push(text("gen_ai.request.model", &trace.model_asked));
    }
    if !provider.is_empty() {
        let named = server.and_then(|server| known_provider(&server.host));
        attributes.push(text("gen_ai.provider.name", named.unwrap_or(provider)));
    }
    if let Some(server) = server {
        attributes.push(text("server.address", &server.host));
        attributes.push(KeyValue::new("server.port", i64::from(server.port)));
    }
    attributes
}

fn of_request(trace: &Trace, attributes: &mut Vec<KeyValue>) {
    let Trace { usage, inputs, .. } = trace;
    attributes.push(KeyValue::new("http.response.status_code", i64::from(trace.status)));
    if let Some(operation) = trace.operation {
        attributes.push(KeyValue::new("http.request.method", "POST"));
        attributes.push(KeyValue::new("http.route", path::of(operation)));
    }
    if trace.refusal.is_none() && trace.status < 400 && !trace.model.is_empty() {
        attributes.push(text("gen_ai.response.model", &trace.model));
    }
    if usage.total > 0 {
        attributes.push(number("gen_ai.usage.input_tokens", usage.input));
        attributes.push(number("gen_ai.usage.output_tokens", usage.output));
        attributes.push(number("gen_ai.usage.cache_read.input_tokens", usage.cache_read));
        attributes.push(number("gen_ai.usage.cache_creation.input_tokens", usage.cache_write));
        attributes.push(number("luner.usage.reasoning_tokens", usage.reasoning));
    }
    // Values that the caller did not send are left out: they are 0 and 1 here.
    if inputs.max_tokens > 0 {
        attributes.push(KeyValue::new("gen_ai.request.max_tokens", inputs.max_tokens));
    }
    if trace.operation.is_some() && inputs.temperature != 1.0 {
        attributes.push(KeyValue::new("gen_ai.request.temperature", inputs.temperature));
    }
    attributes.extend(error_type(trace).map(|error| KeyValue::new("error.type", error)));
    for (key, value) in [
        ("luner.request_id", &trace.request_id),
        ("luner.user", &trace.who.user),
        ("luner.tenant", &trace.who.tenant),
        ("luner.agent", &trace.who.agent),
        ("gen_ai.agent.name", &trace.who.agent),
        ("luner.provider", &trace.provider),
        ("luner.model", &trace.model),
    ] {
        if !value.is_empty() {
            attributes.push(text(key, value));
        }
    }
    attributes.push(KeyValue::new("luner.stream", trace.stream));
    attributes.push(KeyValue::new("luner.cache", cache(trace.cache)));
    attributes.push(KeyValue::new("luner.cost_usd", trace.cost.usd()));
    attributes.push(KeyValue::new("luner.saved_usd", trace.saved.usd()));
    attributes.push(KeyValue::new("luner.priced", trace.priced));
    attributes.extend(trace.first_byte_ns.map(|ns| KeyValue::new("luner.first_byte_ms", ms(ns))));
    attributes.extend(trace.refusal.as_ref().map(|refused| text("luner.fault", &refused.fault)));
    let changed = |matched: &&PolicyMatch| matched.effective && matched.action != Action::Alert;
    attributes.extend(trace.matches.iter().rev().find(changed).map(|matched| text("luner.policy", &matched.name)));
    attributes.extend(trace.cut.as_ref().map(|cut| text("luner.cut", cut)));
}

/// The results of the cache and the policies, as events at the start of the request.
fn events(trace: &Trace) -> SpanEvents {
    let start = at(trace, 0);
    let mut events = SpanEvents::default();
    if trace.cache != CacheOutcome::Bypass {
        let attributes = vec![KeyValue::new("luner.cache", cache(trace.cache))];
        events.events.push(Event::new("luner.cache", start, attributes, 0));
    }
    for matched in &trace.matches {
        let mut attributes = vec![
            text("luner.policy", &matched.name),
            text("luner.policy.id", &matched.id),
            KeyValue::new("luner.policy.action", matched.action.name()),
            KeyValue::new("luner.policy.mode", matched.mode.name()),
            KeyValue::new("luner.policy.effective", matched.effective),
            text("luner.policy.note", &matched.note),
        ];
        attributes.extend(matched.target.as_ref().map(|target| text("luner.policy.target", target)));
        events.events.push(Event::new("luner.policy.match", start, attributes, 0));
    }
    for failed in &trace.faults {
        let attributes = vec![
            text("luner.policy", &failed.name),
            text("luner.policy.id", &failed.id),
            text("error.type", &failed.kind),
        ];
        events.events.push(Event::new("luner.policy.failure", start, attributes, 0));
    }
    events
}

/// One of few values: a refusal's code, a status, or `cut`.
fn error_type(trace: &Trace) -> Option<Cow<'static, str>> {
    let refused = trace.refusal.as_ref().map(|refused| refused.code.clone());
    refused
        .or_else(|| (trace.status >= 400).then(|| trace.status.to_string().into()))
        .or_else(|| trace.cut.is_some().then_some(Cow::Borrowed("cut")))
}

/// By the HTTP conventions, failures of the server are errors, those of the caller are not.
fn status_of_request(trace: &Trace) -> Status {
    match (trace.status, &trace.refusal) {
        (500.., Some(refused)) => Status::error(refused.message.to_string()),
        (500.., None) => Status::error(""),
        _ => trace.cut.as_ref().map_or(Status::Unset, |cut| Status::error(cut.clone())),
    }
}

/// The name that the conventions give to the provider at a well-known host. Others keep their name from the configuration.
fn known_provider(host: &str) -> Option<&'static str> {
    let exact = [
        ("api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.groq.com", "groq"),
        ("api.deepseek.com", "deepseek"),
        ("api.cohere.com", "cohere"),
        ("api.perplexity.ai", "perplexity"),
        ("api.x.ai", "x_ai"),
    ];
    let ends = [
        (".openai.azure.com", "azure.ai.openai"),
        (".services.ai.azure.com", "azure.ai.inference"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ];
    let exact = exact.into_iter().find(|(known, _)| *known == host);
    let found = exact.or_else(|| ends.into_iter().find(|(end, _)| host.ends_with(end)));
    let bedrock = host.starts_with("bedrock-runtime.") && host.ends_with(".amazonaws.com");
    found.map(|(_, name)| name).or(bedrock.then_some("aws.bedrock"))
}

fn name(operation: &'static str, model: &str) -> Cow<'static, str> {
    match (operation, model) {
        ("", _) => "request".into(),
        (_, "") => operation.into(),
        _ => format!("{operation} {model}").into(),
    }
}

fn cache(outcome: CacheOutcome) -> &'static str {
    match outcome {
        CacheOutcome::Hit => "HIT",
        CacheOutcome::Miss => "MISS",
        CacheOutcome::Bypass => "BYPASS",
    }
}

fn context(trace: &Trace, span_id: u64) -> SpanContext {
    SpanContext::new(trace.trace_id.into(), span_id.into(), TraceFlags::SAMPLED, false, TraceState::default())
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("luner").with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL).build()
}

/// The time `since_ns` after the start of the request.
fn at(trace: &Trace, since_ns: u64) -> SystemTime {
    let since = Duration::from_millis(trace.started_ms).saturating_add(Duration::from_nanos(since_ns));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, Value::from(value.to_owned()))
}

fn number(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::sample;

    #[test]
    fn cache_reads_and_writes_are_attributes_of_the_request() {
        let mut spans = Vec::new();
        of(&sample::trace(1), &HashMap::new(), &mut spans);
        for expected in
            [number("gen_ai.usage.cache_read.input_tokens", 3), number("gen_ai.usage.cache_creation.input_tokens", 2)]
        {
            assert!(spans[0].attributes.contains(&expected), "{expected:?}");
        }
    }
}

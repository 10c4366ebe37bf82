//! Spans of real requests, as a collector decodes them with the protocol's own types, and collectors that hang, fail or
//! are absent (FAULTS.md rows 80 and 82).

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::json;

use crate::support::*;

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
/// A prompt that must not appear in any span.
const PROMPT: &str = "only the provider may read this";
/// The caller's trace and span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";

/// A gateway that exports its spans to `collector` without much delay.
fn exporting(gateway: Gateway, collector: &str) -> Gateway {
    gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn endpoint(collector: &Upstream) -> String {
    format!("http://{}", collector.addr())
}

/// All spans that have arrived so far.
fn spans(collector: &Upstream) -> Vec<Span> {
    let decode =
        |request: Received| ExportTraceServiceRequest::decode(&request.body[..]).expect("the protocol's bytes");
    let resources = collector.requests().into_iter().flat_map(|request| decode(request).resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// Waits for exactly this many spans.
#[track_caller]
fn wait_spans(collector: &Upstream, count: usize) -> Vec<Span> {
    let mut all = Vec::new();
    eventually("the spans are exported", || {
        all = spans(collector);
        all.len() >= count
    });
    assert_eq!(all.len(), count, "{all:#?}");
    all
}

fn attribute(span: &Span, key: &str) -> Option<Any> {
    let pair = span.attributes.iter().find(|pair| pair.key == key)?;
    pair.value.as_ref()?.value.clone()
}

fn string(span: &Span, key: &str) -> Option<String> {
    match attribute(span, key)? {
        Any::StringValue(text) => Some(text),
        other => panic!("{key} is not a string: {other:?}"),
    }
}

fn int(span: &Span, key: &str) -> Option<i64> {
    match attribute(span, key)? {
        Any::IntValue(number) => Some(number),
        other => panic!("{key} is not an integer: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// The span of this user's request, and the spans of its attempts in order.
fn request_spans<'s>(spans: &'s [Span], user: &str) -> (&'s Span, Vec<&'s Span>) {
    let request = spans.iter().find(|span| string(span, "luner.user").as_deref() == Some(user));
    let request = request.unwrap_or_else(|| panic!("no span of {user}: {spans:#?}"));
    let mut attempts: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == request.span_id).collect();
    attempts.sort_by_key(|span| int(span, "luner.attempt"));
    (request, attempts)
}

/// A chat request by `user`, with further header lines.
fn chat_by(user: &str, headers: &str, model: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-User: {user}\r\n{headers}"), chat(model, PROMPT))
}

/// Sends four requests: ann's within the caller's trace, bob's to a failing provider, cem's as a stream, and dee's,
/// which a policy blocks.
fn send_four_requests(luner: &Running) {
    luner.api().create(&json!({ "name": "no dee", "expression": "user_id == 'dee'", "action": "block" }));
    let mut client = luner.connect();
    let in_trace = format!("traceparent: 00-{TRACE}-{CALLER_SPAN}-01\r\nX-Luner-Agent: planner\r\n");
    assert_eq!(client.send(chat_by("ann", &in_trace, "gpt-4o")).answer().status, 200);
    assert_eq!(client.send(chat_by("bob", "", "gpt-4o+fault=status=500")).answer().status, 502);
    let stream = post_with(CHAT, "X-Luner-User: cem\r\n", chat_stream("gpt-4o", PROMPT));
    assert_eq!(client.send(stream).answer().status, 200);
    assert_eq!(client.send(chat_by("dee", "", "gpt-4o")).answer().status, 403);
}

/// FAULTS.md row 80.
#[test]
fn requests_are_exported_as_child_spans_without_prompts() {
    let (mock, collector) = (mock(), Upstream::always(ACCEPTED));
    let gateway = Gateway::new().provider_with("openai", mock.base_url(), &["gpt-4o", "*"], json!({ "retries": 1 }));
    let luner = exporting(gateway.storage_sqlite(), &endpoint(&collector)).start();
    send_four_requests(&luner);
    let spans = wait_spans(&collector, 4 + 4);
    let entries = mock.ledger().entries;
    let sent: Vec<&str> = entries.iter().filter_map(|entry| entry.header("traceparent")).collect();

    assert_spans_of_a_plain_request(&spans, &entries[0], sent[0]);

    let (own, attempts) = request_spans(&spans, "bob");
    let failed = |span: &Span, code: &str| is_error(span) && string(span, "error.type").as_deref() == Some(code);
    assert_eq!(attempts.len(), 2);
    assert!(failed(own, "provider_error") && attempts.iter().all(|attempt| failed(attempt, "500")));
    assert_eq!((own.trace_id.len(), own.parent_span_id.len()), (16, 0), "it starts a trace");
    let forwarded: HashSet<String> = sent.iter().map(|header| header[36..52].to_owned()).collect();
    let is_forwarded = |attempt: &&Span| forwarded.contains(&hex(&attempt.span_id));
    assert!(attempts.iter().all(is_forwarded), "each attempt forwards its own span");

    let (own, attempts) = request_spans(&spans, "cem");
    assert_eq!((attribute(own, "luner.stream"), attempts.len()), (Some(Any::BoolValue(true)), 1));
    assert_eq!(tokens(own)[0], Some(entries[0].prompt_tokens as i64), "usage of a stream is recorded too");

    let (own, attempts) = request_spans(&spans, "dee");
    assert_eq!((attempts.len(), string(own, "error.type").as_deref()), (0, Some("policy_violation")));
    assert_eq!(string(own, "luner.policy").as_deref(), Some("no dee"));
    assert!(!is_error(own), "a blocked request is not an error of the server");

    let all = collector.requests();
    assert!(all.iter().all(|request| request.line() == "POST /v1/traces HTTP/1.1"));
    for secret in [PROMPT, CANARY] {
        let leaked = |request: &Received| request.body.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!all.iter().any(leaked), "the collector received {secret:?}");
    }
    let ids: HashSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    assert_eq!(ids.len(), spans.len(), "each span has its own id");
}

fn tokens(span: &Span) -> [Option<i64>; 2] {
    ["input", "output"].map(|side| int(span, &format!("gen_ai.usage.{side}_tokens")))
}

/// Asserts ann's spans: every attribute, and the trace that joins the caller, luner and the provider.
fn assert_spans_of_a_plain_request(spans: &[Span], entry: &mock_llm::Entry, sent: &str) {
    let (own, attempts) = request_spans(spans, "ann");
    assert_eq!((hex(&own.trace_id), hex(&own.parent_span_id)), (TRACE.into(), CALLER_SPAN.into()));
    assert_eq!((own.kind(), own.name.as_str()), (SpanKind::Server, "chat gpt-4o"));
    assert_eq!((attempts.len(), attempts[0].kind()), (1, SpanKind::Client));
    let forwarded = format!("00-{TRACE}-{}-01", hex(&attempts[0].span_id));
    assert_eq!(sent, forwarded, "the provider is told the attempt's span");
    for (key, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o"),
        ("gen_ai.response.model", "gpt-4o"),
        ("gen_ai.agent.name", "planner"),
        ("luner.agent", "planner"),
        ("luner.provider", "openai"),
        ("luner.cache", "BYPASS"),
        ("http.route", CHAT),
    ] {
        assert_eq!(string(own, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(tokens(own), [Some(entry.prompt_tokens as i64), Some(entry.completion_tokens as i64)]);
    assert_eq!(int(own, "http.response.status_code"), Some(200));
    assert!(!is_error(own) && !is_error(attempts[0]));
    assert_eq!((tokens(attempts[0]), int(attempts[0], "http.response.status_code")), ([None, None], Some(200)));
    assert!(own.start_time_unix_nano <= attempts[0].start_time_unix_nano);
    assert!(attempts[0].end_time_unix_nano <= own.end_time_unix_nano);
}

#[test]
fn unsampled_request_is_traced_but_not_exported() {
    let (mock, collector) = (mock(), Upstream::always(ACCEPTED));
    let luner = exporting(Gateway::in_front_of(mock.base_url()).storage_sqlite(), &endpoint(&collector)).start();
    let mut client = luner.connect();
    let unsampled = format!("traceparent: 00-{TRACE}-{CALLER_SPAN}-00\r\n");
    assert_eq!(client.send(chat_by("ann", &unsampled, "gpt-4o")).answer().status, 200);
    assert_eq!(client.send(chat_by("bob", "", "gpt-4o")).answer().status, 200);
    // Spans are exported in order: those of the first request would arrive before those of the second.
    let spans = wait_spans(&collector, 2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:#?}");
    let sent = mock.ledger().entries[0].header("traceparent").expect("a header").to_owned();
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"), "{sent}");
    assert_eq!(luner.api().traces("user_id=ann", 1)[0]["trace_id"], TRACE);
    assert_eq!(luner.metric("luner_otlp_spans_dropped_total", &[]), 0.0, "an unsampled span is not counted as dropped");
}

/// Sends requests, which are all answered although the collector misbehaves. Returns luner and the number of their
/// spans.
fn send_requests_unaffected_by(collector: &str, env: &[(&str, &str)]) -> (Running, f64) {
    const REQUESTS: usize = 200;
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = exporting(Gateway::in_front_of(mock.base_url()).log("info"), collector);
    let luner = env.iter().fold(gateway, |gateway, (name, value)| gateway.env(name, value)).start();
    let mut client = luner.connect();
    for _ in 0..REQUESTS {
        assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200);
    }
    assert_eq!(luner.metric("luner_requests_total", &["status=\"200\""]), REQUESTS as f64);
    // One span for the request and one for its attempt.
    (luner, 2.0 * REQUESTS as f64)
}

/// Asserts that luner shuts down in order, within the usual time.
fn assert_shuts_down(mut luner: Running) {
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
}

/// FAULTS.md row 82.
#[test]
fn failing_or_absent_collector_loses_only_its_spans() {
    let failing = Upstream::always(FAILED);
    for collector in [endpoint(&failing), format!("http://{}", Upstream::closed_port())] {
        let (luner, spans) = send_requests_unaffected_by(&collector, &[]);
        eventually("each span is counted as dropped", || {
            luner.metric("luner_otlp_spans_dropped_total", &["reason=\"failed\""]) == spans
        });
        assert_eq!(luner.metric("luner_otlp_spans_exported_total", &[]), 0.0);
        assert_shuts_down(luner);
    }
    assert!(failing.connections() > 0, "the failing collector was called");
}

/// FAULTS.md row 82.
#[test]
fn hanging_collector_delays_neither_requests_nor_shutdown() {
    const QUEUE: f64 = 100.0;
    let collector = Upstream::script(|connection| while connection.next_request().is_some() {});
    let (luner, spans) = send_requests_unaffected_by(&endpoint(&collector), &[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]);
    eventually("the spans that do not fit into the queue are counted as dropped", || {
        luner.metric("luner_otlp_spans_dropped_total", &["reason=\"queue_full\""]) >= spans - QUEUE
    });
    assert_eq!(luner.metric("luner_otlp_spans_exported_total", &[]), 0.0);
    assert_shuts_down(luner);
}

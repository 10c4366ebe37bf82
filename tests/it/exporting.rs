//! Spans of real requests at a collector that decodes them with the protocol's own types, and collectors that hang, fail or
//! are not there.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::json;

use crate::support::*;

const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
/// What no collector may read.
const PROMPT: &str = "what only the provider may read";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A gateway that exports to `collector`, at once.
fn exporting(gateway: Gateway, collector: &str) -> Gateway {
    gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn address(collector: &Upstream) -> String {
    format!("http://{}", collector.addr())
}

/// All spans that came so far.
fn spans(collector: &Upstream) -> Vec<Span> {
    let decoded =
        |request: Received| ExportTraceServiceRequest::decode(&request.body[..]).expect("the protocol's bytes");
    let resources = collector.requests().into_iter().flat_map(|request| decoded(request).resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// The spans, once there are so many.
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

fn value(span: &Span, key: &str) -> Option<Any> {
    let pair = span.attributes.iter().find(|pair| pair.key == key)?;
    pair.value.as_ref()?.value.clone()
}

fn word(span: &Span, key: &str) -> Option<String> {
    match value(span, key)? {
        Any::StringValue(text) => Some(text),
        other => panic!("{key} is no text: {other:?}"),
    }
}

fn int(span: &Span, key: &str) -> Option<i64> {
    match value(span, key)? {
        Any::IntValue(number) => Some(number),
        other => panic!("{key} is no whole number: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// A request's own span and those of its attempts, in order.
fn family<'s>(spans: &'s [Span], user: &str) -> (&'s Span, Vec<&'s Span>) {
    let own = spans.iter().find(|span| word(span, "luner.user").as_deref() == Some(user));
    let own = own.unwrap_or_else(|| panic!("no span of {user}: {spans:#?}"));
    let mut attempts: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == own.span_id).collect();
    attempts.sort_by_key(|span| int(span, "luner.attempt"));
    (own, attempts)
}

/// A chat request of `user`, with further header lines.
fn chat_of(user: &str, lines: &str, model: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-User: {user}\r\n{lines}"), chat(model, PROMPT))
}

/// Asks for a plain answer in the caller's trace, a failing one, a stream, and what is blocked.
fn ask_four(luner: &Running) {
    luner.api().create(&json!({ "name": "no dee", "expression": "user_id == 'dee'", "action": "block" }));
    let mut client = luner.connect();
    let in_trace = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\nX-Luner-Agent: planner\r\n");
    assert_eq!(client.send(chat_of("ann", &in_trace, "gpt-4o")).answer().status, 200);
    assert_eq!(client.send(chat_of("bob", "", "gpt-4o+fault=status=500")).answer().status, 502);
    let stream = post_with(CHAT, "X-Luner-User: cem\r\n", chat_stream("gpt-4o", PROMPT));
    assert_eq!(client.send(stream).answer().status, 200);
    assert_eq!(client.send(chat_of("dee", "", "gpt-4o")).answer().status, 403);
}

// 80
#[test]
fn real_requests_are_spans_below_their_callers_and_tell_nobody_what_was_said() {
    let (mock, collector) = (mock(), Upstream::always(TAKEN));
    let gateway = Gateway::new().provider_with("openai", mock.base_url(), &["gpt-4o", "*"], "retries: 1");
    let luner = exporting(gateway.storage_sqlite(), &address(&collector)).start();
    ask_four(&luner);
    let spans = wait_spans(&collector, 4 + 4);

    let (own, attempts) = family(&spans, "ann");
    assert_eq!((hex(&own.trace_id), hex(&own.parent_span_id)), (TRACE.into(), CALLER.into()));
    assert_eq!((own.kind(), own.name.as_str()), (SpanKind::Server, "chat gpt-4o"));
    assert_eq!((attempts.len(), attempts[0].kind()), (1, SpanKind::Client));
    let entries = mock.ledger().entries;
    let sent: Vec<&str> = entries.iter().filter_map(|entry| entry.header("traceparent")).collect();
    assert_eq!(
        sent[0],
        format!("00-{TRACE}-{}-01", hex(&attempts[0].span_id)),
        "the provider joins the attempt's span"
    );
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
        assert_eq!(word(own, key).as_deref(), Some(expected), "{key}");
    }
    let tokens = |span: &Span| ["input", "output"].map(|side| int(span, &format!("gen_ai.usage.{side}_tokens")));
    assert_eq!(tokens(own), [Some(entries[0].prompt_tokens as i64), Some(entries[0].completion_tokens as i64)]);
    assert_eq!(int(own, "http.response.status_code"), Some(200));
    assert!(!is_error(own) && !is_error(attempts[0]));
    assert_eq!((tokens(attempts[0]), int(attempts[0], "http.response.status_code")), ([None, None], Some(200)));
    assert!(own.start_time_unix_nano <= attempts[0].start_time_unix_nano);
    assert!(attempts[0].end_time_unix_nano <= own.end_time_unix_nano);

    let (own, attempts) = family(&spans, "bob");
    assert_eq!((attempts.len(), is_error(own), word(own, "error.type").as_deref()), (2, true, Some("provider_error")));
    assert!(attempts.iter().all(|attempt| is_error(attempt) && word(attempt, "error.type").as_deref() == Some("500")));
    assert_eq!((own.trace_id.len(), own.parent_span_id.len()), (16, 0), "it began a trace");
    let named: HashSet<String> = sent.iter().map(|header| header[36..52].to_owned()).collect();
    assert!(attempts.iter().all(|attempt| named.contains(&hex(&attempt.span_id))), "each names its own");

    let (own, attempts) = family(&spans, "cem");
    assert_eq!((value(own, "luner.stream"), attempts.len()), (Some(Any::BoolValue(true)), 1));
    assert_eq!(tokens(own)[0], Some(entries[0].prompt_tokens as i64), "a stream's usage counts alike");

    let (own, attempts) = family(&spans, "dee");
    assert_eq!((attempts.len(), word(own, "error.type").as_deref()), (0, Some("policy_violation")));
    assert_eq!(
        (word(own, "luner.policy").as_deref(), is_error(own)),
        (Some("no dee"), false),
        "no fault of the server"
    );

    let all = collector.requests();
    assert!(all.iter().all(|request| request.line() == "POST /v1/traces HTTP/1.1"));
    for secret in [PROMPT, CANARY] {
        let told = |request: &Received| request.body.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!all.iter().any(told), "a collector reads {secret:?}");
    }
    let ids: HashSet<&[u8]> = spans.iter().map(|span| &span.span_id[..]).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");
}

#[test]
fn a_caller_who_does_not_sample_is_kept_by_luner_and_not_exported() {
    let (mock, collector) = (mock(), Upstream::always(TAKEN));
    let luner = exporting(Gateway::before(mock.base_url()).storage_sqlite(), &address(&collector)).start();
    let mut client = luner.connect();
    let unsampled = format!("traceparent: 00-{TRACE}-{CALLER}-00\r\n");
    assert_eq!(client.send(chat_of("ann", &unsampled, "gpt-4o")).answer().status, 200);
    assert_eq!(client.send(chat_of("bob", "", "gpt-4o")).answer().status, 200);
    // In order: had the first been exported, it would stand before the second.
    let spans = wait_spans(&collector, 2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:#?}");
    let sent = mock.ledger().entries[0].header("traceparent").expect("a header").to_owned();
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"), "{sent}");
    assert_eq!(luner.api().traces("user_id=ann", 1)[0]["trace_id"], TRACE);
    assert_eq!(luner.metric("luner_otlp_spans_dropped_total", &[]), 0.0, "what is not wanted is not lost");
}

/// Requests that are all answered while the collector misbehaves. Gives back the luner.
fn unaffected(collector: &str, env: &[(&str, &str)]) -> (Running, f64) {
    const ASKED: usize = 200;
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = exporting(Gateway::before(mock.base_url()).log("info"), collector);
    let luner = env.iter().fold(gateway, |gateway, (name, value)| gateway.env(name, value)).start();
    let mut client = luner.connect();
    for _ in 0..ASKED {
        assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200);
    }
    assert_eq!(luner.metric("luner_requests_total", &["status=\"200\""]), ASKED as f64);
    // A request and its attempt.
    (luner, 2.0 * ASKED as f64)
}

/// Ends it in order, as fast as though there were no collector.
fn ends(mut luner: Running) {
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
}

// 82
#[test]
fn a_collector_that_fails_or_is_not_there_costs_its_spans_alone() {
    let failing = Upstream::always(FAILED);
    for collector in [address(&failing), format!("http://{}", Upstream::nobody())] {
        let (luner, spans) = unaffected(&collector, &[]);
        eventually("each span is counted as dropped", || {
            luner.metric("luner_otlp_spans_dropped_total", &["reason=\"failed\""]) == spans
        });
        assert_eq!(luner.metric("luner_otlp_spans_exported_total", &[]), 0.0);
        ends(luner);
    }
    assert!(failing.connections() > 0, "it was asked");
}

// 82
#[test]
fn a_collector_that_hangs_holds_neither_requests_nor_the_end_up() {
    const QUEUE: f64 = 100.0;
    let collector = Upstream::script(|connection| while connection.next_request().is_some() {});
    let (luner, spans) = unaffected(&address(&collector), &[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]);
    eventually("what the queue has no room for is counted as dropped", || {
        luner.metric("luner_otlp_spans_dropped_total", &["reason=\"queue_full\""]) >= spans - QUEUE
    });
    assert_eq!(luner.metric("luner_otlp_spans_exported_total", &[]), 0.0);
    ends(luner);
}

//! What a request looks like as spans.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::*;
use crate::coordinator::sample::{STARTED_MS, trace};
use crate::link::trace::{CacheOutcome, Captured, PolicyFailure, PolicyMatch, Refused, attempt_span_id};
use crate::policy::{Action, Mode};
use crate::units::MicroUsd;

fn matched(name: &str, action: Action, effective: bool) -> PolicyMatch {
    let (id, mode) = (format!("pol_{name}").into(), Mode::Enforce);
    PolicyMatch { id, name: name.into(), action, mode, effective, note: "applied".into(), target: None }
}

#[test]
fn request_is_a_server_span_with_its_attempts_as_client_spans() {
    let mut request = trace(0x1234);
    request.parent_span_id = Some(0xfeed);
    request.inputs.max_tokens = 256;
    request.inputs.temperature = 0.0;
    request.attempts.insert(0, request.attempts[0].clone());
    let failed = &mut request.attempts[0];
    (failed.provider, failed.status, failed.outcome) = ("backup".into(), Some(503), "server_error".into());
    (failed.started_ns, failed.first_byte_ns, failed.stream_ns) = (500_000, Some(300_000), None);
    let (spans, _) = exported(request);
    let [root, first, second] = &spans[..] else { panic!("{spans:#?}") };

    let trace_id = trace(0x1234).trace_id.to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == trace_id));
    assert_eq!(
        (&root.span_id[..], &root.parent_span_id[..]),
        (&0x1234_u64.to_be_bytes()[..], &0xfeed_u64.to_be_bytes()[..])
    );
    assert_eq!((root.kind(), root.name.as_str()), (SpanKind::Server, "chat gpt-4o"));
    assert_eq!(root.start_time_unix_nano, STARTED_MS * 1_000_000);
    assert_eq!(root.end_time_unix_nano - root.start_time_unix_nano, 250_000_000);
    assert!(root.status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset));
    let of = &root.attributes;
    for (key, expected) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o"),
        ("gen_ai.response.model", "gpt-4o"),
        ("gen_ai.agent.name", "planner"),
        ("server.address", "api.openai.com"),
        ("http.route", "/v1/chat/completions"),
        ("luner.user", "ann"),
        ("luner.tenant", "acme"),
        ("luner.provider", "openai-prod"),
        ("luner.cache", "BYPASS"),
        ("luner.request_id", "req-4660"),
    ] {
        assert_eq!(word(of, key).as_deref(), Some(expected), "{key}");
    }
    for (key, expected) in [
        ("gen_ai.usage.input_tokens", 7),
        ("gen_ai.usage.output_tokens", 5),
        ("gen_ai.request.max_tokens", 256),
        ("http.response.status_code", 200),
        ("server.port", 443),
    ] {
        assert_eq!(int(of, key), Some(expected), "{key}");
    }
    assert_eq!((float(of, "luner.cost_usd"), float(of, "gen_ai.request.temperature")), (0.000_034, 0.0));
    assert_eq!(value(of, "error.type"), None);

    for (number, attempt) in [first, second].into_iter().enumerate() {
        assert_eq!(attempt.kind(), SpanKind::Client);
        assert_eq!(attempt.span_id, attempt_span_id(0x1234, number).to_be_bytes());
        assert_eq!(attempt.parent_span_id, root.span_id);
        assert_eq!(value(&attempt.attributes, "gen_ai.usage.input_tokens"), None, "no token is told twice");
    }
    assert_eq!(word(&first.attributes, "gen_ai.provider.name").as_deref(), Some("backup"), "by its own name");
    assert_eq!(word(&first.attributes, "error.type").as_deref(), Some("503"));
    assert_eq!(int(&first.attributes, "http.response.status_code"), Some(503));
    assert_eq!(first.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(first.end_time_unix_nano - first.start_time_unix_nano, 300_000);
    assert_eq!(word(&second.attributes, "luner.outcome").as_deref(), Some("answered"));
    assert_eq!(value(&second.attributes, "error.type"), None);
    assert_eq!(second.end_time_unix_nano - second.start_time_unix_nano, 249_000_000);
}

#[test]
fn policy_and_cache_results_are_events_of_the_request() {
    let mut request = trace(2);
    (request.cache, request.saved, request.cost) = (CacheOutcome::Hit, MicroUsd(34), MicroUsd(0));
    request.attempts.clear();
    request.matches = vec![matched("watch", Action::Alert, true), matched("cheaper", Action::Downgrade, true)];
    request.matches[1].target = Some("gpt-4o-mini".into());
    request.model = "gpt-4o-mini".into();
    request.faults = vec![PolicyFailure { id: "pol_odd".into(), name: "odd".into(), kind: "overflow".into() }];
    let (spans, _) = exported(request);
    let [root] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(root.parent_span_id, Vec::<u8>::new(), "the request is the first of its trace");
    assert_eq!(root.name, "chat gpt-4o", "the requested model");
    assert_eq!(word(&root.attributes, "gen_ai.response.model").as_deref(), Some("gpt-4o-mini"));
    assert_eq!(word(&root.attributes, "luner.policy").as_deref(), Some("cheaper"));
    assert_eq!(
        (float(&root.attributes, "luner.saved_usd"), float(&root.attributes, "luner.cost_usd")),
        (0.000_034, 0.0)
    );
    let names: Vec<&str> = root.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["luner.cache", "luner.policy.match", "luner.policy.match", "luner.policy.failure"]);
    assert_eq!(word(&root.events[0].attributes, "luner.cache").as_deref(), Some("HIT"));
    assert_eq!(word(&root.events[2].attributes, "luner.policy.target").as_deref(), Some("gpt-4o-mini"));
    assert_eq!(word(&root.events[3].attributes, "error.type").as_deref(), Some("overflow"));
}

#[test]
fn unsampled_trace_is_exported_only_on_request() {
    for (unsampled, expected) in [(false, vec![1]), (true, vec![2, 1])] {
        let (address, requests) = collector(&[200]);
        let mut otlp = start(Settings { unsampled, ..at(address) });
        otlp.offer(&mut [Trace { sampled: false, ..trace(2) }, trace(1)], &plan());
        otlp.finish();
        let spans: Vec<Span> = requests.try_iter().flat_map(|received| received.spans()).collect();
        let servers = spans.iter().filter(|span| span.kind == SpanKind::Server as i32);
        let ids: Vec<u64> = servers.map(|span| u64::from_be_bytes(span.span_id[..].try_into().unwrap())).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn refusal_has_its_code_and_bodies_are_never_exported() {
    let mut request = trace(3);
    request.status = 403;
    let message = "blocked by the policy `no`".into();
    request.refusal = Some(Refused { code: "policy_violation".into(), fault: "policy".into(), message });
    request.matches = vec![matched("no", Action::Block, true)];
    request.attempts.clear();
    let body = b"the-prompt-that-stays-here".to_vec();
    request.captured = Some(Captured { request: body.clone(), answer: body.clone(), cut: false });
    let (spans, bytes) = exported(request);
    assert_eq!(word(&spans[0].attributes, "error.type").as_deref(), Some("policy_violation"));
    assert_eq!(word(&spans[0].attributes, "luner.fault").as_deref(), Some("policy"));
    assert_eq!(value(&spans[0].attributes, "gen_ai.response.model"), None);
    assert!(
        spans[0].status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset),
        "the caller is at fault, not luner"
    );
    assert!(!bytes.windows(body.len()).any(|window| window == body));
}

#[test]
fn broken_answer_is_an_error() {
    let mut request = trace(4);
    (request.status, request.cut) = (200, Some("the provider hung up".into()));
    let (spans, _) = exported(request);
    assert_eq!(word(&spans[0].attributes, "error.type").as_deref(), Some("cut"));
    assert_eq!(word(&spans[0].attributes, "luner.cut").as_deref(), Some("the provider hung up"));
    assert_eq!(spans[0].status.as_ref().unwrap().code(), StatusCode::Error);
}

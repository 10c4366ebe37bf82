//! Against a collector that decodes what it gets with the protocol's own types.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Pair, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::Message;

use super::*;
use crate::clock::Now;
use crate::config;
use crate::coordinator::sample::{STARTED_MS, trace};
use crate::link::trace::{CacheOutcome, Captured, PolicyFailure, PolicyMatch, Refused, attempt_span_id};
use crate::plan;
use crate::policy::{Action, Mode};
use crate::shared::Shared;
use crate::units::MicroUsd;

/// Longer than any of it takes.
const GUARD: Duration = Duration::from_secs(10);

/// What a collector got.
struct Got {
    head: String,
    body: Vec<u8>,
}

impl Got {
    fn decoded(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&self.body[..]).unwrap()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.decoded().resource_spans.into_iter();
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    fn resource(&self) -> Vec<Pair> {
        self.decoded().resource_spans.remove(0).resource.unwrap().attributes
    }
}

/// Reads one request and tells what it was.
fn read(stream: &mut BufReader<impl Read>) -> Option<Got> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Got { head, body })
}

/// A collector that answers the n-th request with the n-th of these statuses, and further ones with the last; not at all
/// where it is 0.
fn collector(statuses: &'static [u16]) -> (SocketAddr, flume::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (got, gets) = flume::unbounded();
    thread::spawn(move || {
        let mut statuses = statuses.iter().copied().chain(std::iter::repeat(*statuses.last().unwrap()));
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            open.push(stream.try_clone().unwrap());
            let mut stream = BufReader::new(stream);
            if let Some(request) = read(&mut stream) {
                let _ = got.send(request);
                match statuses.next() {
                    Some(0) | None => {}
                    Some(status) => answer(stream.get_mut(), status),
                }
            }
        }
    });
    (address, gets)
}

fn answer(stream: &mut impl Write, status: u16) {
    let answer = format!("HTTP/1.1 {status} It\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
}

fn settings(endpoint: String) -> Settings {
    Settings {
        endpoint,
        timeout: GUARD,
        certificate: None,
        queue_max: 1_000,
        batch_max: 512,
        delay: Duration::from_millis(1),
        named: false,
        unsampled: false,
    }
}

fn at(address: SocketAddr) -> Settings {
    settings(format!("http://{address}/v1/traces"))
}

fn start(settings: Settings) -> Otlp {
    Otlp::start_with(settings, Clock::start()).unwrap()
}

/// Of a gateway in front of OpenAI.
fn plan() -> Plan {
    let text = "version: v1\nproviders:\n\
                \x20 - { name: openai-prod, base_url: \"https://api.openai.com/v1\", api_key: k, models: [gpt-4o] }\n\
                \x20 - { name: backup, base_url: \"http://127.0.0.1:9\", api_key: k, models: [gpt-4o-mini] }\n";
    let (config, shared) = (config::parse(text, "test", &|_| None).unwrap(), Shared::new(1));
    let parts = plan::PlanInputs {
        config: &config,
        prices: Arc::default(),
        policies: Arc::default(),
        created_s: 1,
        exports_spans: false,
        slots: shared.claim_slots([]),
        now: Now::default(),
    };
    Plan::new(parts, None).unwrap()
}

/// Exports one request and gives back its spans, and the bytes that they came in.
fn exported(trace: Trace) -> (Vec<Span>, Vec<u8>) {
    let (address, gets) = collector(&[200]);
    let mut otlp = start(at(address));
    let mut traces = [trace];
    let bodies = traces[0].captured.clone();
    otlp.offer(&mut traces, &plan());
    assert_eq!(traces[0].captured, bodies, "the store still gets them");
    let got = gets.recv_timeout(GUARD).unwrap();
    (got.spans(), got.body)
}

fn value(attributes: &[Pair], key: &str) -> Option<any_value::Value> {
    let mut found = attributes.iter().filter(|pair| pair.key == key);
    let AnyValue { value } = found.next()?.value.clone()?;
    assert!(found.next().is_none(), "{key} came twice");
    value
}

fn word(attributes: &[Pair], key: &str) -> Option<String> {
    match value(attributes, key)? {
        any_value::Value::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

fn int(attributes: &[Pair], key: &str) -> Option<i64> {
    match value(attributes, key)? {
        any_value::Value::IntValue(number) => Some(number),
        other => panic!("{key} is {other:?}"),
    }
}

fn float(attributes: &[Pair], key: &str) -> f64 {
    match value(attributes, key) {
        Some(any_value::Value::DoubleValue(number)) => number,
        other => panic!("{key} is {other:?}"),
    }
}

/// Waits until so many spans were exported, crowded out, and refused.
fn wait_for(otlp: &Otlp, exported: u64, crowded_out: u64, failed: u64) {
    let (clock, wanted) = (Clock::start(), Spans { exported, crowded_out, failed });
    while otlp.spans() != wanted {
        assert!(clock.now().since(Now::default()) < GUARD, "{:?}, not {wanted:?}", otlp.spans());
        thread::yield_now();
    }
}

fn matched(name: &str, action: Action, effective: bool) -> PolicyMatch {
    let (id, mode) = (format!("pol_{name}").into(), Mode::Enforce);
    PolicyMatch { id, name: name.into(), action, mode, effective, note: "applied".into(), target: None }
}

#[test]
fn a_request_is_a_server_span_below_the_callers_and_its_attempts_are_clients_below_it() {
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
fn what_policies_and_cache_said_are_events_of_the_request() {
    let mut request = trace(2);
    (request.cache, request.saved, request.cost) = (CacheOutcome::Hit, MicroUsd(34), MicroUsd(0));
    request.attempts.clear();
    request.matches = vec![matched("watch", Action::Alert, true), matched("cheaper", Action::Downgrade, true)];
    request.matches[1].target = Some("gpt-4o-mini".into());
    request.model = "gpt-4o-mini".into();
    request.faults = vec![PolicyFailure { id: "pol_odd".into(), name: "odd".into(), kind: "overflow".into() }];
    let (spans, _) = exported(request);
    let [root] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(root.parent_span_id, Vec::<u8>::new(), "it is the first of its trace");
    assert_eq!(root.name, "chat gpt-4o", "as it was asked for");
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
fn who_does_not_sample_a_trace_is_not_told_of_it_unless_everything_is_exported() {
    for (unsampled, expected) in [(false, vec![1]), (true, vec![2, 1])] {
        let (address, gets) = collector(&[200]);
        let mut otlp = start(Settings { unsampled, ..at(address) });
        otlp.offer(&mut [Trace { sampled: false, ..trace(2) }, trace(1)], &plan());
        otlp.finish();
        let spans: Vec<Span> = gets.try_iter().flat_map(|got| got.spans()).collect();
        let servers = spans.iter().filter(|span| span.kind == SpanKind::Server as i32);
        let ids: Vec<u64> = servers.map(|span| u64::from_be_bytes(span.span_id[..].try_into().unwrap())).collect();
        assert_eq!(ids, expected);
    }
}

#[test]
fn a_refusal_is_named_and_bodies_never_leave() {
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
    assert!(spans[0].status.as_ref().is_none_or(|status| status.code() == StatusCode::Unset), "the caller's, not ours");
    assert!(!bytes.windows(body.len()).any(|window| window == body));
}

#[test]
fn an_answer_that_broke_is_an_error() {
    let mut request = trace(4);
    (request.status, request.cut) = (200, Some("the provider hung up".into()));
    let (spans, _) = exported(request);
    assert_eq!(word(&spans[0].attributes, "error.type").as_deref(), Some("cut"));
    assert_eq!(word(&spans[0].attributes, "luner.cut").as_deref(), Some("the provider hung up"));
    assert_eq!(spans[0].status.as_ref().unwrap().code(), StatusCode::Error);
}

#[test]
fn spans_go_in_batches_and_the_last_ones_at_the_end() {
    let (address, gets) = collector(&[200]);
    let hour = Duration::from_secs(3_600);
    let mut otlp = start(Settings { batch_max: 10, delay: hour, ..at(address) });
    // Two spans each.
    let mut traces: Vec<Trace> = (1..=13).map(trace).collect();
    otlp.offer(&mut traces, &plan());
    for _ in 0..2 {
        assert_eq!(gets.recv_timeout(GUARD).unwrap().spans().len(), 10);
    }
    wait_for(&otlp, 20, 0, 0);
    assert!(gets.try_recv().is_err(), "the others wait for their time");
    let counts = otlp.counts.clone();
    otlp.finish();
    assert_eq!(gets.recv_timeout(GUARD).unwrap().spans().len(), 6);
    assert_eq!((counts.spans().exported, counts.waiting.load(Ordering::Relaxed)), (26, 0));
}

#[test]
fn a_collector_that_fails_costs_its_spans_and_no_others() {
    let (address, gets) = collector(&[400, 200]);
    let mut otlp = start(at(address));
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 0, 0, 2);
    otlp.offer(&mut [trace(2)], &plan());
    wait_for(&otlp, 2, 0, 2);
    assert_eq!(gets.len(), 2);
}

#[test]
fn a_collector_that_is_busy_is_asked_again() {
    let (address, gets) = collector(&[503, 200]);
    let mut otlp = start(at(address));
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 2, 0, 0);
    let bodies: Vec<Vec<u8>> = gets.try_iter().map(|got| got.body).collect();
    assert!(bodies.len() == 2 && bodies[0] == bodies[1]);
}

#[test]
fn nobody_listening_is_counted() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut otlp = start(Settings { timeout: Duration::from_millis(1), ..at(address) });
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 0, 0, 2);
}

#[test]
fn a_collector_that_hangs_holds_up_nobody_and_its_queue_is_bounded() {
    let (address, gets) = collector(&[0]);
    let hour = Duration::from_secs(3_600);
    let mut otlp = start(Settings { queue_max: 9, timeout: hour, ..at(address) });
    otlp.offer(&mut [trace(1)], &plan());
    gets.recv_timeout(GUARD).unwrap();
    // It has two of them; three requests more fit.
    for number in 2..102 {
        otlp.offer(&mut [trace(number)], &plan());
    }
    assert_eq!(otlp.spans(), Spans { exported: 0, crowded_out: 2 * 97, failed: 0 });
    otlp.finish();
}

#[test]
fn a_collector_behind_tls_is_verified() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ca.pem");
    std::fs::write(&pem, signed.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(vec![signed.cert.der().clone()], key.into()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (got, gets) = flume::unbounded();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let server = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(server, stream.unwrap()));
            if let Some(request) = read(&mut stream) {
                let _ = got.send(request);
                answer(stream.get_mut(), 200);
                let _ = stream.get_mut().flush();
            }
        }
    });
    let known = settings(format!("https://localhost:{}/v1/traces", address.port()));
    let mut unknown = start(Settings { timeout: Duration::from_millis(500), ..known.clone() });
    unknown.offer(&mut [trace(1)], &plan());
    wait_for(&unknown, 0, 0, 2);
    assert!(gets.try_recv().is_err(), "nothing is told to a stranger");
    let mut trusting = start(Settings { certificate: Some(pem.clone()), ..known.clone() });
    trusting.offer(&mut [trace(2)], &plan());
    wait_for(&trusting, 2, 0, 0);
    assert_eq!(gets.recv_timeout(GUARD).unwrap().spans().len(), 2);
    std::fs::write(&pem, "nothing").unwrap();
    let reason = Otlp::start_with(Settings { certificate: Some(pem), ..known }, Clock::start()).err().unwrap();
    assert!(reason.contains("contains no certificate"), "{reason}");
}

/// Tells this test binary that it was started by a test.
const CHILD: &str = "LUNER_OTLP_CHILD";

/// In a process of its own: the environment is everyone's.
#[test]
fn the_usual_variables_are_heard() {
    if std::env::var_os(CHILD).is_some() {
        let mut otlp = Otlp::start(Clock::start()).unwrap();
        otlp.offer(&mut [trace(1)], &plan());
        return otlp.finish();
    }
    let (address, gets) = collector(&[200]);
    let module = module_path!().split_once("::").unwrap().1;
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("{module}::the_usual_variables_are_heard"), "--exact", "--test-threads=1"]);
        command.env(CHILD, "1").env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        gets.recv_timeout(GUARD).unwrap()
    };
    let got = run(&[]);
    assert!(got.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", got.head);
    assert!(got.head.to_ascii_lowercase().contains("content-type: application/x-protobuf\r\n"), "{}", got.head);
    assert_eq!(word(&got.resource(), "service.name").as_deref(), Some("luner"));
    assert_eq!(word(&got.resource(), "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let got = run(&[
        ("OTEL_SERVICE_NAME", "gateway-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=ai"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=s%20ecret"),
    ]);
    assert_eq!(word(&got.resource(), "service.name").as_deref(), Some("gateway-1"));
    assert_eq!(word(&got.resource(), "team").as_deref(), Some("ai"));
    assert!(got.head.to_ascii_lowercase().contains("x-token: s ecret\r\n"), "{}", got.head);
    let got = run(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    assert!(
        got.head.to_ascii_lowercase().contains("content-encoding: gzip\r\n") && got.body.starts_with(&[0x1f, 0x8b])
    );
}

//! Export to a collector that decodes each request with the protocol's own types. The tests share this collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as Pair, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;
use crate::clock::Now;
use crate::config;
use crate::plan;
use crate::shared::Shared;

// What a request looks like as spans.
mod shapes;

// How spans reach a collector, or do not.
mod delivery;

/// Longer than anything in these tests takes.
const GUARD: Duration = Duration::from_secs(10);

/// A request that the collector received.
struct ReceivedRequest {
    head: String,
    body: Vec<u8>,
}

impl ReceivedRequest {
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

/// Reads one request.
fn read(stream: &mut BufReader<impl Read>) -> Option<ReceivedRequest> {
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
    Some(ReceivedRequest { head, body })
}

/// A collector that answers the n-th request with the n-th of these statuses, and further requests with the last one. It does
/// not answer at all if the status is 0.
fn collector(statuses: &'static [u16]) -> (SocketAddr, flume::Receiver<ReceivedRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (received, requests) = flume::unbounded();
    thread::spawn(move || {
        let mut statuses = statuses.iter().copied().chain(std::iter::repeat(*statuses.last().unwrap()));
        let mut open: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            open.push(stream.try_clone().unwrap());
            let mut stream = BufReader::new(stream);
            if let Some(request) = read(&mut stream) {
                let _ = received.send(request);
                match statuses.next() {
                    Some(0) | None => {}
                    Some(status) => answer(stream.get_mut(), status),
                }
            }
        }
    });
    (address, requests)
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

/// The plan of a gateway in front of OpenAI.
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

/// Exports one request. Returns its spans, and the bytes that they arrived in.
fn exported(trace: Trace) -> (Vec<Span>, Vec<u8>) {
    let (address, requests) = collector(&[200]);
    let mut otlp = start(at(address));
    let mut traces = [trace];
    let bodies = traces[0].captured.clone();
    otlp.offer(&mut traces, &plan());
    assert_eq!(traces[0].captured, bodies, "the store still requests the bodies");
    let received = requests.recv_timeout(GUARD).unwrap();
    (received.spans(), received.body)
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

/// Waits until the numbers of exported, crowded out and failed spans are these.
fn wait_for(otlp: &Otlp, exported: u64, crowded_out: u64, failed: u64) {
    let (clock, wanted) = (Clock::start(), Spans { exported, crowded_out, failed });
    while otlp.spans() != wanted {
        assert!(clock.now().since(Now::default()) < GUARD, "{:?}, not {wanted:?}", otlp.spans());
        thread::yield_now();
    }
}

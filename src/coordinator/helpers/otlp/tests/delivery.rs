//! How spans reach a collector, or do not: batches, retries, failures, TLS, environment variables.

use std::process::Command;

use super::*;
use crate::coordinator::sample::trace;

#[test]
fn spans_go_in_batches_and_the_rest_at_the_end() {
    let (address, requests) = collector(&[200]);
    let hour = Duration::from_secs(3_600);
    let mut otlp = start(Settings { batch_max: 10, delay: hour, ..at(address) });
    // Each request has two spans.
    let mut traces: Vec<Trace> = (1..=13).map(trace).collect();
    otlp.offer(&mut traces, &plan());
    for _ in 0..2 {
        assert_eq!(requests.recv_timeout(GUARD).unwrap().spans().len(), 10);
    }
    wait_for(&otlp, 20, 0, 0);
    assert!(requests.try_recv().is_err(), "the others wait for the delay");
    let counts = otlp.counts.clone();
    otlp.finish();
    assert_eq!(requests.recv_timeout(GUARD).unwrap().spans().len(), 6);
    assert_eq!((counts.spans().exported, counts.waiting.load(Ordering::Relaxed)), (26, 0));
}

#[test]
fn failed_request_to_the_collector_loses_only_its_spans() {
    let (address, requests) = collector(&[400, 200]);
    let mut otlp = start(at(address));
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 0, 0, 2);
    otlp.offer(&mut [trace(2)], &plan());
    wait_for(&otlp, 2, 0, 2);
    assert_eq!(requests.len(), 2);
}

#[test]
fn busy_collector_is_asked_again() {
    let (address, requests) = collector(&[503, 200]);
    let mut otlp = start(at(address));
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 2, 0, 0);
    let bodies: Vec<Vec<u8>> = requests.try_iter().map(|received| received.body).collect();
    assert!(bodies.len() == 2 && bodies[0] == bodies[1]);
}

#[test]
fn refused_connection_is_counted() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut otlp = start(Settings { timeout: Duration::from_millis(1), ..at(address) });
    otlp.offer(&mut [trace(1)], &plan());
    wait_for(&otlp, 0, 0, 2);
}

#[test]
fn hanging_collector_delays_nothing_and_its_queue_is_bounded() {
    let (address, requests) = collector(&[0]);
    let hour = Duration::from_secs(3_600);
    let mut otlp = start(Settings { queue_max: 9, timeout: hour, ..at(address) });
    otlp.offer(&mut [trace(1)], &plan());
    requests.recv_timeout(GUARD).unwrap();
    // The collector has one request with two spans. Three more requests fit into the queue.
    for number in 2..102 {
        otlp.offer(&mut [trace(number)], &plan());
    }
    assert_eq!(otlp.spans(), Spans { exported: 0, crowded_out: 2 * 97, failed: 0 });
    otlp.finish();
}

#[test]
fn collector_behind_tls_is_verified() {
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
    let (received, requests) = flume::unbounded();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let server = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(rustls::StreamOwned::new(server, stream.unwrap()));
            if let Some(request) = read(&mut stream) {
                let _ = received.send(request);
                answer(stream.get_mut(), 200);
                let _ = stream.get_mut().flush();
            }
        }
    });
    let known = settings(format!("https://localhost:{}/v1/traces", address.port()));
    let mut unknown = start(Settings { timeout: Duration::from_millis(500), ..known.clone() });
    unknown.offer(&mut [trace(1)], &plan());
    wait_for(&unknown, 0, 0, 2);
    assert!(requests.try_recv().is_err(), "an unknown collector receives nothing");
    let mut trusting = start(Settings { certificate: Some(pem.clone()), ..known.clone() });
    trusting.offer(&mut [trace(2)], &plan());
    wait_for(&trusting, 2, 0, 0);
    assert_eq!(requests.recv_timeout(GUARD).unwrap().spans().len(), 2);
    std::fs::write(&pem, "nothing").unwrap();
    let reason = Otlp::start_with(Settings { certificate: Some(pem), ..known }, Clock::start()).err().unwrap();
    assert!(reason.contains("contains no certificate"), "{reason}");
}

/// Set if a test has started this test binary.
const CHILD: &str = "LUNER_OTLP_CHILD";

/// Runs in a process of its own, because all tests share the environment.
#[test]
fn standard_variables_are_obeyed() {
    if std::env::var_os(CHILD).is_some() {
        let mut otlp = Otlp::start(Clock::start()).unwrap();
        otlp.offer(&mut [trace(1)], &plan());
        return otlp.finish();
    }
    let (address, requests) = collector(&[200]);
    let module = module_path!().split_once("::").unwrap().1;
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("{module}::standard_variables_are_obeyed"), "--exact", "--test-threads=1"]);
        command.env(CHILD, "1").env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        requests.recv_timeout(GUARD).unwrap()
    };
    let received = run(&[]);
    assert!(received.head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{}", received.head);
    assert!(
        received.head.to_ascii_lowercase().contains("content-type: application/x-protobuf\r\n"),
        "{}",
        received.head
    );
    assert_eq!(word(&received.resource(), "service.name").as_deref(), Some("luner"));
    assert_eq!(word(&received.resource(), "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let received = run(&[
        ("OTEL_SERVICE_NAME", "gateway-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=ai"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=s%20ecret"),
    ]);
    assert_eq!(word(&received.resource(), "service.name").as_deref(), Some("gateway-1"));
    assert_eq!(word(&received.resource(), "team").as_deref(), Some("ai"));
    assert!(received.head.to_ascii_lowercase().contains("x-token: s ecret\r\n"), "{}", received.head);
    let received = run(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    assert!(
        received.head.to_ascii_lowercase().contains("content-encoding: gzip\r\n")
            && received.body.starts_with(&[0x1f, 0x8b])
    );
}

//! Providers that cannot be reached or never answer (FAULTS.md rows 1 to 4, and 19).

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// FAULTS.md row 1.
#[test]
fn refused_connection_is_retried_as_configured_then_gets_502() {
    let (socket, address) = bound_but_not_listening();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], json!({ "retries": 2 })).start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(chat_request()).answer(), BAD_GATEWAY);
    eventually("three attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"unreachable\"", "provider=\"openai\""]) == 3.0
    });
    // The provider starts to listen.
    socket.listen(16).expect("it listens");
    let provider = std::thread::spawn(move || {
        let (stream, _) = std::net::TcpListener::from(socket).accept().expect("the gateway's connection");
        std::io::Write::write_all(&mut &stream, ok_json_then_close(&completion("well")).as_bytes())
            .expect("the gateway accepts the answer");
        std::io::copy(&mut &stream, &mut std::io::sink())
    });
    assert_next_is_answered(&mut caller);
    provider.join().expect("the provider ends").expect("the gateway closes in order");
}

/// FAULTS.md row 1.
#[test]
fn refused_connection_is_not_retried_when_retries_are_0() {
    let (_socket, address) = bound_but_not_listening();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], json!({ "retries": 0 })).start();
    assert_refusal(&gateway.ask(chat_request()), BAD_GATEWAY);
    eventually("the refusal is counted", || gateway.metric("luner_requests_total", &["status=\"502\""]) == 1.0);
    assert_eq!(gateway.metric("luner_upstream_attempts_total", &[]), 1.0);
    assert_eq!(gateway.metric("luner_refusals_total", &["fault=\"provider\"", "code=\"provider_error\""]), 1.0);
}

/// FAULTS.md row 2.
#[test]
fn connect_timeout_gets_504_and_delays_nobody_else() {
    let hole = BlackHole::new();
    let url = format!("http://{}", hole.address);
    let good = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider_with("hasty", &url, &["hasty"], json!({ "connect_timeout": "300ms" }))
        .provider_with("patient", &url, &["patient"], json!({ "connect_timeout": "60s" }))
        .provider("good", good.url(), &["gpt-4o"])
        .start();
    let mut waiting = gateway.connect();
    waiting.send(post_chat("patient", "hello?"));
    let mut caller = gateway.connect();
    assert_next_is_answered(&mut caller);
    let fds = gateway.open_fds();
    assert_refusal(&caller.send(post_chat("hasty", "hello?")).answer(), GATEWAY_TIMEOUT);
    assert_next_is_answered(&mut caller);
    eventually("the half-open connection is closed", || gateway.open_fds() <= fds);
    assert!(waiting.is_quiet(), "the patient request still waits");
}

/// FAULTS.md row 3.
#[test]
fn silent_provider_gets_504_and_its_connection_is_closed() {
    let cases = [
        case("no byte", "", Ending::Hold),
        case("half a head", "HTTP/1.1 200 OK\r\nContent-Ty", Ending::Hold),
        case("only an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", Ending::Hold),
    ];
    let gateway =
        assert_each_is_refused(json!({ "timeout": "300ms", "retries": 3 }), &cases, &chat_request(), GATEWAY_TIMEOUT);
    eventually("the attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"timeout\""]) == 3.0
    });
}

/// FAULTS.md row 3.
#[test]
fn stream_that_never_starts_gets_504() {
    let cases = [case("no byte", "", Ending::Hold)];
    assert_each_is_refused(json!({ "timeout": "300ms" }), &cases, &post_stream("gpt-4o", "hello?"), GATEWAY_TIMEOUT);
}

/// FAULTS.md row 4.
#[test]
fn fresh_connection_that_dies_before_the_answer_gets_502_without_retry() {
    let cases = [
        case("reset before any byte", "", Ending::Reset),
        case("closed before any byte", "", Ending::Close),
        case("reset in the head", "HTTP/1.1 200 OK\r\nConte", Ending::Reset),
        case("closed in the head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ending::Close),
        case("closed after an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n", Ending::Close),
    ];
    assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
    assert_each_is_refused(json!({ "retries": 3 }), &cases, &post_stream("gpt-4o", "hello?"), BAD_GATEWAY);
}

/// FAULTS.md row 19. `slow_dns` tests a slow name server.
#[test]
fn unresolvable_name_gets_502_and_a_resolvable_one_works() {
    let upstream = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider("nowhere", "http://nowhere.invalid/v1", &["nowhere"])
        .provider("here", format!("http://localhost:{}/v1", upstream.addr().port()), &["gpt-4o"])
        .start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(post_chat("nowhere", "hello?")).answer(), BAD_GATEWAY);
    assert_next_is_answered(&mut caller);
    let host = format!("localhost:{}", upstream.addr().port());
    assert_eq!(upstream.requests()[0].header("host"), Some(host.as_str()));
}

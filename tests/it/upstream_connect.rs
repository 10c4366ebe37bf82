//! Providers that cannot be reached, or never answer.

use crate::support::upstream_cases::*;
use crate::support::*;

// 1
#[test]
fn a_refused_connection_is_tried_as_often_as_configured_and_then_502() {
    let (socket, address) = unheard();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], "retries: 2").start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(question()).answer(), BROKEN);
    eventually("three attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"unreachable\"", "provider=\"openai\""]) == 3.0
    });
    // The provider comes up.
    socket.listen(16).expect("it listens");
    let provider = std::thread::spawn(move || {
        let (stream, _) = std::net::TcpListener::from(socket).accept().expect("the gateway's connection");
        std::io::Write::write_all(&mut &stream, last(&completion("well")).as_bytes()).expect("it takes the answer");
        std::io::copy(&mut &stream, &mut std::io::sink())
    });
    assert_goes_on(&mut caller);
    provider.join().expect("the provider ends").expect("in order");
}

// 1
#[test]
fn a_refused_connection_is_not_tried_again_where_no_retries_are_configured() {
    let (_socket, address) = unheard();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], "retries: 0").start();
    assert_refusal(&gateway.ask(question()), BROKEN);
    eventually("the refusal is counted", || gateway.metric("luner_requests_total", &["status=\"502\""]) == 1.0);
    assert_eq!(gateway.metric("luner_upstream_attempts_total", &[]), 1.0);
    assert_eq!(gateway.metric("luner_refusals_total", &["fault=\"provider\"", "code=\"provider_error\""]), 1.0);
}

// 2
#[test]
fn a_black_hole_is_a_504_and_nobody_elses_trouble() {
    let hole = BlackHole::new();
    let url = format!("http://{}", hole.address);
    let well = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider_with("hasty", &url, &["hasty"], "connect_timeout: 300ms")
        .provider_with("patient", &url, &["patient"], "connect_timeout: 60s")
        .provider("well", well.url(), &["gpt-4o"])
        .start();
    let mut waiting = gateway.connect();
    waiting.send(post_chat("patient", "hello?"));
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    let fds = gateway.open_fds();
    assert_refusal(&caller.send(post_chat("hasty", "hello?")).answer(), LATE);
    assert_goes_on(&mut caller);
    eventually("the half-open connection is closed", || gateway.open_fds() <= fds);
    assert!(waiting.is_quiet(), "whoever is patient still waits");
}

// 3
#[test]
fn a_provider_that_never_answers_is_a_504_and_its_connection_is_closed() {
    let scenes = [
        scene("not a byte", "", End::Hold),
        scene("half a head", "HTTP/1.1 200 OK\r\nContent-Ty", End::Hold),
        scene("an interim answer alone", "HTTP/1.1 100 Continue\r\n\r\n", End::Hold),
    ];
    let gateway = assert_each_is_refused("timeout: 300ms\nretries: 3", &scenes, &question(), LATE);
    eventually("the attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"timeout\""]) == 3.0
    });
}

// 3
#[test]
fn a_stream_that_never_begins_is_a_504() {
    let scenes = [scene("not a byte", "", End::Hold)];
    assert_each_is_refused("timeout: 300ms", &scenes, &post_stream("gpt-4o", "hello?"), LATE);
}

// 4
#[test]
fn a_fresh_connection_that_dies_before_the_answer_is_a_502_and_not_tried_again() {
    let scenes = [
        scene("reset before any byte", "", End::Rst),
        scene("closed before any byte", "", End::Fin),
        scene("reset in the head", "HTTP/1.1 200 OK\r\nConte", End::Rst),
        scene("closed in the head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", End::Fin),
        scene("closed behind an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n", End::Fin),
    ];
    assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
    assert_each_is_refused("retries: 3", &scenes, &post_stream("gpt-4o", "hello?"), BROKEN);
}

// 19; a slow one stands in `slow_names`.
#[test]
fn a_name_that_does_not_resolve_is_a_502_and_one_that_does_works() {
    let upstream = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider("nowhere", "http://nowhere.invalid/v1", &["nowhere"])
        .provider("here", format!("http://localhost:{}/v1", upstream.addr().port()), &["gpt-4o"])
        .start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(post_chat("nowhere", "hello?")).answer(), BROKEN);
    assert_goes_on(&mut caller);
    let host = format!("localhost:{}", upstream.addr().port());
    assert_eq!(upstream.requests()[0].header("host"), Some(host.as_str()));
}

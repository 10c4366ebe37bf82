//! Plain answers whose body is truncated, slow, long or encoded, or reports odd usage (FAULTS.md rows 5, 7, 11, 16 and
//! 21).

use std::time::Duration;

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// FAULTS.md row 5.
#[test]
fn truncated_body_gets_502_and_never_200() {
    let body = completion("cut");
    let half = &body[..body.len() / 2];
    let announced = ok_json_with(&format!("Content-Length: {}\r\n", body.len()), half);
    let chunked = ok_json_with("Transfer-Encoding: chunked\r\n", &in_chunk(half));
    // The whole payload arrives, the last chunk is missing.
    let endless = ok_json_with("Transfer-Encoding: chunked\r\n", &in_chunk(&body));
    let split = ok_json_with("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{half}", body.len()));
    let cases = [
        case("a length, closed", announced.clone(), Ending::Close),
        case("a length, reset", announced, Ending::Reset),
        case("a length and no body", ok_json_with("Content-Length: 9\r\n", ""), Ending::Close),
        case("chunks, closed", chunked.clone(), Ending::Close),
        case("chunks, reset", chunked, Ending::Reset),
        case("no last chunk, closed", endless.clone(), Ending::Close),
        case("no last chunk, reset", endless, Ending::Reset),
        case("in a chunk, closed", split.clone(), Ending::Close),
        case("in a chunk, reset", split, Ending::Reset),
        case("no length, reset", ok_json_with("Connection: close\r\n", half), Ending::Reset),
    ];
    let gateway = assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
    eventually("each broken attempt is counted once", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"broken\""]) == cases.len() as f64
    });
}

/// A JSON body of at least this length.
fn long_body(bytes: usize) -> String {
    let mut body = String::from("{\"object\":\"list\",\"data\":[");
    while body.len() < bytes {
        body.push_str("{\"object\":\"embedding\",\"embedding\":[0.0023064255,-0.009327292,-0.0028842222]},");
    }
    body.pop();
    body.push_str("],\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}");
    body
}

/// More than luner buffers before it starts to forward an answer.
const LONG_BYTES: usize = 2 << 20;

/// FAULTS.md row 5.
#[test]
fn long_body_passes_whole() {
    let body = long_body(LONG_BYTES);
    let cases = [
        case("a length", ok_json_with(&format!("Content-Length: {}\r\n", body.len()), &body), Ending::Hold),
        case(
            "chunks",
            ok_json_with("Transfer-Encoding: chunked\r\n", &format!("{}0\r\n\r\n", in_chunk(&body))),
            Ending::Hold,
        ),
        case("no length", ok_json_with("Connection: close\r\n", &body), Ending::Close),
    ];
    for case in cases {
        println!("case: {}", case.name);
        let upstream = upstream_with_cases(std::slice::from_ref(&case));
        let gateway = start_in_front_of(&upstream);
        let answer = gateway.ask(chat_request());
        assert_eq!(answer.status, 200);
        assert!(answer.body == body.as_bytes(), "{} bytes instead of {}", answer.body.len(), body.len());
        eventually("its tokens are counted", || gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) == 3.0);
    }
}

/// FAULTS.md rows 5 and 11.
#[test]
fn truncated_long_body_reaches_the_caller_truncated() {
    let body = long_body(LONG_BYTES);
    let most = &body[..3 << 19];
    let announced = ok_json_with(&format!("Content-Length: {}\r\n", body.len()), most);
    let chunked = ok_json_with("Transfer-Encoding: chunked\r\n", &in_chunk(most));
    let unended = ok_json_with("Connection: close\r\n", most);
    let cases = [
        case("a length, closed", announced.clone(), Ending::Close),
        case("a length, reset", announced.clone(), Ending::Reset),
        case("a length, silent", announced, Ending::Hold),
        case("chunks, closed", chunked.clone(), Ending::Close),
        case("chunks, reset", chunked.clone(), Ending::Reset),
        case("chunks, silent", chunked.clone(), Ending::Hold),
        case("a bad chunk", format!("{chunked}nonsense\r\n"), Ending::Hold),
        case("no length, reset", unended, Ending::Reset),
    ];
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| assert_reaches_caller_truncated(case));
        }
    });
}

/// Asserts that the caller can tell that the answer is incomplete.
fn assert_reaches_caller_truncated(case: Case) {
    println!("case: {}", case.name);
    // A reset discards the bytes that the gateway has not read, so the provider ends only after the caller has seen the
    // head.
    let gate = Gate::new();
    let may_end = gate.clone();
    let ending = case.ending;
    let upstream = Upstream::script(move |conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write(&case.bytes);
        may_end.wait();
        ending.apply(conn);
    });
    let gateway = start_with(&upstream, json!({ "stream_idle_timeout": "300ms" }));
    let fds = gateway.open_fds();
    let mut caller = gateway.connect();
    let head = caller.send(chat_request()).head();
    assert_eq!(head.status, 200);
    gate.permit();
    let rest = caller.read_to_end();
    match head.header("content-length") {
        Some(length) => assert!(rest.len() < length.parse().expect("a length"), "the whole body arrived"),
        None => {
            assert_eq!(head.header("transfer-encoding"), Some("chunked"));
            assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the last chunk arrived");
        }
    }
    drop(caller);
    eventually("the provider's connection is closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
    assert_next_is_answered(&mut gateway.connect());
}

/// FAULTS.md row 7.
#[test]
fn dripping_answer_is_not_timed_out() {
    // The whole answer takes longer than the idle timeout, the pause between two bytes is shorter.
    let upstream = Upstream::script(|conn| {
        conn.request();
        let answer = ok_chat("well");
        let (most, dripping) = answer.as_bytes().split_at(answer.len() - 16);
        conn.write(most);
        for byte in dripping {
            std::thread::sleep(Duration::from_millis(50));
            conn.write([*byte]);
        }
        conn.hold();
    });
    let gateway = start_with(&upstream, json!({ "stream_idle_timeout": "400ms" }));
    assert_next_is_answered(&mut gateway.connect());
}

/// FAULTS.md row 7.
#[test]
fn stalled_body_gets_504() {
    let body = completion("slow");
    let half = &body[..body.len() / 2];
    let cases = [
        case("a length", ok_json_with(&format!("Content-Length: {}\r\n", body.len()), half), Ending::Hold),
        case("chunks", ok_json_with("Transfer-Encoding: chunked\r\n", &in_chunk(half)), Ending::Hold),
        case("no length", ok_json_with("Connection: close\r\n", half), Ending::Hold),
    ];
    assert_each_is_refused(json!({ "stream_idle_timeout": "300ms" }), &cases, &chat_request(), GATEWAY_TIMEOUT);
}

/// FAULTS.md row 16.
#[test]
fn encoded_body_passes_unchanged() {
    let gzip: Vec<u8> = [0x1f, 0x8b, 8, 0].into_iter().chain((0..=255).cycle().take(60_000)).collect();
    let head = ok_json_with(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", gzip.len()), "");
    let upstream = Upstream::always([head.as_bytes(), &gzip].concat());
    let gateway = start_in_front_of(&upstream);
    for request in [chat_request(), post_stream("gpt-4o", "hello?")] {
        let answer = gateway.ask(request);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.body == gzip, "the body was changed");
    }
    assert_eq!(upstream.requests()[0].header("accept-encoding"), Some("identity"), "luner asks for no encoding");
}

/// FAULTS.md row 16.
#[test]
fn decompression_bomb_is_not_unpacked() {
    let mock = mock_with(|options| options.fault = Some("gzip-bomb".parse().expect("a fault")));
    let gateway = Gateway::in_front_of(mock.base_url()).start();
    let rss = gateway.rss_bytes();
    let answer = gateway.post_chat("gpt-4o", "a bomb, please");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.body.len() < 1 << 20 && answer.body.starts_with(&[0x1f, 0x8b]));
    assert!(peak_rss_bytes(&gateway) < rss + (8 << 20), "the bomb was unpacked");
}

/// FAULTS.md row 21.
#[test]
fn nonsensical_usage_passes_and_is_clamped() {
    let usages = [
        "null",
        "{}",
        "[]",
        "7",
        "\"many\"",
        "{\"prompt_tokens\":-3,\"completion_tokens\":-5,\"total_tokens\":-8}",
        "{\"prompt_tokens\":\"3\",\"completion_tokens\":\"5\",\"total_tokens\":\"8\"}",
        "{\"prompt_tokens\":3.5,\"completion_tokens\":1e-3,\"total_tokens\":null}",
        "{\"prompt_tokens\":9007199254740993,\"completion_tokens\":1,\"total_tokens\":9007199254740994}",
        "{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":18446744073709551615,\"total_tokens\":18446744073709551615}",
        "{\"prompt_tokens\":1e308,\"completion_tokens\":1e999,\"total_tokens\":-1e999}",
        "{\"prompt_tokens\":{\"prompt_tokens\":[]},\"completion_tokens\":true}",
        "{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":99}}",
    ];
    let bodies = usages.map(|usage| format!("{{\"choices\":[],\"usage\":{usage}}}"));
    let bodies = bodies.into_iter().chain(["{}".into(), "[]".into(), "not JSON".into(), "{\"usage\":{".into()]);
    let bodies: Vec<String> = bodies.collect();
    let scripted = bodies.clone();
    let upstream = Upstream::script(move |conn| {
        for body in &scripted {
            conn.request();
            conn.write(ok_json(body));
        }
        conn.hold();
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    for body in &bodies {
        let answer = caller.send(chat_request()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
    }
    eventually("all requests are counted", || {
        gateway.metric("luner_requests_total", &["status=\"200\"", "provider=\"openai\""]) == bodies.len() as f64
    });
    let metrics = gateway.metrics();
    let tokens: Vec<_> = metrics.iter().filter(|(name, _)| name.starts_with("luner_tokens_used_total")).collect();
    assert_eq!(tokens.len(), 3, "{metrics:?}");
    assert!(tokens.iter().all(|(_, count)| count.is_finite() && **count >= 0.0), "{tokens:?}");
}

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use mock_llm::{Fault, Mock, Options};
use serde_json::json;

use crate::client::{CHAT, Got, ask, chat, connect, mock, post, read_all, request, unchunked};

fn with(fault: &str, stream: bool) -> Got {
    let mock = mock();
    post(mock.addr(), CHAT, &chat(&format!("m+fault={fault}+words=6"), "hi", json!({ "stream": stream })))
}

#[test]
fn reset_before_any_byte() {
    let got = with("reset-before", false);
    assert!(got.reset && got.bytes.is_empty());
}

#[test]
fn close_before_any_byte() {
    let got = with("close-before", false);
    assert!(!got.reset && got.bytes.is_empty());
}

#[test]
fn reset_in_the_head() {
    let got = with("reset-head", false);
    assert!(got.reset && got.text().starts_with("HTTP/1.1 200") && !got.text().contains("\r\n\r\n"));
}

#[test]
fn a_body_breaks_in_the_middle() {
    for (fault, reset) in [("reset-mid-body", true), ("close-mid-body", false)] {
        let got = with(fault, false);
        let announced: usize =
            got.head().split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        assert_eq!((got.reset, got.body().len()), (reset, announced.div_ceil(2)), "{fault}");
    }
}

#[test]
fn a_stream_breaks_after_n_events() {
    for (fault, reset) in [("reset-mid-stream=4", true), ("close-mid-stream=4", false)] {
        let got = with(fault, true);
        assert_eq!((got.reset, got.data().len()), (reset, 4), "{fault}");
        assert!(!got.text().ends_with("0\r\n\r\n"));
    }
}

#[test]
fn a_stream_without_done_ends_cleanly() {
    let got = with("no-done", true);
    assert!(got.text().ends_with("0\r\n\r\n"));
    assert!(!got.text().contains("[DONE]"));
    assert_eq!(got.events().len(), 8);
}

#[test]
fn statuses_come_with_their_headers() {
    assert_eq!(with("status=503", true).status(), 503);
    let limited = with("rate-limit=7", false);
    assert_eq!(limited.status(), 429);
    assert!(limited.head().contains("Retry-After: 7"));
    let moved = with("redirect=http://elsewhere/v1", false);
    assert!(moved.status() == 307 && moved.head().contains("Location: http://elsewhere/v1"));
}

#[test]
fn lengths_lie() {
    assert_eq!(with("two-lengths", false).head().matches("Content-Length").count(), 2);
    assert!(with("length-and-chunked", false).head().contains("Transfer-Encoding"));
    assert!(with("short-length", false).text().ends_with("{\"canary\":\"poisoned\"}"));
    let long = with("long-length", false);
    assert!(long.head().contains(&format!("Content-Length: {}", long.body().len() + 100)));
}

#[test]
fn chunks_lie() {
    assert!(with("bad-chunk", false).text().contains("\r\nzz\r\n"));
    assert!(with("huge-chunk-size", true).text().contains("\r\nffffffffffffffff\r\n"));
    assert!(with("empty-chunk-size", true).text().contains("\n\n\r\n\r\ndata"));
}

#[test]
fn heads_are_odd() {
    assert!(with("huge-head", false).bytes.len() > 1 << 20);
    assert!(with("many-headers", false).text().contains("x-mock-9999: 9999"));
    assert!(with("long-header-name", false).text().contains(&"n".repeat(65_536)));
    assert!(!with("bare-lf", false).text().contains('\r'));
    assert!(with("garbage-status", false).text().starts_with("HTTP/one"));
    assert!(with("http09", false).text().starts_with('{'));
    assert!(with("h2-preface", false).text().starts_with("PRI"));
}

#[test]
fn unusual_but_correct_answers_are_whole() {
    let interim = with("interim", false).text();
    assert!(
        interim.starts_with("HTTP/1.1 100") && interim.contains("HTTP/1.1 103") && interim.contains("HTTP/1.1 200")
    );
    let delimited = with("close-delimited", false);
    assert!(delimited.json()["usage"].is_object() && !delimited.head().contains("Content-Length"));
    let trailers = with("trailers", false);
    assert!(trailers.text().ends_with("0\r\nx-mock-checksum: 0123\r\nx-mock-late: yes\r\n\r\n"));
    let extended = unchunked(&with("chunk-extensions", false).body());
    assert!(extended.starts_with('{') && extended.ends_with('}'));
}

#[test]
fn events_are_dressed() {
    assert!(with("crlf-events", true).text().contains("}\r\n\r\n"));
    assert!(with("error-event", true).events().last().unwrap()["error"]["type"] == "server_error");
    assert!(unchunked(&with("bom-events", true).body()).starts_with('\u{feff}'));
    assert!(with("comment-events", true).text().contains(": keep-alive"));
    let split = with("split=3", true);
    assert_eq!(split.data().last().map(String::as_str), Some("[DONE]"));
    assert!(split.body().starts_with("3\r\n"));
}

#[test]
fn usage_lies() {
    let usage = |fault| with(fault, false).json()["usage"].clone();
    assert!(usage("usage-missing").is_null());
    assert_eq!(usage("usage-negative")["prompt_tokens"], -1);
    assert_eq!(usage("usage-huge")["total_tokens"], 1_u64 << 53);
    assert_eq!(usage("usage-string")["prompt_tokens"], "1");
}

#[test]
fn a_drip_takes_its_time() {
    let mock = mock();
    let started = Instant::now();
    let got = post(mock.addr(), "/v1/nope", &json!({}));
    assert_eq!(got.status(), 404);
    let drip = ask(mock.addr(), "POST", "/v1/nope", "x-mock-fault: drip=1\r\n", "");
    assert_eq!(drip.status(), 404);
    assert!(started.elapsed() >= Duration::from_millis(drip.bytes.len() as u64 - 1));
}

#[test]
fn an_early_response_does_not_wait_for_the_body() {
    let mock = mock();
    mock.arm(Fault::EarlyResponse, 1);
    let mut stream = connect(mock.addr());
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: mock\r\nContent-Length: 1000000\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_all(&stream).status(), 413);

    let mut stream = connect(mock.addr());
    stream.write_all(head.replace("\r\n\r\n", "\r\nx-mock-fault: early-response\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_all(&stream).status(), 413);
}

#[test]
fn one_request_can_ask_for_its_connection_to_be_closed_when_idle() {
    let mock = mock();
    let mut stream = connect(mock.addr());
    let body = chat("m+fault=idle-close=20", "hi", json!({})).to_string();
    stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
    let got = read_all(&stream);
    assert!(got.status() == 200 && !got.reset);
}

#[test]
fn a_request_that_comes_in_pieces_is_whole() {
    let mock = mock();
    let body = chat("gpt-4o", "slowly", json!({})).to_string();
    let raw = request("POST", CHAT, "Connection: close\r\n", &body);
    for at in [1, 20, raw.len() - body.len() - 1, raw.len() - 1] {
        let mut stream = connect(mock.addr());
        stream.write_all(&raw.as_bytes()[..at]).unwrap();
        std::thread::sleep(Duration::from_millis(5)); // So that the pieces are read apart; the result does not hang on it.
        stream.write_all(&raw.as_bytes()[at..]).unwrap();
        assert!(read_all(&stream).body().contains("You said: slowly"));
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let options = Options { fault: Some(Fault::IdleClose(Duration::from_millis(30))), ..Options::default() };
    let mock = Mock::start(options).unwrap();
    let mut stream = connect(mock.addr());
    stream.write_all(request("GET", "/v1/models", "", "").as_bytes()).unwrap();
    let got = read_all(&stream);
    assert!(got.status() == 200 && !got.reset);
}

#[test]
fn faults_are_armed_from_outside() {
    let mock = mock();
    let body = chat("gpt-4o", "hi", json!({}));
    let armed = post(mock.addr(), "/mock/fault", &json!({"fault": "status=500", "times": 2}));
    assert_eq!(armed.json()["left"], 2);
    let statuses: Vec<u16> = (0..3).map(|_| post(mock.addr(), CHAT, &body).status()).collect();
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(post(mock.addr(), "/mock/fault", &json!({"fault": "nope"})).status(), 400);
    mock.arm(Fault::Hang, 1);
    assert_eq!(ask(mock.addr(), "DELETE", "/mock/fault", "", "").status(), 200);
    assert_eq!(post(mock.addr(), CHAT, &body).status(), 200);
}

#[test]
fn stopping_ends_a_hang() {
    let mut mock = mock();
    let mut stream = connect(mock.addr());
    let body = chat("m+fault=hang", "hi", json!({})).to_string();
    stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
    while mock.totals().in_flight == 0 {
        std::thread::yield_now();
    }
    mock.stop();
    assert_eq!(mock.connections(), 0);
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
}

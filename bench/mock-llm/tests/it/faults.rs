//! Builds the bytes that each fault sends.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use mock_llm::{Fault, Mock, Options};
use serde_json::json;

use crate::client::{CHAT, Got, ask, chat, connect, mock, post, read_all, request, unchunked};

/// The answer to a chat request with this fault.
fn answer_with(fault: &str, stream: bool) -> Got {
    let mock = mock();
    post(mock.addr(), CHAT, &chat(&format!("m+fault={fault}+words=6"), "hi", json!({ "stream": stream })))
}

#[test]
fn reset_before_sends_no_byte() {
    let got = answer_with("reset-before", false);
    assert!(got.reset && got.bytes.is_empty());
}

#[test]
fn close_before_sends_no_byte() {
    let got = answer_with("close-before", false);
    assert!(!got.reset && got.bytes.is_empty());
}

#[test]
fn reset_head_breaks_off_in_the_head() {
    let got = answer_with("reset-head", false);
    assert!(got.reset && got.text().starts_with("HTTP/1.1 200") && !got.text().contains("\r\n\r\n"));
}

#[test]
fn mid_body_faults_send_half_the_body() {
    for (fault, reset) in [("reset-mid-body", true), ("close-mid-body", false)] {
        let got = answer_with(fault, false);
        let announced: usize =
            got.head().split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        assert_eq!((got.reset, got.body().len()), (reset, announced.div_ceil(2)), "{fault}");
    }
}

#[test]
fn mid_stream_faults_send_n_events() {
    for (fault, reset) in [("reset-mid-stream=4", true), ("close-mid-stream=4", false)] {
        let got = answer_with(fault, true);
        assert_eq!((got.reset, got.data().len()), (reset, 4), "{fault}");
        assert!(!got.text().ends_with("0\r\n\r\n"));
    }
}

#[test]
fn no_done_ends_the_stream_cleanly() {
    let got = answer_with("no-done", true);
    assert!(got.text().ends_with("0\r\n\r\n"));
    assert!(!got.text().contains("[DONE]"));
    assert_eq!(got.events().len(), 8);
}

#[test]
fn status_faults_send_their_headers() {
    assert_eq!(answer_with("status=503", true).status(), 503);
    let limited = answer_with("rate-limit=7", false);
    assert_eq!(limited.status(), 429);
    assert!(limited.head().contains("Retry-After: 7"));
    let moved = answer_with("redirect=http://elsewhere/v1", false);
    assert!(moved.status() == 307 && moved.head().contains("Location: http://elsewhere/v1"));
}

#[test]
fn length_faults_send_wrong_lengths() {
    assert_eq!(answer_with("two-lengths", false).head().matches("Content-Length").count(), 2);
    assert!(answer_with("length-and-chunked", false).head().contains("Transfer-Encoding"));
    assert!(answer_with("short-length", false).text().ends_with("{\"canary\":\"poisoned\"}"));
    let long = answer_with("long-length", false);
    assert!(long.head().contains(&format!("Content-Length: {}", long.body().len() + 100)));
}

#[test]
fn chunk_faults_send_malformed_chunks() {
    assert!(answer_with("bad-chunk", false).text().contains("\r\nzz\r\n"));
    assert!(answer_with("huge-chunk-size", true).text().contains("\r\nffffffffffffffff\r\n"));
    assert!(answer_with("empty-chunk-size", true).text().contains("\n\n\r\n\r\ndata"));
}

#[test]
fn head_faults_send_malformed_heads() {
    assert!(answer_with("huge-head", false).bytes.len() > 1 << 20);
    assert!(answer_with("many-headers", false).text().contains("x-mock-9999: 9999"));
    assert!(answer_with("long-header-name", false).text().contains(&"n".repeat(65_536)));
    assert!(!answer_with("bare-lf", false).text().contains('\r'));
    assert!(answer_with("garbage-status", false).text().starts_with("HTTP/one"));
    assert!(answer_with("http09", false).text().starts_with('{'));
    assert!(answer_with("h2-preface", false).text().starts_with("PRI"));
}

#[test]
fn rare_but_correct_answers_are_complete() {
    let interim = answer_with("interim", false).text();
    assert!(
        interim.starts_with("HTTP/1.1 100") && interim.contains("HTTP/1.1 103") && interim.contains("HTTP/1.1 200")
    );
    let delimited = answer_with("close-delimited", false);
    assert!(delimited.json()["usage"].is_object() && !delimited.head().contains("Content-Length"));
    let trailers = answer_with("trailers", false);
    assert!(trailers.text().ends_with("0\r\nx-mock-checksum: 0123\r\nx-mock-late: yes\r\n\r\n"));
    let extended = unchunked(&answer_with("chunk-extensions", false).body());
    assert!(extended.starts_with('{') && extended.ends_with('}'));
}

#[test]
fn event_faults_change_the_events() {
    assert!(answer_with("crlf-events", true).text().contains("}\r\n\r\n"));
    assert!(answer_with("error-event", true).events().last().unwrap()["error"]["type"] == "server_error");
    assert!(unchunked(&answer_with("bom-events", true).body()).starts_with('\u{feff}'));
    assert!(answer_with("comment-events", true).text().contains(": keep-alive"));
    let split = answer_with("split=3", true);
    assert_eq!(split.data().last().map(String::as_str), Some("[DONE]"));
    assert!(split.body().starts_with("3\r\n"));
}

#[test]
fn usage_faults_send_wrong_counts() {
    let usage = |fault| answer_with(fault, false).json()["usage"].clone();
    assert!(usage("usage-missing").is_null());
    assert_eq!(usage("usage-negative")["prompt_tokens"], -1);
    assert_eq!(usage("usage-huge")["total_tokens"], 1_u64 << 53);
    assert_eq!(usage("usage-string")["prompt_tokens"], "1");
}

#[test]
fn drip_pauses_between_bytes() {
    let mock = mock();
    let started = Instant::now();
    let got = post(mock.addr(), "/v1/nope", &json!({}));
    assert_eq!(got.status(), 404);
    let drip = ask(mock.addr(), "POST", "/v1/nope", "x-mock-fault: drip=1\r\n", "");
    assert_eq!(drip.status(), 404);
    assert!(started.elapsed() >= Duration::from_millis(drip.bytes.len() as u64 - 1));
}

#[test]
fn early_response_does_not_wait_for_the_body() {
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
fn request_can_set_idle_close_for_its_connection() {
    let mock = mock();
    let mut stream = connect(mock.addr());
    let body = chat("m+fault=idle-close=20", "hi", json!({})).to_string();
    stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
    let got = read_all(&stream);
    assert!(got.status() == 200 && !got.reset);
}

#[test]
fn request_may_arrive_in_pieces() {
    let mock = mock();
    let body = chat("gpt-4o", "slowly", json!({})).to_string();
    let raw = request("POST", CHAT, "Connection: close\r\n", &body);
    for at in [1, 20, raw.len() - body.len() - 1, raw.len() - 1] {
        let mut stream = connect(mock.addr());
        stream.write_all(&raw.as_bytes()[..at]).unwrap();
        // Usually makes the mock read the pieces separately. The result does not depend on it.
        std::thread::sleep(Duration::from_millis(5));
        stream.write_all(&raw.as_bytes()[at..]).unwrap();
        assert!(read_all(&stream).body().contains("You said: slowly"));
    }
}

#[test]
fn idle_connection_is_closed() {
    let options = Options { fault: Some(Fault::IdleClose(Duration::from_millis(30))), ..Options::default() };
    let mock = Mock::start(options).unwrap();
    let mut stream = connect(mock.addr());
    stream.write_all(request("GET", "/v1/models", "", "").as_bytes()).unwrap();
    let got = read_all(&stream);
    assert!(got.status() == 200 && !got.reset);
}

#[test]
fn faults_can_be_armed_over_http() {
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
fn stop_ends_a_hanging_request() {
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

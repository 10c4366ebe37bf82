//! The ledger: entries, totals, peers that leave.

use std::io::{Read, Write};
use std::time::Duration;

use mock_llm::{Entry, Mock, Options, fnv64};
use serde_json::json;

use crate::client::{CHAT, ask, chat, connect, mock, post, request};

/// Arbitrary: only a failing test waits this long.
const TIMEOUT: Duration = Duration::from_secs(10);

fn only_entry(mock: &Mock) -> Entry {
    assert!(mock.wait_until_idle(TIMEOUT));
    let mut entries = mock.ledger().entries;
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

#[test]
fn ledger_entry_has_request_answer_and_tokens() {
    let mock = Mock::start(Options { bodies: true, ..Options::default() }).unwrap();
    let body = chat("gpt-4o", "hello", json!({})).to_string();
    let got = ask(mock.addr(), "POST", CHAT, "Authorization: Bearer sk-secret\r\nX-Odd: 1\r\n", &body);
    let entry = only_entry(&mock);
    assert_eq!((entry.path.as_str(), entry.model.as_str(), entry.status), (CHAT, "gpt-4o", 200));
    assert!(entry.complete && entry.done && !entry.stream && entry.peer_closed_ms.is_none());
    assert_eq!(got.json()["usage"]["completion_tokens"], entry.completion_tokens);
    assert_eq!(entry.bytes_sent, got.bytes.len() as u64);
    assert_eq!(entry.body_hash, format!("{:016x}", fnv64(body.as_bytes())));
    assert_eq!(entry.body.as_deref(), Some(body.as_str()));
    assert_eq!(entry.header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(entry.header("x-odd"), Some("1"));
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete, totals.prompt_tokens), (1, 1, 2));
}

#[test]
fn peer_that_leaves_a_stream_is_recorded() {
    let mock = Mock::start(Options { chunk_delay: Duration::from_millis(5), ..Options::default() }).unwrap();
    let mut stream = connect(mock.addr());
    let body = chat("m+words=1000", "hi", json!({"stream": true})).to_string();
    stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
    assert!(stream.read(&mut [0; 64]).unwrap() > 0);
    drop(stream);
    let entry = only_entry(&mock);
    assert!(entry.peer_closed_ms.is_some() && !entry.complete);
    assert!(entry.events_sent >= 1 && entry.events_sent < 1000, "{}", entry.events_sent);
    assert_eq!(mock.totals().completion_tokens, 0);
}

#[test]
fn peer_that_leaves_while_waiting_is_recorded() {
    for setting in ["fault=hang", "latency=60000"] {
        let mock = mock();
        let mut stream = connect(mock.addr());
        let body = chat(&format!("m+{setting}"), "hi", json!({})).to_string();
        stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
        while mock.totals().in_flight == 0 {
            std::thread::yield_now();
        }
        assert!(!mock.ledger().entries[0].done);
        drop(stream);
        let entry = only_entry(&mock);
        assert!(entry.peer_closed_ms.is_some() && entry.status == 0 && entry.bytes_sent == 0);
    }
}

#[test]
fn broken_answer_is_not_complete() {
    let mock = mock();
    post(mock.addr(), CHAT, &chat("m+fault=reset-mid-stream=2", "hi", json!({"stream": true})));
    let entry = only_entry(&mock);
    assert!(entry.done && !entry.complete && entry.peer_closed_ms.is_none());
    assert_eq!((entry.status, entry.events_sent), (200, 2));
}

#[test]
fn ledger_can_be_read_and_reset_over_http() {
    let mock = mock();
    for _ in 0..3 {
        post(mock.addr(), CHAT, &chat("gpt-4o", "hi", json!({})));
    }
    assert!(mock.wait_until_idle(TIMEOUT));
    let get = |query: &str| ask(mock.addr(), "GET", &format!("/mock/ledger{query}"), "", "").json();
    assert_eq!(get("")["totals"]["requests"], 3);
    let later = get("?after=2");
    assert_eq!(later["entries"].as_array().unwrap().len(), 1);
    assert_eq!(later["entries"][0]["id"], 3);
    ask(mock.addr(), "DELETE", "/mock/ledger", "", "");
    assert_eq!(get("")["totals"]["requests"], 0);
    post(mock.addr(), CHAT, &chat("gpt-4o", "hi", json!({})));
    assert!(mock.wait_until_idle(TIMEOUT));
    assert_eq!(get("")["entries"][0]["id"], 4);
}

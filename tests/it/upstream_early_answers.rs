//! Answers that arrive while the request is still being sent (FAULTS.md rows 13 and 14).

use std::time::Duration;

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// A request of 5 MiB, more than the socket buffers can hold.
fn long_chat_request() -> Vec<u8> {
    post(CHAT, chat("gpt-4o", &"x".repeat(5 << 20)))
}

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo long";

/// FAULTS.md row 14.
#[test]
fn early_answer_passes_when_the_provider_closes() {
    let upstream = Upstream::script(|conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            return;
        }
        answer_every_request(conn);
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    let answer = caller.send(long_chat_request()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_next_is_answered(&mut caller);
    assert_eq!(upstream.connections(), 2);
    eventually("both attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"answered\""]) == 2.0
    });
    assert_eq!(
        gateway.metric("luner_upstream_attempts_total", &[]),
        2.0,
        "a connection with a half-sent request was kept: {:?}",
        gateway.metrics()
    );
}

/// FAULTS.md row 14.
#[test]
fn early_answer_passes_when_the_provider_stops_reading() {
    let gate = Gate::new();
    let may_close = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            may_close.wait();
            return;
        }
        answer_every_request(conn);
    });
    let gateway = start_with(&upstream, json!({ "timeout": "60s" }));
    let mut caller = gateway.connect();
    caller.stream().set_read_timeout(Some(Duration::from_secs(3))).expect("a shorter timeout");
    let answer = caller.send(long_chat_request()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_next_is_answered(&mut caller);
    assert_eq!(upstream.connections(), 2, "the connection is not reused");
    gate.permit();
}

/// FAULTS.md rows 13 and 14.
#[test]
fn interim_answer_during_the_upload_is_not_the_answer() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] {
        println!("{interim:?}");
        let upstream = Upstream::script(move |conn| {
            conn.stream().peek(&mut [0]).expect("the request begins");
            conn.write(interim);
            // Does not read for a while, so that the gateway cannot continue to send.
            std::thread::sleep(Duration::from_millis(400));
            answer_every_request(conn);
        });
        let gateway = start_in_front_of(&upstream);
        let answer = gateway.ask(long_chat_request());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.content(), "well");
    }
}

/// FAULTS.md row 14.
#[test]
fn provider_that_never_reads_the_body_gets_504() {
    let gate = Gate::new();
    let may_close = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            may_close.wait();
            return;
        }
        answer_every_request(conn);
    });
    let gateway = start_with(&upstream, json!({ "timeout": "300ms" }));
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(long_chat_request()).answer(), GATEWAY_TIMEOUT);
    assert_next_is_answered(&mut caller);
    gate.permit();
}

//! Answers that come while the request is still sent.

use std::time::Duration;

use crate::support::upstream_cases::*;
use crate::support::*;

/// A request of 5 MiB, more than socket buffers hold.
fn long_question() -> Vec<u8> {
    post(CHAT, chat("gpt-4o", &"x".repeat(5 << 20)))
}

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo long";

// 14
#[test]
fn an_early_answer_is_passed_on_when_the_provider_then_closes() {
    let upstream = Upstream::script(|conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    let answer = caller.send(long_question()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2);
    eventually("both attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"answered\""]) == 2.0
    });
    assert_eq!(
        gateway.metric("luner_upstream_attempts_total", &[]),
        2.0,
        "a connection whose request was not sent whole was kept: {:?}",
        gateway.metrics()
    );
}

// 14
#[test]
fn an_early_answer_is_passed_on_though_the_provider_reads_nothing_more() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            theirs.wait();
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "timeout: 60s");
    let mut caller = gateway.connect();
    caller.stream().set_read_timeout(Some(Duration::from_secs(3))).expect("a shorter patience");
    let answer = caller.send(long_question()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2, "the connection is not used again");
    gate.permit();
}

// 13, 14
#[test]
fn an_interim_answer_while_the_request_is_sent_is_not_the_answer() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] {
        println!("{interim:?}");
        let upstream = Upstream::script(move |conn| {
            conn.stream().peek(&mut [0]).expect("the request begins");
            conn.write(interim);
            // Busy for a while, so that the gateway cannot send on.
            std::thread::sleep(Duration::from_millis(400));
            serve_well(conn);
        });
        let gateway = gateway(&upstream, "");
        let answer = gateway.ask(long_question());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.said(), "well");
    }
}

// 14
#[test]
fn a_provider_that_takes_nothing_of_the_request_is_a_504() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            theirs.wait();
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "timeout: 300ms");
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(long_question()).answer(), LATE);
    assert_goes_on(&mut caller);
    gate.permit();
}

//! Callers that leave in the middle, stop reading, or read slowly (FAULTS.md rows 22 and 23).

use std::time::Duration;

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// How a caller leaves.
type Leave = fn(Raw);

const WAYS_TO_LEAVE: [(&str, Leave); 2] =
    [("in order", |caller| drop(caller)), ("with a reset", |caller| caller.reset())];

/// FAULTS.md row 22.
#[test]
fn leaving_a_stream_cancels_it() {
    for (name, leave) in WAYS_TO_LEAVE {
        println!("{name}");
        let upstream = Upstream::script(|conn| {
            if conn.number % 2 == 1 {
                return answer_every_request(conn);
            }
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one"))));
            conn.hold();
        });
        let gateway = start_in_front_of(&upstream);
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?")).head();
        assert_eq!(caller.chunk(), Some(delta("one").into_bytes()));
        leave(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
        gateway.wait_log("left in the middle");
        // The tokens used so far are counted.
        assert!(gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) > 0.0);
        assert!(gateway.metric("luner_tokens_used_total", &["type=\"completion\""]) > 0.0);
        assert_next_is_answered(&mut gateway.connect());
    }
}

/// FAULTS.md row 22.
#[test]
fn leaving_a_busy_stream_cancels_it() {
    for (name, leave) in WAYS_TO_LEAVE {
        println!("{name}");
        let upstream = Upstream::script(|conn| {
            conn.request();
            conn.write(STREAM_HEAD);
            while conn.write(in_chunk(delta("more"))) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let gateway = start_in_front_of(&upstream);
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?")).head();
        caller.chunk();
        leave(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
    }
}

/// FAULTS.md row 22.
#[test]
fn leaving_before_the_answer_cancels_the_request() {
    for (name, leave) in WAYS_TO_LEAVE {
        for sent in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"half\":"] {
            println!("{name}, after {sent:?}");
            let upstream = Upstream::script(move |conn| {
                if conn.number == 1 {
                    return answer_every_request(conn);
                }
                conn.request();
                conn.write(sent);
                conn.hold();
            });
            let gateway = start_with(&upstream, json!({ "retries": 3 }));
            let mut caller = gateway.connect();
            caller.send(chat_request());
            eventually("the provider has the request", || upstream.requests().len() == 1);
            leave(caller);
            eventually("the provider's connection is closed", || upstream.running() == 0);
            eventually("the request is counted as 499", || {
                gateway.metric("luner_requests_total", &["status=\"499\""]) == 1.0
            });
            assert_next_is_answered(&mut gateway.connect());
            assert_eq!(upstream.requests().len(), 2, "nothing was retried");
        }
    }
}

/// FAULTS.md row 23.
#[test]
fn caller_that_stops_reading_is_cut_at_write_timeout() {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, request) in [(STREAM_HEAD, post_stream("gpt-4o", "hello?")), (json, chat_request())] {
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return answer_every_request(conn);
            }
            conn.request();
            conn.write(head);
            let part = in_chunk(delta(&"m".repeat(500)).repeat(100));
            while conn.write(&part) {}
        });
        let gateway = Gateway::new()
            .provider("openai", upstream.url(), &["gpt-4o"])
            .server(json!({ "write_timeout": "500ms" }))
            .start();
        let rss = gateway.rss_bytes();
        let fds = gateway.open_fds();
        let mut stalled = gateway.connect();
        assert_eq!(stalled.send(request).head().status, 200);
        // Other callers are served meanwhile.
        assert_next_is_answered(&mut gateway.connect());
        eventually("the provider's connection is closed", || upstream.running() <= 1);
        eventually("the caller's connection is closed", || gateway.open_fds() <= fds + 1);
        assert!(
            peak_rss_bytes(&gateway) < rss + (32 << 20),
            "{} bytes at most, {rss} before",
            peak_rss_bytes(&gateway)
        );
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
    }
}

/// FAULTS.md row 23.
#[test]
fn slow_caller_gets_every_byte() {
    // More than all buffers on the way can hold, so that the gateway has to wait for the caller again and again.
    let events: String = (0..10_000).map(|n| delta(&format!("{n} {}", "m".repeat(500)))).collect();
    let stream = format!("{STREAM_HEAD}{}{}", in_chunk(&events), stream_end());
    let upstream = Upstream::always(stream);
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    caller.send(post_stream("gpt-4o", "hello?"));
    eventually("the gateway waits for the caller", || !gateway_has_read_all(upstream.addr().port()));
    let answer = caller.answer();
    assert!(answer.text() == events + "data: [DONE]\n\n", "{} bytes came", answer.body.len());
}

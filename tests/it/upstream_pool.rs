//! Upstream connections that carry one request after another: when they are reused, when they must not be, and what
//! happens when the provider has closed an idle one (FAULTS.md rows 10 and 12).

use std::time::Duration;

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// Number of attempts with this outcome.
fn attempts(gateway: &Running, outcome: &str) -> f64 {
    gateway.metric("luner_upstream_attempts_total", &[&format!("outcome=\"{outcome}\"")])
}

#[test]
fn sequential_requests_share_a_connection() {
    let streamed = format!("{STREAM_HEAD}{}{}", in_chunk(delta("well")), stream_end());
    let upstream = Upstream::script(move |conn| {
        while let Some(request) = conn.next_request() {
            let stream = request.json()["stream"] == true;
            conn.write(if stream { streamed.clone() } else { ok_chat("well") });
        }
    });
    let gateway = start_in_front_of(&upstream);
    for _ in 0..10 {
        assert_next_is_answered(&mut gateway.connect());
        assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).content(), "well");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn connection_marked_close_is_not_reused() {
    // Long answers take a different code path than short ones.
    for text in ["well".to_owned(), "w".repeat(2 << 20)] {
        let body = completion(&text);
        let answer = ok_json_then_close(&body);
        let upstream = Upstream::script(move |conn| {
            conn.request();
            conn.write(&answer);
            // The provider announced the end, but leaves the connection open.
            assert!(conn.next_request().is_none(), "a second request came after `Connection: close`");
        });
        let gateway = start_in_front_of(&upstream);
        let mut caller = gateway.connect();
        for number in 1..=3 {
            let answer = caller.send(chat_request()).answer();
            assert_eq!(answer.status, 200);
            assert_eq!(upstream.connections(), number);
        }
    }
}

/// FAULTS.md row 10.
#[test]
fn closed_idle_connection_is_replaced_unnoticed() {
    // The provider reads the next request on the idle connection and closes without an answer.
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        conn.request();
    });
    let gateway = start_with(&upstream, json!({ "retries": 0 }));
    let mut caller = gateway.connect();
    assert_next_is_answered(&mut caller);
    assert_next_is_answered(&mut caller);
    assert_next_is_answered(&mut caller);
    assert_eq!(upstream.connections(), 2);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 4, "one request was seen twice, once on each connection");
    assert_eq!((seen[1].connection, seen[2].connection), (0, 1));
    assert_eq!(seen[1].body, seen[2].body);
    eventually("the stale attempt is counted", || attempts(&gateway, "stale") == 1.0);
}

/// FAULTS.md row 10.
#[test]
fn reset_idle_connection_is_replaced_unnoticed() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        conn.request();
        conn.reset();
    });
    let gateway = start_with(&upstream, json!({ "retries": 0 }));
    let mut caller = gateway.connect();
    assert_next_is_answered(&mut caller);
    assert_next_is_answered(&mut caller);
    assert_eq!(upstream.requests().len(), 3);
}

/// FAULTS.md row 10.
#[test]
fn provider_that_keeps_closing_sees_a_request_at_most_twice() {
    let upstream = Upstream::script(|conn| {
        conn.request();
        if conn.number == 0 {
            conn.write(ok_chat("well"));
            conn.request();
        }
    });
    let gateway = start_with(&upstream, json!({ "retries": 5 }));
    let mut caller = gateway.connect();
    assert_next_is_answered(&mut caller);
    assert_refusal(&caller.send(chat_request()).answer(), BAD_GATEWAY);
    assert_eq!(upstream.requests().len(), 3, "the first request, and the second on the idle and on a new connection");
    assert_eq!(upstream.connections(), 2);
}

/// FAULTS.md row 10.
#[test]
fn idle_connection_that_dies_after_the_first_answer_byte_gets_502() {
    for bytes in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for ending in [Ending::Close, Ending::Reset] {
            println!("{bytes:?}, {ending:?}");
            let (gate, wrote) = (Gate::new(), Gate::new());
            let (may_end, has_written) = (gate.clone(), wrote.clone());
            let upstream = Upstream::script(move |conn| {
                if conn.number > 0 {
                    return answer_every_request(conn);
                }
                conn.request();
                conn.write(ok_chat("well"));
                conn.request();
                conn.write(bytes);
                has_written.permit();
                // A reset discards unread bytes. The gateway must have read the byte before it.
                may_end.wait();
                ending.apply(conn);
            });
            let gateway = start_with(&upstream, json!({ "retries": 5 }));
            let mut caller = gateway.connect();
            assert_next_is_answered(&mut caller);
            caller.send(chat_request());
            wrote.wait();
            eventually("the gateway has read the byte", || gateway_has_read_all(upstream.addr().port()));
            gate.permit();
            assert_refusal(&caller.answer(), BAD_GATEWAY);
            assert_eq!(upstream.requests().len(), 2);
            assert_next_is_answered(&mut caller);
        }
    }
}

/// FAULTS.md row 10.
#[test]
fn closing_at_any_moment_between_requests_causes_no_error() {
    // Each provider closes its connection after an idle time in milliseconds that the previous request asked for.
    let closing_upstream = || {
        Upstream::script(|conn| {
            while let Some(request) = conn.next_request() {
                conn.write(ok_chat("well"));
                let ms = request.json()["messages"][0]["content"].as_str().and_then(|text| text.parse().ok());
                let idle_time = Duration::from_millis(ms.expect("a number"));
                conn.stream().set_read_timeout(Some(idle_time)).expect("a read timeout");
            }
        })
    };
    // Each caller has its own provider, and so its own upstream connections.
    let upstreams: Vec<Upstream> = (0..CALLERS).map(|_| closing_upstream()).collect();
    let mut gateway = Gateway::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let name = format!("m{index}");
        gateway = gateway.provider_with(&name, upstream.url(), &[&name], json!({ "retries": 0 }));
    }
    let gateway = gateway.start();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for ms in (1..=IDLE_MS_MAX).skip(caller).step_by(CALLERS) {
                    for jitter in 0..REQUESTS_PER_MS {
                        let answer = raw.send(post_chat(&format!("m{caller}"), &ms.to_string())).answer();
                        assert_eq!((answer.status, answer.content().as_str()), (200, "well"), "after {ms} ms");
                        // Sleeps until just before or after the provider closes, so that the close and the next request
                        // meet.
                        std::thread::sleep(Duration::from_micros(ms * 1000 - 400 + jitter * 200));
                    }
                }
            });
        }
    });
    let seen: usize = upstreams.iter().map(|upstream| upstream.requests().len()).sum();
    let sent = IDLE_MS_MAX as usize * REQUESTS_PER_MS as usize;
    assert!((sent..=2 * sent).contains(&seen), "the providers saw {seen} requests, {sent} were sent");
}

/// Longest idle time. Arbitrary.
const IDLE_MS_MAX: u64 = 200;
/// Must divide the longest idle time.
const CALLERS: usize = 10;
const REQUESTS_PER_MS: u64 = 4;

/// A text that must never reach a caller.
const POISON: &str = "another-caller's-canary";

/// The answer followed by an unrequested second one, which the next caller would get if the gateway trusted it.
fn with_poison(answer: &str) -> String {
    format!("{answer}{}", ok_chat(POISON))
}

/// FAULTS.md row 12.
#[test]
fn bytes_after_an_answer_never_reach_the_next_caller() {
    let body = completion("well");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        in_chunk(&body)
    );
    let streamed = format!("{STREAM_HEAD}{}{}", in_chunk(delta("well")), stream_end());
    let answers = [
        ("a length", with_poison(&ok_chat("well"))),
        ("chunks", with_poison(&chunked)),
        ("a stream", with_poison(&streamed)),
        ("no body", with_poison("HTTP/1.1 204 No Content\r\n\r\n")),
        ("an error", with_poison("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")),
        ("an error that luner replaces", with_poison("HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")),
        ("an answer and one byte", format!("{}H", ok_chat("well"))),
        ("an answer and an empty line", format!("{}\r\n", ok_chat("well"))),
        (
            "an answer and a 408",
            format!("{}HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", ok_chat("well")),
        ),
        ("a megabyte", with_poison(&ok_chat(&"l".repeat(2 << 20)))),
        // Answers of the size of one read, so that the bytes after them stay in the socket.
        ("4 KiB", with_poison(&ok_chat_of_size(4 << 10))),
        ("8 KiB", with_poison(&ok_chat_of_size(8 << 10))),
        ("16 KiB", with_poison(&ok_chat_of_size(16 << 10))),
        ("64 KiB", with_poison(&ok_chat_of_size(64 << 10))),
    ];
    for (name, answer) in answers {
        println!("after {name}");
        let written = Gate::new();
        let has_written = written.clone();
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return answer_every_request(conn);
            }
            conn.request();
            conn.write(&answer);
            has_written.permit();
            conn.hold();
        });
        let gateway = start_with(&upstream, json!({ "retries": 0 }));
        let first = gateway.ask(chat_request());
        assert!(!first.text().contains(POISON), "{}", first.text());
        written.wait();
        let second = gateway.ask(chat_request());
        assert_eq!((second.status, second.content().as_str()), (200, "well"));
        assert_eq!(upstream.connections(), 2, "the connection is not reused");
    }
}

/// FAULTS.md row 12.
#[test]
fn bytes_on_an_idle_connection_never_reach_the_next_caller() {
    // The bytes come a moment after the answer, when the connection is idle.
    let (first_is_over, poison_is_sent) = (Gate::new(), Gate::new());
    let (is_over, has_sent) = (first_is_over.clone(), poison_is_sent.clone());
    let upstream = Upstream::script(move |conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        is_over.wait();
        conn.write(ok_chat(POISON));
        has_sent.permit();
        conn.hold();
    });
    let gateway = start_with(&upstream, json!({ "retries": 0 }));
    let mut second = gateway.connect();
    assert_next_is_answered(&mut gateway.connect());
    first_is_over.permit();
    poison_is_sent.wait();
    assert_next_is_answered(&mut second);
}

/// FAULTS.md row 12.
#[test]
fn answer_longer_than_announced_is_cut_at_its_length() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nwellll");
        conn.hold();
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    assert_eq!(caller.send(chat_request()).answer().text(), "well");
    assert_next_is_answered(&mut caller);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn concurrent_callers_get_their_own_answers() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).start();
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for turn in 0..10 {
                    let prompt = format!("caller {caller}, turn {turn}");
                    let stream = turn % 2 == 0;
                    let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
                    assert_eq!(raw.send(request).answer().content(), reply(&prompt));
                }
            });
        }
    });
    assert!(mock.connections() <= 16, "{} connections for 16 callers", mock.connections());
}

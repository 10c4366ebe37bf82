//! Connections to a provider that carry one request after another: when they do, when they must not, and what happens
//! when the provider has closed the one that is taken.

use std::time::Duration;

use crate::support::upstream_cases::*;
use crate::support::*;

/// The attempts that ended like this.
fn attempts(gateway: &Running, outcome: &str) -> f64 {
    gateway.metric("luner_upstream_attempts_total", &[&format!("outcome=\"{outcome}\"")])
}

#[test]
fn requests_one_after_another_share_a_connection() {
    let streamed = format!("{STREAM_HEAD}{}{}", in_chunk(delta("well")), stream_end());
    let upstream = Upstream::script(move |conn| {
        while let Some(request) = conn.next_request() {
            let stream = request.json()["stream"] == true;
            conn.write(if stream { streamed.clone() } else { ok_chat("well") });
        }
    });
    let gateway = gateway(&upstream, "");
    for _ in 0..10 {
        assert_goes_on(&mut gateway.connect());
        assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).said(), "well");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_that_the_provider_wants_closed_is_not_used_again() {
    // Long answers take another way through the gateway than short ones.
    for text in ["well".to_owned(), "w".repeat(2 << 20)] {
        let body = completion(&text);
        let stays: Vec<u8> = last(&body).into_bytes();
        let upstream = Upstream::script(move |conn| {
            conn.request();
            conn.write(&stays);
            // It announced the end and yet stays, as far as it can.
            assert!(conn.next_request().is_none(), "a second request came behind `Connection: close`");
        });
        let gateway = gateway(&upstream, "");
        let mut caller = gateway.connect();
        for number in 1..=3 {
            let answer = caller.send(question()).answer();
            assert_eq!(answer.status, 200);
            assert_eq!(upstream.connections(), number);
        }
    }
}

// 10
#[test]
fn a_kept_connection_that_was_closed_is_replaced_and_nobody_notices() {
    // Sees the request on the old connection, and closes without an answer.
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        conn.request();
    });
    let gateway = gateway(&upstream, "retries: 0");
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    assert_goes_on(&mut caller);
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 4, "one request was seen twice, by each connection once");
    assert_eq!((seen[1].connection, seen[2].connection), (0, 1));
    assert_eq!(seen[1].body, seen[2].body);
    eventually("the stale attempt is counted", || attempts(&gateway, "stale") == 1.0);
}

// 10
#[test]
fn a_kept_connection_that_is_reset_is_replaced_too() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        conn.request();
        conn.reset();
    });
    let gateway = gateway(&upstream, "retries: 0");
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    assert_goes_on(&mut caller);
    assert_eq!(upstream.requests().len(), 3);
}

// 10
#[test]
fn a_provider_that_closes_every_connection_without_an_answer_sees_a_request_twice_at_most() {
    let upstream = Upstream::script(|conn| {
        conn.request();
        if conn.number == 0 {
            conn.write(ok_chat("well"));
            conn.request();
        }
    });
    let gateway = gateway(&upstream, "retries: 5");
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    assert_refusal(&caller.send(question()).answer(), BROKEN);
    assert_eq!(upstream.requests().len(), 3, "the good one, and the bad one on the old and on a new connection");
    assert_eq!(upstream.connections(), 2);
}

// 10
#[test]
fn a_kept_connection_that_dies_behind_the_first_byte_of_an_answer_is_a_502() {
    for bytes in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        for end in [End::Fin, End::Rst] {
            println!("{bytes:?}, {end:?}");
            let (gate, wrote) = (Gate::new(), Gate::new());
            let (theirs, told) = (gate.clone(), wrote.clone());
            let upstream = Upstream::script(move |conn| {
                if conn.number > 0 {
                    return serve_well(conn);
                }
                conn.request();
                conn.write(ok_chat("well"));
                conn.request();
                conn.write(bytes);
                told.permit();
                // A reset takes along what the gateway has not read, and then it has seen no byte.
                theirs.wait();
                end.play(conn);
            });
            let gateway = gateway(&upstream, "retries: 5");
            let mut caller = gateway.connect();
            assert_goes_on(&mut caller);
            caller.send(question());
            wrote.wait();
            eventually("the gateway has read the byte", || all_read(upstream.addr().port()));
            gate.permit();
            assert_refusal(&caller.answer(), BROKEN);
            assert_eq!(upstream.requests().len(), 2);
            assert_goes_on(&mut caller);
        }
    }
}

// 10
#[test]
fn closing_at_any_moment_between_two_requests_is_no_callers_error() {
    // Closes after as many milliseconds without a request as the request before said.
    let closes = || {
        Upstream::script(|conn| {
            while let Some(request) = conn.next_request() {
                conn.write(ok_chat("well"));
                let ms = request.json()["messages"][0]["content"].as_str().and_then(|text| text.parse().ok());
                let patience = Duration::from_millis(ms.expect("a number"));
                conn.stream().set_read_timeout(Some(patience)).expect("a read timeout");
            }
        })
    };
    // Each caller has a provider of its own, and so connections of its own.
    let upstreams: Vec<Upstream> = (0..CALLERS).map(|_| closes()).collect();
    let mut gateway = Gateway::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let name = format!("m{index}");
        gateway = gateway.provider_with(&name, upstream.url(), &[&name], "retries: 0");
    }
    let gateway = gateway.start();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for ms in (1..=PATIENCE_MS_MAX).skip(caller).step_by(CALLERS) {
                    for jitter in 0..PER_MS {
                        let answer = raw.send(post_chat(&format!("m{caller}"), &ms.to_string())).answer();
                        assert_eq!((answer.status, answer.said().as_str()), (200, "well"), "after {ms} ms");
                        // Until just before or behind the provider's patience ends, so that close and request meet.
                        std::thread::sleep(Duration::from_micros(ms * 1000 - 400 + jitter * 200));
                    }
                }
            });
        }
    });
    let seen: usize = upstreams.iter().map(|upstream| upstream.requests().len()).sum();
    let sent = PATIENCE_MS_MAX as usize * PER_MS as usize;
    assert!((sent..=2 * sent).contains(&seen), "{seen} executions of {sent} requests");
}

const PATIENCE_MS_MAX: u64 = 200;
/// Divides it.
const CALLERS: usize = 10;
const PER_MS: u64 = 4;

/// What must never reach anybody.
const POISON: &str = "another-caller's-canary";

/// The answer, and behind it one that nobody asked for, which is the next caller's if the gateway believes in it.
fn with_poison(answer: &str) -> String {
    format!("{answer}{}", ok_chat(POISON))
}

// 12
#[test]
fn bytes_behind_an_answer_never_reach_the_next_caller() {
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
        ("an error that is not passed on", with_poison("HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")),
        ("a byte only", format!("{}H", ok_chat("well"))),
        ("an empty line", format!("{}\r\n", ok_chat("well"))),
        ("a timeout's 408", format!("{}HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", ok_chat("well"))),
        ("a megabyte", with_poison(&ok_chat(&"l".repeat(2 << 20)))),
        // Exactly as much as one read takes, so that what follows waits in the socket.
        ("4 KiB", with_poison(&answer_of(4 << 10))),
        ("8 KiB", with_poison(&answer_of(8 << 10))),
        ("16 KiB", with_poison(&answer_of(16 << 10))),
        ("64 KiB", with_poison(&answer_of(64 << 10))),
    ];
    for (name, answer) in answers {
        println!("behind {name}");
        let written = Gate::new();
        let theirs = written.clone();
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return serve_well(conn);
            }
            conn.request();
            conn.write(&answer);
            theirs.permit();
            conn.hold();
        });
        let gateway = gateway(&upstream, "retries: 0");
        let first = gateway.ask(question());
        assert!(!first.text().contains(POISON), "{}", first.text());
        written.wait();
        let second = gateway.ask(question());
        assert_eq!((second.status, second.said().as_str()), (200, "well"));
        assert_eq!(upstream.connections(), 2, "the connection is not used again");
    }
}

// 12
#[test]
fn bytes_that_nobody_asked_for_never_reach_the_next_caller() {
    // Not with the answer, but a moment later, on a connection that rests.
    let (first_is_over, poison_is_there) = (Gate::new(), Gate::new());
    let theirs = (first_is_over.clone(), poison_is_there.clone());
    let upstream = Upstream::script(move |conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write(ok_chat("well"));
        theirs.0.wait();
        conn.write(ok_chat(POISON));
        theirs.1.permit();
        conn.hold();
    });
    let gateway = gateway(&upstream, "retries: 0");
    let mut second = gateway.connect();
    assert_goes_on(&mut gateway.connect());
    first_is_over.permit();
    poison_is_there.wait();
    assert_goes_on(&mut second);
}

// 12
#[test]
fn an_answer_longer_than_it_said_is_cut_where_it_said() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nwellll");
        conn.hold();
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    assert_eq!(caller.send(question()).answer().text(), "well");
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn many_callers_at_once_get_their_own_answers() {
    let mock = mock();
    let gateway = Gateway::before(mock.base_url()).start();
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut raw = gateway.connect();
                for turn in 0..10 {
                    let prompt = format!("caller {caller}, turn {turn}");
                    let stream = turn % 2 == 0;
                    let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
                    assert_eq!(raw.send(request).answer().said(), reply(&prompt));
                }
            });
        }
    });
    assert!(mock.connections() <= 16, "{} connections for 16 callers", mock.connections());
}

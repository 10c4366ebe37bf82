//! Callers that are slow, silent or too many (FAULTS.md rows 24, 25, 65 and 68). The tests set luner's deadlines short
//! and wait for what must follow. They never measure time themselves.

use std::thread;

use serde_json::json;

use crate::support::*;

/// A gateway whose deadlines are short enough to wait for.
fn impatient(url: impl AsRef<str>) -> Gateway {
    Gateway::in_front_of(url).server(json!({ "read_timeout": "300ms", "write_timeout": "300ms" }))
}

/// FAULTS.md row 24.
#[test]
fn late_head_gets_408() {
    let luner = impatient("http://127.0.0.1:9/v1").start();
    for half in ["G", "GET /v1/models HTTP/1.1\r\n", "GET /v1/models HTTP/1.1\r\nHost: gateway\r\nX: ", "\r\n"] {
        let mut client = luner.connect();
        let answer = client.send(half).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (408, Some("request_timeout")), "{half:?}");
        assert_eq!(answer.json()["error"]["type"], "timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

/// FAULTS.md row 24.
#[test]
fn late_body_gets_408() {
    let mock = mock();
    let luner = impatient(mock.base_url()).start();
    let whole = String::from_utf8(post_chat("gpt-4o", "slow")).unwrap();
    let chunked = format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{\"mo");
    for half in [&whole[..whole.len() - 1], chunked.as_str()] {
        let mut client = luner.connect();
        assert_eq!(client.send(half).answer().status, 408);
        assert!(client.is_closed());
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 24: a byte must not extend the deadline.
#[test]
fn dripping_caller_gets_no_more_time_than_a_stalled_one() {
    let luner = impatient("http://127.0.0.1:9/v1").start();
    for start in [
        "GET /".to_owned(),
        "GET /v1/models HTTP/1.1\r\nHost: gateway\r\nX: ".to_owned(),
        format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100000\r\n\r\n"),
        format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n"),
    ] {
        let mut client = luner.connect();
        client.send(start);
        eventually("the connection is cut", || client.try_send("a").is_err() || !client.is_quiet());
        assert_eq!(client.answer().status, 408);
    }
}

#[test]
fn idle_connection_may_wait_longer_than_a_request() {
    let luner = impatient("http://127.0.0.1:9/v1").start();
    let (mut idle, mut fresh) = (luner.connect(), luner.connect());
    assert_eq!(idle.send(get("/v1/models")).answer().status, 200);
    // When this connection is cut, the others have been silent for as long.
    assert_eq!(luner.connect().send("GET").answer().status, 408);
    assert!(idle.is_quiet() && fresh.is_quiet());
    assert_eq!(idle.send(get("/v1/models")).answer().status, 200);
    assert_eq!(fresh.send(get("/v1/models")).answer().status, 200);
}

/// FAULTS.md row 24.
#[test]
fn unread_endless_answer_is_cut_and_its_provider_released() {
    let released = Gate::new();
    let gate = released.clone();
    let upstream = Upstream::script(move |conn| {
        let stream = conn.request().json()["stream"] == true;
        conn.write(match stream {
            true => STREAM_HEAD,
            false => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        });
        let piece = in_chunk(delta(&"x".repeat(60_000)));
        while conn.write(&piece) {}
        gate.permit();
    });
    let luner = impatient(upstream.url()).start();
    let before = (luner.open_fds(), luner.rss_bytes());
    for request in [post_stream("gpt-4o", "x"), post_chat("gpt-4o", "x")] {
        let mut client = luner.connect();
        client.send(request);
        // The script ends when luner has closed the provider's connection.
        released.wait();
        eventually("descriptors return", || luner.open_fds() <= before.0 + 1);
        drop(client);
    }
    eventually("descriptors return", || luner.open_fds() <= before.0);
    let after = luner.rss_bytes();
    assert!(after < before.1 + (16 << 20), "an endless answer was buffered: {} → {after}", before.1);
}

/// FAULTS.md row 25: an announced body takes memory only as it arrives.
#[test]
fn announced_body_takes_no_memory() {
    raise_descriptor_limit();
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    luner.health();
    let before = luner.rss_bytes();
    let head = format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10000000\r\n\r\n{{");
    let clients: Vec<Raw> = (0..200)
        .map(|_| {
            let mut client = luner.connect();
            // Both are sent at once, so the answer to the first shows that the second was read.
            let both = [get("/v1/models"), head.clone().into_bytes()].concat();
            assert_eq!(client.send(both).answer().status, 200);
            client
        })
        .collect();
    let (sent, grown) = (200 * head.len(), luner.rss_bytes().saturating_sub(before));
    // FAULTS.md: no peer makes luner hold more than 100 times what it sent. The constant is for the connections
    // themselves.
    assert!(grown < 100 * sent + (8 << 20), "{grown} bytes for {sent}");
    drop(clients);
}

#[test]
fn good_caller_is_served_beside_bad_ones() {
    raise_descriptor_limit();
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    let base = luner.open_fds();
    let mut neighbours: Vec<Raw> = Vec::new();
    for turn in 0..200_usize {
        let mut client = luner.connect();
        let _ = match turn % 5 {
            0 => client.try_send(noise(turn, 3000)),
            1 => client.try_send(&post_chat("gpt-4o", "half")[..60 + turn % 100]),
            2 => client.try_send(format!("{}\r\n\r\n", String::from_utf8_lossy(&noise(turn, 200)))),
            3 => client.try_send("GET /v1/models HTTP/1.1\r\nHost: gateway\r\nX: "),
            _ => Ok(()),
        };
        neighbours.push(client);
        if turn % 4 == 0 {
            let prompt = format!("good {turn}");
            let request = if turn % 8 == 0 { post_chat("gpt-4o", &prompt) } else { post_stream("gpt-4o", &prompt) };
            assert_eq!(luner.ask(request).content(), reply(&prompt));
        }
    }
    for turn in 0..20 {
        let prompt = format!("still good {turn}");
        assert_eq!(luner.post_chat("gpt-4o", &prompt).content(), reply(&prompt));
    }
    drop(neighbours);
    // Idle upstream connections stay open.
    eventually("descriptors return", || luner.open_fds() <= base + mock.connections());
}

/// Random bytes, the same for the same seed (xorshift).
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_add(seed as u64);
    let byte = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    byte.take(bytes).collect()
}

/// FAULTS.md row 68.
#[test]
fn connections_over_the_limit_get_503_until_others_leave() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).server(json!({ "limits": { "connections": 8 } })).start();
    let mut inside: Vec<Raw> = (0..8).map(|_| luner.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.send(get("/v1/models")).answer().status, 200);
    }
    for turn in 0..20 {
        let mut outside = luner.connect();
        if turn % 2 == 0 {
            // A caller that sends its request before the refusal arrives must still be able to read the refusal.
            let _ = outside.try_send(post_chat("gpt-4o", "x"));
        }
        let answer = outside.answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("overloaded")));
        assert_eq!(answer.json()["error"]["type"], "service_unavailable_error");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(outside.is_closed());
    }
    assert_eq!(mock.totals().requests, 0);
    for client in &mut inside {
        assert_eq!(client.send(get("/v1/models")).answer().status, 200, "accepted connections are still served");
    }
    drop(inside);
    eventually("new connections are accepted again", || luner.ask(get("/v1/models")).status == 200);
}

/// FAULTS.md row 68.
#[test]
fn connection_limit_refusal_has_a_request_id_and_is_counted() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").server(json!({ "limits": { "connections": 1 } })).start();
    let mut inside = luner.connect();
    assert_eq!(inside.send(get("/v1/models")).answer().status, 200);
    let answer = luner.connect().answer();
    assert_eq!(answer.status, 503);
    assert!(answer.header("x-request-id").is_some(), "{:?}", answer.headers);
    let metrics = inside.send(get("/metrics")).answer();
    let counted = metrics.text().lines().find(|line| line.contains("code=\"overloaded\""));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}

/// FAULTS.md row 68: resets at every stage of a request.
#[test]
fn storm_of_resets_leaks_no_descriptor() {
    raise_descriptor_limit();
    let upstream = Upstream::script(|conn| {
        while let Some(request) = conn.next_request() {
            match request.json()["stream"] == true {
                true => {
                    conn.write(STREAM_HEAD);
                    conn.write(in_chunk(delta("first")));
                    conn.hold();
                }
                false => drop(conn.write(ok_chat("hi"))),
            }
        }
    });
    let luner = Gateway::in_front_of(upstream.url()).workers(2).start();
    let base = luner.open_fds();
    let storm = || {
        for turn in 0..100 {
            let mut client = luner.connect();
            match turn % 5 {
                0 => {}
                1 => drop(client.try_send("POST /v1/chat/comp")),
                2 => drop(client.try_send(post_chat("gpt-4o", "x"))),
                3 => assert_eq!(client.send(post_stream("gpt-4o", "x")).head().status, 200),
                _ => assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200),
            }
            client.reset();
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(storm);
        }
    });
    assert_eq!(luner.post_chat("gpt-4o", "after").content(), "hi");
    // Connections of cancelled streams are closed. Only those that a request may reuse are kept.
    eventually("cancelled streams are closed", || luner.open_fds() <= base + upstream.running());
    drop(upstream);
    eventually("descriptors return", || luner.open_fds() <= base);
}

/// FAULTS.md row 65.
#[test]
fn held_bodies_are_bounded_and_short_requests_continue() {
    const CALLERS: usize = 20;
    const BODY_BYTES: usize = 3 << 20;
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    // Two of the bodies fit.
    let luner = Gateway::in_front_of(mock.base_url())
        .server(json!({ "limits": { "body_bytes": "4MiB", "held_bytes": "8MiB" } }))
        .start();
    let whole = post_chat("gpt-4o", &"x".repeat(BODY_BYTES));
    // Enough of each body for luner to reserve room for the whole of it.
    let (first, rest) = whole.split_at(256 << 10);
    let mut callers: Vec<Raw> = (0..CALLERS).map(|_| luner.connect()).collect();
    for caller in &mut callers {
        caller.send(first);
    }
    let mut refused = Vec::new();
    eventually("all but two are refused", || {
        refused.extend(callers.extract_if(.., |caller| !caller.is_quiet()));
        refused.len() >= CALLERS - 2
    });
    for mut caller in refused {
        let answer = caller.answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("overloaded")));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(luner.post_chat("gpt-4o", "short").status, 200, "short requests are served");
    // There may be none left: if all bodies grew before the first one reserved its room, no body got it.
    for mut caller in callers {
        assert_eq!(caller.send(rest).answer().status, 200, "a request with room is served");
    }
    for _ in 0..4 {
        assert_eq!(luner.ask(&whole).status, 200, "the room was given back");
    }
}

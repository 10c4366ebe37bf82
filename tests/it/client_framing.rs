//! Where a request ends: lengths, chunks, pipelining, bodies that are too long or never read (FAULTS.md rows 25 to 28).
//! Anything ambiguous is refused and the connection closes, because the bytes that follow may be somebody else's
//! request.

use std::thread;

use serde_json::json;

use crate::support::*;

/// FAULTS.md row 27.
#[test]
fn ambiguous_head_is_refused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let body = chat("gpt-4o", "smuggled");
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let te = "Transfer-Encoding: chunked\r\n";
    let cl = format!("Content-Length: {length}\r\n");
    let cases = [
        ("CL.TE", raw_chat_post(&format!("Content-Length: 4\r\n{te}"), &format!("{chunked}{SMUGGLED}"))),
        ("TE.CL", raw_chat_post(&format!("{te}Content-Length: 4\r\n"), &format!("{chunked}{SMUGGLED}"))),
        ("CL.TE, both agree", raw_chat_post(&format!("{cl}{te}"), &body)),
        ("CL: 0 and TE", raw_chat_post(&format!("Content-Length: 0\r\n{te}"), &chunked)),
        ("TE.TE", raw_chat_post(&format!("{te}{te}"), &chunked)),
        ("TE.TE, one in disguise", raw_chat_post(&format!("{te}Transfer-Encoding: x\r\n"), &chunked)),
        ("TE: identity", raw_chat_post("Transfer-Encoding: identity\r\n", SMUGGLED)),
        ("TE: gzip, chunked", raw_chat_post("Transfer-Encoding: gzip, chunked\r\n", &chunked)),
        ("TE: chunked, identity", raw_chat_post("Transfer-Encoding: chunked, identity\r\n", &chunked)),
        ("TE: chunked, chunked", raw_chat_post("Transfer-Encoding: chunked, chunked\r\n", &chunked)),
        ("TE: xchunked", raw_chat_post("Transfer-Encoding: xchunked\r\n", &chunked)),
        ("TE: chunked;q=1", raw_chat_post("Transfer-Encoding: chunked;q=1\r\n", &chunked)),
        ("TE: \"chunked\"", raw_chat_post("Transfer-Encoding: \"chunked\"\r\n", &chunked)),
        ("TE: empty", raw_chat_post("Transfer-Encoding:\r\n", &chunked)),
        ("TE: vertical tab", raw_chat_post("Transfer-Encoding: \x0bchunked\r\n", &chunked)),
        ("TE with a space before the colon", raw_chat_post(&format!("{cl}Transfer-Encoding : chunked\r\n"), &chunked)),
        ("TE folded", raw_chat_post("Transfer-Encoding:\r\n chunked\r\n", &chunked)),
        ("TE folded with a tab", raw_chat_post("X: y\r\n\tTransfer-Encoding: chunked\r\n", &chunked)),
        ("TE on HTTP/1.0", raw_chat_post(te, &chunked).replace("HTTP/1.1", "HTTP/1.0")),
        ("two lengths", raw_chat_post(&format!("Content-Length: 0\r\n{cl}"), &body)),
        ("the same length twice", raw_chat_post(&format!("{cl}{cl}"), &body)),
        ("a list of lengths", raw_chat_post(&format!("Content-Length: {length}, {length}\r\n"), &body)),
        ("+length", raw_chat_post(&format!("Content-Length: +{length}\r\n"), &body)),
        ("-1", raw_chat_post("Content-Length: -1\r\n", SMUGGLED)),
        ("0x", raw_chat_post(&format!("Content-Length: {length:#x}\r\n"), &body)),
        ("a length with a space inside", raw_chat_post("Content-Length: 1 0\r\n", &body)),
        ("a length with an underscore", raw_chat_post("Content-Length: 1_0\r\n", &body)),
        ("an empty length", raw_chat_post("Content-Length:\r\n", SMUGGLED)),
        ("a length with a fraction", raw_chat_post("Content-Length: 1.0\r\n", SMUGGLED)),
        ("a length beyond 64 bits", raw_chat_post("Content-Length: 18446744073709551617\r\n", &body)),
        (
            "Content-Length with a space before the colon",
            raw_chat_post(&format!("Content-Length : {length}\r\n"), &body),
        ),
        ("a bare LF in the head", format!("POST {CHAT} HTTP/1.1\nHost: gateway\n{cl}\n{body}")),
        ("a bare LF behind one header", format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nX: y\n{cl}\r\n{body}")),
        ("a bare LF as the empty line", format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\n{cl}\n{body}")),
        ("a bare CR", raw_chat_post(&format!("X: a\rTransfer-Encoding: chunked\r\n{cl}"), &body)),
        ("a header folded", raw_chat_post(&format!("X: a\r\n b\r\n{cl}"), &body)),
        ("white space before the first header", format!("POST {CHAT} HTTP/1.1\r\n Host: gateway\r\n{cl}\r\n{body}")),
        ("a header without a colon", raw_chat_post(&format!("nonsense\r\n{cl}"), &body)),
        ("a header without a name", raw_chat_post(&format!(": nonsense\r\n{cl}"), &body)),
        ("a space in a header's name", raw_chat_post(&format!("Content Length: 1\r\n{cl}"), &body)),
        ("NUL in a value", raw_chat_post(&format!("X: a\0b\r\n{cl}"), &body)),
        ("NUL in a name", raw_chat_post(&format!("X\0: a\r\n{cl}"), &body)),
        ("NUL in the target", format!("POST {CHAT}\0 HTTP/1.1\r\nHost: gateway\r\n{cl}\r\n{body}")),
        ("a control character in a value", raw_chat_post(&format!("X: a\x08b\r\n{cl}"), &body)),
        ("two empty lines before the request", format!("\r\n\r\n{}", raw_chat_post(&cl, &body))),
    ];
    for (what, bytes) in &cases {
        assert_refused_400(&luner, what, bytes);
    }
    assert_eq!(mock.totals().requests, 0, "none of it reached the provider");
    assert_eq!(luner.post_chat("gpt-4o", "still here").content(), reply("still here"));
}

/// FAULTS.md row 27.
#[test]
fn ambiguous_chunk_is_refused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let body = chat("gpt-4o", "smuggled");
    let size = format!("{:x}", body.len());
    let cases = [
        ("an empty size", format!("\r\n{body}\r\n0\r\n\r\n")),
        ("an extension without a size", format!(";a=b\r\n{body}\r\n0\r\n\r\n")),
        ("a size with 0x", format!("0x{size}\r\n{body}\r\n0\r\n\r\n")),
        ("a size with a plus sign", format!("+{size}\r\n{body}\r\n0\r\n\r\n")),
        ("a size of -1", format!("-1\r\n{body}\r\n0\r\n\r\n")),
        ("a space before the size", format!(" {size}\r\n{body}\r\n0\r\n\r\n")),
        ("a space after the size", format!("{size} \r\n{body}\r\n0\r\n\r\n")),
        ("a size of 2^64 - 1", format!("ffffffffffffffff\r\n{body}\r\n0\r\n\r\n")),
        ("a size beyond 64 bits", format!("10000000000000000{size}\r\n{body}\r\n0\r\n\r\n")),
        ("a size of many zeros", format!("{}{size}\r\n{body}\r\n0\r\n\r\n", "0".repeat(64))),
        ("a size line that ends with LF", format!("{size}\n{body}\r\n0\r\n\r\n")),
        ("a chunk that ends with LF", format!("{size}\r\n{body}\n0\r\n\r\n")),
        ("a chunk longer than its size", format!("5\r\n{body}\r\n0\r\n\r\n")),
        ("a bare CR in an extension", format!("{size};a\rb\r\n{body}\r\n0\r\n\r\n")),
        ("a bare LF in an extension", format!("{size};a=b\n{body}\r\n0\r\n\r\n")),
        ("a last chunk that ends with LF", format!("{size}\r\n{body}\r\n0\n\n")),
        ("a malformed trailer", format!("{size}\r\n{body}\r\n0\r\nnonsense\r\n\r\n")),
        ("a trailer that ends with LF", format!("{size}\r\n{body}\r\n0\r\nX: y\n\r\n")),
        ("an extension without end", format!("{size};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(20_000))),
        ("trailers without end", format!("{size}\r\n{body}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5_000))),
    ];
    for (what, bytes) in &cases {
        assert_refused_400(
            &luner,
            what,
            raw_chat_post("Transfer-Encoding: chunked\r\n", &format!("{bytes}{SMUGGLED}")),
        );
    }
    assert_eq!(mock.totals().requests, 0);
}

#[test]
fn chunked_body_reaches_the_provider_with_a_length() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let body = chat("gpt-4o", "in pieces");
    let chunks: String = body.as_bytes().chunks(7).map(|piece| in_chunk(String::from_utf8_lossy(piece))).collect();
    let extended = chunks.replace("7\r\n", "7;name=value;flag;q=\"a\\\"b;c\"\r\n");
    for (lines, chunks) in [
        ("Transfer-Encoding: chunked\r\n", format!("{chunks}0\r\n\r\n")),
        ("transfer-encoding: CHUNKED\r\n", format!("{extended}000;x\r\n\r\n")),
        ("Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n", format!("{chunks}0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n")),
    ] {
        let mut client = luner.connect();
        assert_eq!(client.send(raw_chat_post(lines, &chunks)).answer().status, 200);
        assert_eq!(client.send(get("/v1/models")).answer().status, 200, "the next request is found where it begins");
        let received = upstream.requests().pop().unwrap();
        assert_eq!(received.body, body.as_bytes());
        assert_eq!(received.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!((received.header("transfer-encoding"), received.header("x-sum")), (None, None));
    }
}

#[test]
fn request_may_arrive_byte_by_byte() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    let chunked =
        raw_chat_post("Transfer-Encoding: chunked\r\n", &format!("{}0\r\n\r\n", in_chunk(chat("gpt-4o", "b"))));
    for (request, prompt) in [(post_chat("gpt-4o", "a"), "a"), (chunked.into_bytes(), "b")] {
        for byte in request {
            client.send([byte]);
        }
        assert_eq!(client.answer().content(), reply(prompt));
    }
}

/// FAULTS.md row 26.
#[test]
fn thousand_pipelined_requests_are_answered_in_order() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    let mut sender = client.stream().try_clone().unwrap();
    let sending = thread::spawn(move || {
        let all: Vec<u8> = (0..1000)
            .flat_map(|turn| match turn % 4 {
                0 => post_chat("gpt-4o", &format!("turn {turn}")),
                1 => post_stream("gpt-4o", &format!("turn {turn}")),
                2 => get("/v1/models"),
                _ => post_chat("unknown", "x"),
            })
            .collect();
        std::io::Write::write_all(&mut sender, &all).unwrap();
    });
    for turn in 0..1000 {
        let answer = client.answer();
        match turn % 4 {
            0 | 1 => assert_eq!(answer.content(), reply(&format!("turn {turn}"))),
            2 => assert_eq!(answer.json()["object"], "list"),
            _ => assert_eq!(answer.status, 404),
        }
    }
    sending.join().unwrap();
    assert!(client.is_quiet());
    assert_eq!(mock.totals().connections, 1, "the provider gets one request at a time");
}

/// FAULTS.md row 25.
#[test]
fn announced_body_over_the_limit_is_refused_before_it_is_sent() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).server(json!({ "limits": { "body_bytes": "4KiB" } })).start();
    for length in ["4097", "1000000000000", "18446744073709551615"] {
        let answer = assert_refused(&luner, length, raw_chat_post(&format!("Content-Length: {length}\r\n"), ""));
        assert_eq!((answer.status, answer.error_code().as_deref()), (413, Some("request_too_large")));
    }
    let fits = chat("gpt-4o", &"x".repeat(4096 - chat("gpt-4o", "").len()));
    assert_eq!(luner.ask(post(CHAT, fits)).status, 200, "4096 bytes are within the limit");
    assert_eq!(mock.totals().requests, 1);
}

/// FAULTS.md row 25.
#[test]
fn chunked_body_over_the_limit_is_refused_at_the_limit() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).server(json!({ "limits": { "body_bytes": "4KiB" } })).start();
    let mut client = luner.connect();
    client.send(raw_chat_post("Transfer-Encoding: chunked\r\n", ""));
    client.send(in_chunk("x".repeat(4096)));
    assert!(client.is_quiet());
    client.send(in_chunk("x"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.error_code().as_deref()), (413, Some("request_too_large")));
    assert!(client.is_closed());
    // A single chunk that announces more than the limit may be refused at once. It must be refused once the limit is
    // passed.
    let mut client = luner.connect();
    client.send(raw_chat_post("Transfer-Encoding: chunked\r\n", "")).send("ffffff\r\n").send("x".repeat(4097));
    assert_eq!(client.answer().status, 413);
    assert!(client.is_closed());
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 25: memory stays proportional to what was sent.
#[test]
fn flood_of_chunks_is_not_buffered() {
    let luner =
        Gateway::in_front_of("http://127.0.0.1:9/v1").server(json!({ "limits": { "body_bytes": "64KiB" } })).start();
    luner.health();
    let before = luner.rss_bytes();
    let mut client = luner.connect();
    client.send(raw_chat_post("Transfer-Encoding: chunked\r\n", ""));
    let chunk = in_chunk("x".repeat(64 * 1024));
    // The connection is reset at some point, because the gateway reads a bounded number of bytes after its refusal.
    let sent = (0..512).take_while(|_| client.try_send(&chunk).is_ok()).count();
    assert!(sent < 512, "the gateway accepted 32 MiB");
    assert!(luner.rss_bytes() < before + (8 << 20), "{} → {}", before, luner.rss_bytes());
    assert_eq!(luner.health()["status"], "ok");
}

/// FAULTS.md row 28 (CVE-2025-4366).
#[test]
fn unread_body_is_never_parsed_as_a_request() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).server(json!({ "limits": { "body_bytes": "4KiB" } })).start();
    let canary = String::from_utf8(post_chat("gpt-4o", "canary")).unwrap();
    let length = canary.len() + 5000;
    for (what, lines, status) in [
        ("too long", format!("Content-Length: {length}\r\n"), 413),
        ("an unknown expectation", format!("Content-Length: {}\r\nExpect: other\r\n", canary.len()), 417),
    ] {
        let answer = assert_refused(&luner, what, raw_chat_post(&lines, &canary));
        assert_eq!(answer.status, status, "{what}");
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 28.
#[test]
fn connection_continues_after_a_refusal_with_a_known_end() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let canary = String::from_utf8(post_chat("gpt-4o", "canary")).unwrap();
    let mut client = luner.connect();
    for (request, status) in [
        (post("/nowhere", &canary), 404),
        (post("/v1/models", &canary), 405),
        (post_with(CHAT, "Content-Encoding: gzip\r\n", &canary), 415),
        (post(CHAT, &canary), 400),
        (post_chat("unknown", "x"), 404),
        (post_with(CHAT, "X-User-ID: \u{e4}\r\n", &canary), 400),
    ] {
        // The next request is sent before the refusal arrives.
        client.send([request, post_chat("gpt-4o", "next")].concat());
        let answer = client.answer();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(client.answer().content(), reply("next"));
    }
    assert_eq!(mock.totals().requests, 6);
}

#[test]
fn body_of_a_get_is_not_parsed_as_a_request() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let mut client = luner.connect();
    let length = SMUGGLED.len();
    for lines in [
        format!("Content-Length: {length}\r\n\r\n{SMUGGLED}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", in_chunk(SMUGGLED)),
    ] {
        let whole = format!("GET /v1/models/gpt-4o HTTP/1.1\r\nHost: gateway\r\n{lines}");
        assert_eq!(client.send(whole).answer().json()["id"], "gpt-4o");
        assert!(client.is_quiet());
    }
}

#[test]
fn incomplete_request_never_reaches_the_provider() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let whole = post_chat("gpt-4o", "half");
    let chunked = raw_chat_post("Transfer-Encoding: chunked\r\n", &in_chunk(chat("gpt-4o", "half")));
    for half in [&whole[..whole.len() - 1], chunked.as_bytes()] {
        let mut client = luner.connect();
        client.send(half).half_close();
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
        assert!(client.is_closed());
        let mut client = luner.connect();
        client.send(half);
        client.reset();
    }
    assert_eq!(luner.post_chat("gpt-4o", "whole").content(), reply("whole"));
    assert_eq!(mock.totals().requests, 1);
}

//! Request lines, headers and connections that are odd, wrong or malicious (FAULTS.md rows 29 to 36 and 79).

use serde_json::json;

use crate::support::*;

/// FAULTS.md row 29.
#[test]
fn connect_and_absolute_urls_are_refused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let host = mock.addr();
    for (what, line) in [
        ("CONNECT", format!("CONNECT {host} HTTP/1.1")),
        ("CONNECT with a path", "CONNECT / HTTP/1.1".into()),
        ("absolute form", format!("GET http://{host}/v1/models HTTP/1.1")),
        ("absolute form with the gateway's own name", "GET http://gateway/v1/models HTTP/1.1".into()),
        ("absolute form with https", "GET https://gateway/v1/models HTTP/1.1".into()),
        ("authority form", format!("GET {host} HTTP/1.1")),
        ("*", "OPTIONS * HTTP/1.1".into()),
        ("GET *", "GET * HTTP/1.1".into()),
        ("no slash", "GET v1/models HTTP/1.1".into()),
        ("a fragment", "GET /v1/models#x HTTP/1.1".into()),
    ] {
        let mut client = luner.connect();
        client.send(format!("{line}\r\nHost: gateway\r\n\r\n"));
        let answer = client.answer();
        assert!((400..=405).contains(&answer.status) && answer.status != 404, "{what}: {}", answer.status);
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
        assert!(client.is_closed(), "{what}");
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 29. A server may ignore an upgrade to h2c (RFC 9110 section 7.8); its headers must not reach the
/// provider.
#[test]
fn upgrade_is_never_granted() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let websocket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for lines in [websocket, h2c] {
        let mut client = luner.connect();
        let answer = client.send(format!("GET /v1/realtime HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n")).answer();
        assert!([400, 404].contains(&answer.status), "{lines:?}: {}", answer.status);
        let answer = luner.ask(post_with(CHAT, lines, chat("gpt-4o", "x")));
        assert!([200, 400].contains(&answer.status), "{lines:?}: {}", answer.status);
        assert_eq!(answer.header("upgrade"), None);
        // Whatever the answer was, the connection still speaks HTTP/1.1 or is closed.
        client.try_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").ok();
        assert!(client.next_answer().is_none_or(|answer| answer.status >= 400));
    }
    for received in upstream.requests() {
        for name in ["upgrade", "http2-settings", "connection", "sec-websocket-key"] {
            assert_eq!(received.header(name), None, "{}", received.head);
        }
    }
}

/// FAULTS.md row 30.
#[test]
fn missing_repeated_or_malformed_host_is_refused() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\n",
        "Host: a/b?x\r\n",
        "Host: a b\r\n",
        "Host: user@a\r\n",
        "Host: a:b\r\n",
        "Host: a:1:2\r\n",
        "Host: a:9999999\r\n",
        "Host: [::1\r\n",
        "Host: [nonsense]\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: a,b\r\n Host: c\r\n",
        "Host: \u{e4}\r\n",
        "Host: http://a\r\n",
        "Host : a\r\n",
    ] {
        assert_refused_400(&luner, lines, format!("GET /v1/models HTTP/1.1\r\n{lines}\r\n"));
    }
    for host in ["gateway", "gateway:8080", "127.0.0.1", "[::1]:80", "a.b-c_d", "a:"] {
        let answer = luner.ask(format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, 200, "{host}");
    }
    let answer = luner.ask("GET /v1/models HTTP/1.0\r\n\r\n");
    assert_eq!(answer.status, 200, "HTTP/1.0 does not require Host");
}

#[test]
fn bytes_that_are_not_http_1_are_refused() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    for bytes in [
        "GET /v1/models\r\n\r\n",
        "GET  /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/models  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/models HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/v1/models\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/mo dels HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/models HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /v1/models HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /v1/models HTTP/11\r\nHost: a\r\n\r\n",
        "GET /v1/models http/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/models FTP/1.1\r\nHost: a\r\n\r\n",
        "G@T /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        "/v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/m\u{f6}dels HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "EHLO a\r\n\r\n",
        "*1\r\n$4\r\nPING\r\n\r\n",
        "{\"model\":\"gpt-4o\"}\r\n\r\n",
    ] {
        let answer = assert_refused(&luner, bytes, bytes);
        assert!([400, 505].contains(&answer.status), "{bytes:?}: {}", answer.status);
    }
}

#[test]
fn head_over_the_limits_is_refused() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .server(json!({ "limits": { "head_bytes": "8KiB", "headers": 20 } }))
        .start();
    let head = |lines: String| format!("GET /v1/models HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n");
    assert_eq!(luner.ask(head("X: y\r\n".repeat(19))).status, 200);
    let too_many = assert_refused(&luner, "21 headers", head("X: y\r\n".repeat(20)));
    assert_eq!((too_many.status, too_many.error_code().as_deref()), (431, Some("request_too_large")));
    assert_eq!(luner.ask(head(format!("X: {}\r\n", "y".repeat(8000)))).status, 200);
    for lines in [format!("X: {}\r\n", "y".repeat(9000)), format!("{}: y\r\n", "X".repeat(9000))] {
        assert_eq!(assert_refused(&luner, "a long header", head(lines)).status, 431);
    }
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    assert_eq!(assert_refused(&luner, "a long target", long_target).status, 431);
    // A request line that never ends is refused at the limit.
    assert_eq!(assert_refused(&luner, "no end", "x".repeat(9000)).status, 431);
}

/// FAULTS.md row 31.
#[test]
fn expect_100_continue_gets_100_before_the_body() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    let body = chat("gpt-4o", "patience");
    let chunks = format!("{}0\r\n\r\n", in_chunk(&body));
    for (lines, rest) in [
        (format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len()), &body),
        (format!("Content-Length: {}\r\nexpect: 100-Continue\r\n", body.len()), &body),
        ("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n".into(), &chunks),
    ] {
        let interim = client.send(raw_chat_post(&lines, "")).head();
        assert_eq!((interim.status, interim.reason.as_str()), (100, "Continue"));
        assert_eq!(interim.headers, []);
        assert!(client.is_quiet());
        assert_eq!(client.send(rest).answer().content(), reply("patience"));
    }
}

/// FAULTS.md row 31.
#[test]
fn caller_that_does_not_wait_for_100_is_answered() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    client.send(post_with(CHAT, "Expect: 100-continue\r\n", chat("gpt-4o", "hasty")));
    let mut answer = client.answer();
    if answer.status == 100 {
        answer = client.answer();
    }
    assert_eq!(answer.content(), reply("hasty"));
    // HTTP/1.0 has no interim answers.
    let old = String::from_utf8(post_with(CHAT, "Expect: 100-continue\r\n", chat("gpt-4o", "old"))).unwrap();
    assert_eq!(luner.ask(old.replace("HTTP/1.1", "HTTP/1.0")).content(), reply("old"));
}

/// FAULTS.md row 31: the announced size is checked before 100 is sent.
#[test]
fn oversized_body_gets_413_instead_of_100() {
    let luner =
        Gateway::in_front_of("http://127.0.0.1:9/v1").server(json!({ "limits": { "body_bytes": "4KiB" } })).start();
    let answer =
        assert_refused(&luner, "too long", raw_chat_post("Content-Length: 5000\r\nExpect: 100-continue\r\n", ""));
    assert_eq!(answer.status, 413);
    for lines in ["Expect: other\r\n", "Expect: 100-continue, other\r\n", "Expect: 200-ok\r\n"] {
        let answer = assert_refused(&luner, lines, raw_chat_post(&format!("Content-Length: 2\r\n{lines}"), ""));
        assert_eq!(answer.status, 417, "{lines}");
    }
}

#[test]
fn http_1_0_caller_gets_no_chunks_and_no_interim_answers() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let old = |request: Vec<u8>, line: &str| {
        let request = String::from_utf8(request).unwrap();
        request.replacen("HTTP/1.1\r\n", &format!("HTTP/1.0\r\n{line}"), 1)
    };
    let mut client = luner.connect();
    let answer = client.send(old(post_chat("gpt-4o", "old"), "")).answer();
    assert_eq!((answer.content(), answer.header("connection")), (reply("old"), Some("close")));
    assert!(client.is_closed());

    let mut client = luner.connect();
    for _ in 0..3 {
        let answer = client.send(old(post_chat("gpt-4o", "old"), "Connection: Keep-Alive\r\n")).answer();
        assert_eq!((answer.content(), answer.header("connection")), (reply("old"), Some("keep-alive")));
    }
    // HTTP/1.0 has no chunks, so a stream ends with the connection even if keep-alive was requested.
    let answer = client.send(old(post_stream("gpt-4o", "old"), "Connection: Keep-Alive\r\n")).answer();
    assert_eq!((answer.content(), answer.header("connection")), (reply("old"), Some("close")));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    assert!(client.is_closed());
}

#[test]
fn connection_close_is_honoured() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    for request in [
        post_with(CHAT, "Connection: close\r\n", chat("gpt-4o", "x")),
        post_with(CHAT, "Connection: keep-alive, Close\r\n", chat_stream("gpt-4o", "x")),
        post_with(CHAT, "Connection: close\r\n", chat("unknown", "x")),
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /api/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
    ] {
        let mut client = luner.connect();
        // Bytes after the last request are not parsed.
        let answer = client.send([request, SMUGGLED.into()].concat()).answer();
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn half_closed_caller_still_gets_its_answer() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    for request in [post_chat("gpt-4o", "half"), post_stream("gpt-4o", "half")] {
        let mut client = luner.connect();
        client.send(request).half_close();
        assert_eq!(client.answer().content(), reply("half"));
        assert!(client.is_closed());
    }
}

#[test]
fn answer_to_head_has_no_body() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    for path in ["/v1/models", "/v1/models/gpt-4o", "/v1/models/unknown", "/nowhere", CHAT, "/api/health", "/metrics"] {
        let head = client.send(format!("HEAD {path} HTTP/1.1\r\nHost: gateway\r\n\r\n")).answer_to_head();
        let whole = client.send(get(path)).answer();
        assert_eq!(head.status, whole.status, "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
        assert!(head.header("content-length").is_some_and(|length| length != "0"), "{path}");
    }
}

/// FAULTS.md row 34.
#[test]
fn underscore_in_a_name_makes_another_header() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let twins =
        "X_User_ID: eve\r\nX_Luner_User: eve\r\nContent_Length: 3\r\nTransfer_Encoding: chunked\r\nX-User_ID: eve\r\n";
    let answer = luner.ask(post_with(CHAT, &format!("{twins}X-User-ID: adam\r\n"), chat("gpt-4o", "x")));
    assert_eq!(answer.status, 200);
    assert!(luner.wait_log("\"request\"").contains("\"user\":\"adam\""));
    let head = upstream.requests().remove(0).head;
    assert!(!head.contains("eve") && !head.to_lowercase().contains("content_length"), "{head}");
    assert_refused_400(&luner, "a space", post_with(CHAT, "X User ID: eve\r\n", "{}"));
}

/// FAULTS.md row 35.
#[test]
fn no_path_reaches_the_file_system() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let mut client = luner.connect();
    for path in [
        "/../../../etc/passwd",
        "/v1/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..%5c..%5cetc%5cpasswd",
        "/%2e%2e%5c%2e%2e%5cetc%5cpasswd",
        "/..\\..\\etc\\passwd",
        "/assets/..%00/index.html",
        "/%00",
        "//etc/passwd",
        "/./.",
        "/file:///etc/passwd",
        "/proc/self/environ",
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e",
        "/%c0%ae%c0%ae/etc/passwd",
    ] {
        let answer = client.send(get(path)).answer();
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains("root:"), "{path}");
    }
}

/// FAULTS.md row 36.
#[test]
fn path_is_matched_without_normalisation() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    for path in [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/%63hat/completions",
        "/v1%2fchat%2fcompletions",
        "/V1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat/completions;x",
        "/v1/chat/completions/",
        "/v1/chat/completions.",
        "/v1/chat/completions%20",
        "/v1/chat/completions%00",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/chat/completions",
        "/openai/v1/chat/completions",
    ] {
        let answer = client.send(post(path, chat("gpt-4o", "x"))).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("not_found")), "{path}");
    }
    assert_eq!(mock.totals().requests, 0);
    let answer = client.send(post("/v1/chat/completions?api-version=1&x=%00", chat("gpt-4o", "x"))).answer();
    assert_eq!(answer.status, 200);
    assert!(mock.wait_until_idle(TIMEOUT));
    assert_eq!(mock.ledger().entries[0].path, "/v1/chat/completions", "the caller's query is not forwarded");
}

/// FAULTS.md row 79.
#[test]
fn caller_cannot_forge_a_log_line() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["known"]).start();
    let model = "x\\n{\\\"message\\\":\\\"forged\\\"}\\u001b[31m\\u2028\\u202e";
    assert_eq!(luner.ask(post(CHAT, format!(r#"{{"model":"{model}"}}"#))).status, 400);
    let headers = "X-User-ID: \"}{\\\"message\\\":\\\"forged\r\n";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("k\u{2028}\u{202e}", "x"))).status, 404);
    luner.wait_log("model_not_found");
    for line in luner.logs() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("each line is one object");
        assert_ne!(line["message"], "forged");
    }
}

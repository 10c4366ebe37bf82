//! Headers in both directions: request ids, traces, identity, credentials, and headers of a single hop (FAULTS.md rows
//! 32 and 33).

use serde_json::{Value, json};

use crate::support::upstream_cases::*;
use crate::support::*;

#[test]
fn valid_request_id_is_kept() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let id = "my-id:42";
    for (path, body) in [(CHAT, chat("gpt-4o", "x")), (CHAT, chat("none", "x")), ("/nowhere", "{}".into())] {
        let answer = luner.ask(post_with(path, &format!("X-Request-Id: {id}\r\n"), body));
        assert_eq!(answer.header("x-request-id"), Some(id));
    }
}

#[test]
fn invalid_request_id_is_replaced() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let long = "x".repeat(5000);
    for odd in ["", "two words", "tab\there", "\u{e9}", long.as_str()] {
        let answer = luner.ask(post_with(CHAT, &format!("X-Request-Id: {odd}\r\n"), chat("gpt-4o", "x")));
        assert_eq!(answer.status, 200);
        let id = answer.header("x-request-id").unwrap();
        assert!(id != odd && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    }
}

#[test]
fn every_answer_has_a_unique_request_id() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let requests = [
        post_chat("gpt-4o", "x"),
        post_stream("gpt-4o", "x"),
        post_chat("none", "x"),
        get("/v1/models"),
        get("/nowhere"),
        get("/api/health"),
        get("/metrics"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"nonsense\r\n\r\n".to_vec(),
    ];
    let ids: Vec<String> = requests
        .iter()
        .map(|request| {
            let answer = luner.ask(request);
            answer.header("x-request-id").unwrap_or_else(|| panic!("an id: {:?}", answer.headers)).to_owned()
        })
        .collect();
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
}

#[test]
fn traceparent_sets_the_trace_id_and_is_forwarded() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    for body in [chat("gpt-4o", "x"), chat_stream("gpt-4o", "x"), chat("none", "x")] {
        assert_eq!(luner.ask(post_with(CHAT, &header, body)).header("x-luner-trace-id"), Some(trace));
    }
    let generated = luner.ask(post_with(CHAT, "traceparent: nonsense\r\n", chat("gpt-4o", "x")));
    assert!(generated.header("x-luner-trace-id").is_some_and(|id| id.len() == 32 && id != trace));
    assert!(mock.wait_until_idle(TIMEOUT));
    assert!(mock.ledger().entries[0].header("traceparent").is_some_and(|value| value.contains(trace)));
}

/// FAULTS.md row 33.
#[test]
fn credentials_and_identity_of_the_caller_are_not_forwarded() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let secret = "SECRET-OF-THE-CALLER";
    let dropped = [
        "Authorization",
        "Proxy-Authorization",
        "X-Api-Key",
        "api-key",
        "x-goog-api-key",
        "Cookie",
        "X-Luner-User",
        "X-User-ID",
        "X-Luner-Tenant",
        "X-Tenant-ID",
        "X-Luner-Agent",
        "X-Luner-Anything",
        "X_User_ID",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Real-IP",
        "Forwarded",
        "Via",
        "Origin",
        "Referer",
        "CF-Connecting-IP",
        "True-Client-IP",
        "OpenAI-Organization",
        "OpenAI-Project",
        "X-Request-Id",
        "TE",
        "Trailer",
        "Keep-Alive",
        "Proxy-Connection",
        "HTTP2-Settings",
    ];
    let headers: String = dropped.iter().map(|name| format!("{name}: {secret}\r\n")).collect();
    let answer = luner.ask(post_with(CHAT, &headers, chat("gpt-4o", "x")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = upstream.requests().remove(0);
    assert!(!received.head.contains(secret), "{}", received.head);
    assert_eq!(received.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    for name in dropped.iter().filter(|name| **name != "Authorization") {
        assert_eq!(received.header(name), None, "{}", received.head);
    }
    assert!(
        !answer.raw.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()),
        "the answer contains the provider's key"
    );
}

/// FAULTS.md row 33.
#[test]
fn connection_header_cannot_remove_required_headers() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let headers = "Connection: authorization, host, content-length, content-type, transfer-encoding\r\n";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", "x"))).status, 200);
    let received = upstream.requests().remove(0);
    assert_eq!(received.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(received.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.json()["model"], "gpt-4o");
}

/// FAULTS.md row 33, and RFC 9110 section 7.6.1.
#[test]
fn header_named_by_connection_is_not_forwarded() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let headers = "Connection: keep-alive, OpenAI-Beta\r\nOpenAI-Beta: assistants=v2\r\n";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", "x"))).status, 200);
    assert_eq!(upstream.requests()[0].header("openai-beta"), None, "{}", upstream.requests()[0].head);
    assert_eq!(luner.ask(post_with(CHAT, "OpenAI-Beta: assistants=v2\r\n", chat("gpt-4o", "x"))).status, 200);
    assert_eq!(upstream.requests()[1].header("openai-beta"), Some("assistants=v2"));
}

/// FAULTS.md row 33.
#[test]
fn hop_and_site_headers_of_a_provider_are_dropped() {
    let body = completion("hi");
    let upstream = Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nSet-Cookie: a=1\r\nX-Luner-Cache: HIT\r\n\
         X-Luner-Provider: liar\r\nX-Request-Id: theirs\r\nKeep-Alive: timeout=5\r\nServer: theirs\r\nOpenAI-Version: 1\r\n\
         x-ratelimit-remaining-requests: 7\r\nX-Luner-Evil: 1\r\nAlt-Svc: h3\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n{body}",
        body.len()
    ));
    let luner = Gateway::in_front_of(upstream.url()).start();
    let answer = luner.post_chat("gpt-4o", "x");
    assert_eq!(answer.header("openai-version"), Some("1"));
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("7"));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(answer.header("x-luner-cache"), Some("BYPASS"));
    assert!(answer.header("x-request-id").is_some_and(|id| id != "theirs"));
    for name in ["set-cookie", "keep-alive", "connection", "x-luner-evil", "alt-svc", "x-hop"] {
        assert_eq!(answer.header(name), None);
    }
}

/// FAULTS.md row 32.
#[test]
fn model_name_cannot_split_the_head() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new().provider("any", upstream.url(), &["*"]).start();
    for name in ["a\\r\\nX-Evil: 1\\r\\n\\r\\n", "a\\u000d\\u000aX-Evil: 1", "a\\u0000", "a\\nb", "a\\u007f", "\\u0085"]
    {
        let answer = luner.ask(post(CHAT, format!(r#"{{"model":"{name}","messages":[]}}"#)));
        assert_eq!(answer.header("x-evil"), None);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert_eq!(answer.json()["error"]["param"], "model");
    }
    assert_eq!(upstream.requests().len(), 0);
    for (name, shown) in [("mod\\u00e9le", "mod%C3%A9le"), ("a b%", "a%20b%25"), ("\\u202e:\\\"", "%E2%80%AE:\"")] {
        let answer = luner.ask(post(CHAT, format!(r#"{{"model":"{name}","messages":[]}}"#)));
        assert_eq!((answer.status, answer.header("x-luner-model")), (200, Some(shown)), "{name}");
    }
}

/// FAULTS.md row 32.
#[test]
fn identity_must_be_printable_and_at_most_256_bytes() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let (longest, too_long) = ("u".repeat(256), "u".repeat(257));
    for name in ["X-Luner-User", "X-User-ID", "X-Luner-Tenant", "X-Tenant-ID", "X-Luner-Agent"] {
        let with = |value: &str| post_with(CHAT, &format!("{name}: {value}\r\n"), chat("gpt-4o", "x"));
        assert_eq!(luner.ask(with(&longest)).status, 200, "{name}");
        for odd in [too_long.as_str(), "n\u{e4}me", "a\tb"] {
            let answer = luner.ask(with(odd));
            assert_eq!(answer.status, 400, "{name}: {odd:?}");
            assert!(answer.error_code().is_some());
        }
    }
}

#[test]
fn identity_is_logged_and_the_luner_header_wins() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let headers = "X-User-ID: second\r\nX-Luner-User: first\r\nX-Tenant-ID: acme\r\nX-Luner-Agent: bot\r\n";
    let prompt = "nobody may read this prompt";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", prompt))).status, 200);
    let line: Value = serde_json::from_str(&luner.wait_log("\"request\"")).unwrap();
    assert_eq!((&line["user"], &line["tenant"], &line["agent"]), (&json!("first"), &json!("acme"), &json!("bot")));
    assert_eq!((&line["model"], &line["provider"], &line["status"]), (&json!("gpt-4o"), &json!("openai"), &json!(200)));
    assert!(luner.logs().iter().all(|line| !line.contains(prompt)), "the log contains a prompt");
}

#[test]
fn api_headers_of_a_provider_pass_and_its_other_headers_are_dropped() {
    let dropped = "Set-Cookie: __cf_bm=secret; path=/\r\nSet-Cookie: second=1\r\nServer: cloudflare\r\n\
        X-Request-Id: theirs\r\nX-Luner-Provider: evil\r\nx-luner-trace-id: evil\r\nX-Luner-Policy: evil\r\n\
        Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n";
    let passed = [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-requests", "1s"),
        ("openai-organization", "acme"),
        ("openai-processing-ms", "57"),
        ("openai-version", "2020-10-01"),
    ];
    let mut headers = dropped.to_owned();
    passed.iter().for_each(|(name, value)| headers.push_str(&format!("{name}: {value}\r\n")));
    let body = completion("well");
    let plain = ok_json_with(&format!("{headers}Content-Length: {}\r\n", body.len()), &body);
    let streamed = STREAM_HEAD.replace("\r\n\r\n", &format!("\r\n{headers}\r\n")) + &stream_end();
    let upstream = Upstream::script(move |conn| {
        while let Some(request) = conn.next_request() {
            conn.write(if request.json()["stream"] == true { &streamed } else { &plain });
        }
    });
    let gateway = start_in_front_of(&upstream);
    for request in [chat_request(), post_stream("gpt-4o", "hello?")] {
        let answer = gateway.ask(request);
        assert_eq!(answer.status, 200);
        for name in ["set-cookie", "server", "keep-alive", "x-luner-policy"] {
            assert!(!answer.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)), "{:?}", answer.headers);
        }
        for (name, value) in passed {
            assert_eq!(answer.header(name), Some(value));
        }
        assert_eq!(answer.header("x-luner-provider"), Some("openai"));
        assert_ne!(answer.header("x-luner-trace-id"), Some("evil"));
        assert_ne!(answer.header("x-request-id"), Some("theirs"));
        assert!(!answer.header("date").is_some_and(|date| date.contains("1970")));
        // RFC 9110 section 7.6.1: a header that `Connection` names is for the next hop only.
        assert_eq!(answer.header("x-hop"), None, "{:?}", answer.headers);
    }
}

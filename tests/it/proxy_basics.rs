//! What an OpenAI client relies on, through a provider that talks sense.

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn a_chat_request_gets_the_providers_answer() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let answer = luner.post_chat("gpt-4o", "hello there");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.said(), reply("hello there"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(answer.header("x-luner-model"), Some("gpt-4o"));
    assert_eq!(answer.header("x-luner-cache"), Some("BYPASS"));
    assert!(answer.header("x-luner-trace-id").is_some_and(|id| id.len() == 32));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert!(answer.header("date").is_some());
}

#[test]
fn the_body_reaches_the_provider_byte_for_byte() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::before(upstream.url()).start();
    // Odd spacing, escapes and numbers that a re-serialisation would change.
    let body = "{ \"messages\" :[],\r\n\t\"model\":\"gpt-4o\", \"x\":1.0e+2,\"y\":\"\\u00e9\\/é\", \"z\": -0 }\n";
    assert_eq!(luner.ask(post(CHAT, body)).status, 200);
    let received = upstream.requests().remove(0);
    assert_eq!(String::from_utf8_lossy(&received.body), body);
    assert_eq!(received.line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!(received.header("content-type"), Some("application/json"));
}

#[test]
fn a_providers_answer_reaches_the_caller_byte_for_byte() {
    let body = "{ \"id\":\"x\" , \"choices\":[ ],\"usage\":{\"prompt_tokens\":1e0},\"odd\":\"\\u00e9\" }\n\n";
    let upstream = Upstream::always(ok_json(body));
    let luner = Gateway::before(upstream.url()).start();
    assert_eq!(luner.post_chat("gpt-4o", "x").text(), body);
}

#[test]
fn a_stream_passes_event_by_event() {
    let seen = Gate::new();
    let gate = seen.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        for text in ["one", "two", "three"] {
            conn.write(in_chunk(delta(text)));
            // The next event is not sent before the caller has this one.
            gate.wait();
        }
        conn.write(stream_end());
        conn.hold();
    });
    let luner = Gateway::before(upstream.url()).start();
    let mut client = luner.connect();
    let head = client.send(post_stream("gpt-4o", "count")).head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    for text in ["one", "two", "three"] {
        assert_eq!(client.chunk(), Some(delta(text).into_bytes()));
        seen.permit();
    }
    assert_eq!(client.chunk(), Some(b"data: [DONE]\n\n".to_vec()));
    assert_eq!(client.chunk(), None);
    assert_eq!(client.send(get("/v1/models")).answer().status, 200, "the connection goes on");
}

#[test]
fn a_streams_head_arrives_before_its_first_event() {
    let seen = Gate::new();
    let gate = seen.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        gate.wait();
        conn.write(in_chunk(delta("late")));
        conn.write(stream_end());
        conn.hold();
    });
    let luner = Gateway::before(upstream.url()).start();
    let mut client = luner.connect();
    assert_eq!(client.send(post_stream("gpt-4o", "x")).head().status, 200);
    seen.permit();
    assert!(client.chunk().is_some_and(|chunk| chunk.starts_with(delta("late").as_bytes())));
}

#[test]
fn usage_is_asked_for_and_taken_out_again() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let prompt = "a prompt of thirty-two characters";
    let answer = luner.ask(post_stream("gpt-4o", prompt));
    assert_eq!(answer.said(), reply(prompt));
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    for event in answer.events().iter().filter(|event| *event != "[DONE]") {
        let event: Value = serde_json::from_str(event).unwrap();
        assert_ne!(event["choices"], json!([]), "the usage chunk is the gateway's own: {event}");
    }
    assert!(mock.settled(GUARD));
    let seen: Value = serde_json::from_str(mock.ledger().entries[0].body.as_deref().unwrap()).unwrap();
    assert_eq!(seen["stream_options"], json!({ "include_usage": true }));
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), mock_llm::tokens(prompt) as f64);
    assert_eq!(
        luner.metric("luner_tokens_used_total", &["type=\"completion\""]),
        mock_llm::tokens(&reply(prompt)) as f64
    );
}

#[test]
fn usage_that_the_caller_asked_for_stays() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let body = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = luner.ask(post(CHAT, body));
    let events = answer.events();
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 1);
    assert!(mock.settled(GUARD));
    assert_eq!(mock.ledger().entries[0].body.as_deref(), Some(body), "there was nothing to splice");
}

#[test]
fn usage_that_the_caller_declined_is_asked_for_all_the_same() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    for options in [r#"{"include_usage":false}"#, r#"{ "include_usage" : null , "x":1}"#, "{}", "null", r#"{"x":[1]}"#]
    {
        mock.reset_ledger();
        let body = format!(
            r#"{{"model":"gpt-4o","stream":true,"stream_options":{options},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let answer = luner.ask(post(CHAT, &body));
        assert_eq!(answer.said(), reply("hi"), "{options}");
        assert!(!answer.text().contains("prompt_tokens\":1"), "{options}: {}", answer.text());
        assert!(mock.settled(GUARD));
        let seen: Value = serde_json::from_str(mock.ledger().entries[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(seen["stream_options"]["include_usage"], true, "{options}");
    }
}

#[test]
fn completions_are_proxied_plain_and_as_a_stream() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let answer = luner.ask(post("/v1/completions", r#"{"model":"gpt-4o","prompt":"old style"}"#));
    assert_eq!(answer.json()["choices"][0]["text"], reply("old style"));
    let answer = luner.ask(post("/v1/completions", r#"{"model":"gpt-4o","prompt":"old style","stream":true}"#));
    let text = answer.events().into_iter().filter(|event| event != "[DONE]").map(|event| {
        let event: Value = serde_json::from_str(&event).unwrap();
        event["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(text.collect::<String>(), reply("old style"));
    assert!(!answer.text().contains("\"choices\":[]"), "the usage chunk was taken out");
    assert!(mock.settled(GUARD));
    assert!(mock.ledger().entries[1].body.as_deref().is_some_and(|body| body.contains("include_usage")));
}

#[test]
fn embeddings_are_proxied() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let answer = luner.ask(post("/v1/embeddings", r#"{"model":"gpt-4o","input":["one","two"]}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(2));
    assert!(mock.settled(GUARD));
    let prompt = mock.totals().prompt_tokens as f64;
    assert!(prompt > 0.0);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), prompt);
}

#[test]
fn responses_are_proxied_plain_and_as_a_stream() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let answer = luner.ask(post("/v1/responses", r#"{"model":"gpt-4o","input":"new style"}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(&reply("new style")));
    let answer = luner.ask(post("/v1/responses", r#"{"model":"gpt-4o","input":"new style","stream":true}"#));
    assert!(answer.text().contains("event: response.created\n"), "{}", answer.text());
    assert!(answer.text().contains("event: response.completed\n"));
    assert!(!answer.text().contains("event: error"), "this stream has no [DONE], and needs none");
    assert!(mock.settled(GUARD));
    let body = mock.ledger().entries[1].body.clone().unwrap();
    assert!(!body.contains("stream_options"), "this endpoint knows no such option: {body}");
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), mock.totals().prompt_tokens as f64);
}

#[test]
fn tool_calls_pass_plain_and_as_a_stream() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    for stream in [false, true] {
        let body = json!({
            "model": "gpt-4o", "stream": stream, "tool_choice": "required",
            "messages": [{ "role": "user", "content": "weather in Paris" }],
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": {
                "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] } } }],
        });
        let answer = luner.ask(post(CHAT, body.to_string()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("\"tool_calls\"") && answer.text().contains("weather"), "{}", answer.text());
    }
}

#[test]
fn models_are_answered_from_the_configuration() {
    let nobody = format!("http://{}/v1", Upstream::nobody());
    let luner = Gateway::new()
        .provider("one", &nobody, &["gpt-4o", "ft:gpt-4o:acme::1"])
        .provider("two", &nobody, &["org/model", "claude-*"])
        .start();
    let list = luner.ask(get("/v1/models")).json();
    assert_eq!(list["object"], "list");
    let data = list["data"].as_array().unwrap();
    let ids: Vec<&str> = data.iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(ids, ["gpt-4o", "ft:gpt-4o:acme::1", "org/model"]);
    assert!(data.iter().all(|model| model["object"] == "model" && model["created"].is_u64()));
    assert_eq!(data[2]["owned_by"], "two");
    for id in ids {
        let model = luner.ask(get(&format!("/v1/models/{id}")));
        assert_eq!((model.status, model.json()["id"].as_str()), (200, Some(id)));
    }
    let missing = luner.ask(get("/v1/models/gpt-5"));
    assert_eq!((missing.status, missing.error_code().as_deref()), (404, Some("model_not_found")));
}

// openai-node percent-encodes what RFC 3986 does not allow in a segment of a path: `models.retrieve("org/model")`.
#[test]
fn a_models_id_in_the_path_may_be_percent_encoded() {
    let nobody = format!("http://{}/v1", Upstream::nobody());
    let luner = Gateway::new().provider("one", nobody, &["org/model", "modèle", "a%2Fb"]).start();
    for (path, id) in [
        ("org%2Fmodel", "org/model"),
        ("org%2fmodel", "org/model"),
        ("mod%C3%A8le", "modèle"),
        // Decoded once, not twice.
        ("a%252Fb", "a%2Fb"),
    ] {
        let answer = luner.ask(get(&format!("/v1/models/{path}")));
        assert_eq!((answer.status, answer.json()["id"].as_str()), (200, Some(id)), "{path}");
    }
    for path in ["org%252Fmodel", "a%2Fb", "org%2", "org%zzmodel", "mod%C3le", "%00"] {
        let answer = luner.ask(get(&format!("/v1/models/{path}")));
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")), "{path}");
    }
}

#[test]
fn an_unknown_model_is_not_found() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    for stream in [post_chat("gpt-5", "x"), post_stream("gpt-5", "x")] {
        let answer = luner.ask(stream);
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")));
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert_eq!(answer.json()["error"]["param"], "model");
    }
    assert_eq!(mock.totals().requests, 0);
}

#[test]
fn an_unknown_path_is_not_found_and_a_wrong_method_not_allowed() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let mut client = luner.connect();
    for path in ["/v1/audio/speech", "/v1", "/v1/", "/v2/chat/completions", "/v1/models/"] {
        let answer = client.send(get(path)).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("not_found")), "{path}");
    }
    for request in [get(CHAT), post("/v1/models", "{}"), post("/v1/models/gpt-4o", "{}"), get("/v1/embeddings")] {
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (405, Some("method_not_allowed")));
        assert!(answer.header("allow").is_some_and(|methods| !methods.is_empty()));
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let request = format!("{method} /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n");
        assert_eq!(client.send(request).answer().status, 405, "{method}");
    }
    for method in ["BREW", "get"] {
        let answer = luner.ask(format!("{method} /v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n"));
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{method}");
    }
    assert_eq!(mock.totals().requests, 0);
}

#[test]
fn a_405_allows_only_what_the_path_does() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
    let allowed = |answer: Answer| answer.header("allow").unwrap_or_default().replace(' ', "");
    assert_eq!(allowed(luner.ask(get(CHAT))), "POST");
    assert_eq!(allowed(luner.ask(post("/v1/models", "{}"))), "GET,HEAD");
}

#[test]
fn a_sane_request_id_is_kept() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let sane = "my-id:42/ÿ".trim_end_matches("/ÿ");
    for path_body in [(CHAT, chat("gpt-4o", "x")), (CHAT, chat("none", "x")), ("/nowhere", "{}".into())] {
        let answer = luner.ask(post_with(path_body.0, &format!("X-Request-Id: {sane}\r\n"), path_body.1));
        assert_eq!(answer.header("x-request-id"), Some(sane));
    }
}

#[test]
fn a_request_id_that_is_not_sane_is_replaced() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let long = "x".repeat(5000);
    for odd in ["", "two words", "tab\there", "\u{e9}", long.as_str()] {
        let answer = luner.ask(post_with(CHAT, &format!("X-Request-Id: {odd}\r\n"), chat("gpt-4o", "x")));
        assert_eq!(answer.status, 200);
        let id = answer.header("x-request-id").unwrap();
        assert!(id != odd && !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    }
}

#[test]
fn every_answer_carries_a_request_id_of_its_own() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
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
fn a_traceparent_names_the_trace_of_the_answer_and_travels_on() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    for body in [chat("gpt-4o", "x"), chat_stream("gpt-4o", "x"), chat("none", "x")] {
        assert_eq!(luner.ask(post_with(CHAT, &header, body)).header("x-luner-trace-id"), Some(trace));
    }
    let made = luner.ask(post_with(CHAT, "traceparent: nonsense\r\n", chat("gpt-4o", "x")));
    assert!(made.header("x-luner-trace-id").is_some_and(|id| id.len() == 32 && id != trace));
    assert!(mock.settled(GUARD));
    assert!(mock.ledger().entries[0].header("traceparent").is_some_and(|value| value.contains(trace)));
}

// Row 33.
#[test]
fn the_callers_credentials_and_identity_stay_with_the_gateway() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::before(upstream.url()).start();
    let secret = "SECRET-OF-THE-CALLER";
    let kept_back = [
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
    let headers: String = kept_back.iter().map(|name| format!("{name}: {secret}\r\n")).collect();
    let answer = luner.ask(post_with(CHAT, &headers, chat("gpt-4o", "x")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = upstream.requests().remove(0);
    assert!(!received.head.contains(secret), "{}", received.head);
    assert_eq!(received.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    for name in kept_back.iter().filter(|name| **name != "Authorization") {
        assert_eq!(received.header(name), None, "{}", received.head);
    }
    assert!(!answer.raw.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()), "the key in an answer");
}

// Row 33.
#[test]
fn connection_cannot_name_our_own_headers_away() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::before(upstream.url()).start();
    let headers = "Connection: authorization, host, content-length, content-type, transfer-encoding\r\n";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", "x"))).status, 200);
    let received = upstream.requests().remove(0);
    assert_eq!(received.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(received.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.json()["model"], "gpt-4o");
}

// Row 33; RFC 9110 section 7.6.1.
#[test]
fn a_header_that_connection_names_goes_no_further() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::before(upstream.url()).start();
    let headers = "Connection: keep-alive, OpenAI-Beta\r\nOpenAI-Beta: assistants=v2\r\n";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", "x"))).status, 200);
    assert_eq!(upstream.requests()[0].header("openai-beta"), None, "{}", upstream.requests()[0].head);
    assert_eq!(luner.ask(post_with(CHAT, "OpenAI-Beta: assistants=v2\r\n", chat("gpt-4o", "x"))).status, 200);
    assert_eq!(upstream.requests()[1].header("openai-beta"), Some("assistants=v2"));
}

// Row 33.
#[test]
fn what_a_provider_says_of_its_connection_and_site_stays_behind() {
    let body = completion("hi");
    let upstream = Upstream::always(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nSet-Cookie: a=1\r\nX-Luner-Cache: HIT\r\n\
         X-Luner-Provider: liar\r\nX-Request-Id: theirs\r\nKeep-Alive: timeout=5\r\nServer: theirs\r\nOpenAI-Version: 1\r\n\
         x-ratelimit-remaining-requests: 7\r\nX-Luner-Evil: 1\r\nAlt-Svc: h3\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n{body}",
        body.len()
    ));
    let luner = Gateway::before(upstream.url()).start();
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

// Row 32.
#[test]
fn a_models_name_cannot_split_the_head() {
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

// Row 32.
#[test]
fn an_identity_must_be_printable_and_of_sane_length() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
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
fn identity_stands_in_the_log_and_the_first_name_wins() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let headers = "X-User-ID: second\r\nX-Luner-User: first\r\nX-Tenant-ID: acme\r\nX-Luner-Agent: bot\r\n";
    let prompt = "nobody may read this prompt";
    assert_eq!(luner.ask(post_with(CHAT, headers, chat("gpt-4o", prompt))).status, 200);
    let line: Value = serde_json::from_str(&luner.wait_log("\"request\"")).unwrap();
    assert_eq!((&line["user"], &line["tenant"], &line["agent"]), (&json!("first"), &json!("acme"), &json!("bot")));
    assert_eq!((&line["model"], &line["provider"], &line["status"]), (&json!("gpt-4o"), &json!("openai"), &json!(200)));
    assert!(luner.logs().iter().all(|line| !line.contains(prompt)), "a prompt in the log");
}

#[test]
fn an_exact_name_wins_then_the_longer_pattern_then_the_order_of_the_file() {
    let mock = mock();
    let luner = Gateway::new()
        .provider("all", mock.base_url(), &["*"])
        .provider("short", mock.base_url(), &["gpt-*"])
        .provider("long", mock.base_url(), &["gpt-4*"])
        .provider("long-too", mock.base_url(), &["gpt-4*", "gpt-4o"])
        .provider("exact-too", mock.base_url(), &["gpt-4o"])
        .start();
    for (model, provider) in [
        ("gpt-4o", "long-too"),
        ("gpt-4o-mini", "long"),
        ("gpt-4", "long"),
        ("gpt-3.5", "short"),
        ("gpt-", "short"),
        ("gpt", "all"),
        ("GPT-4o", "all"),
        ("*", "all"),
    ] {
        let answer = luner.post_chat(model, "x");
        assert_eq!(answer.header("x-luner-provider"), Some(provider), "{model}");
    }
}

#[test]
fn a_base_url_may_end_with_v1_or_not_or_stand_below_a_path() {
    let upstream = Upstream::always(ok_chat("hi"));
    let root = format!("http://{}", upstream.addr());
    let luner = Gateway::new()
        .provider("a", format!("{root}/v1"), &["a"])
        .provider("b", &root, &["b"])
        .provider("c", format!("{root}/v1/"), &["c"])
        .provider("d", format!("{root}/openai/v1"), &["d"])
        .start();
    for (model, path) in [
        ("a", "/v1/chat/completions"),
        ("b", "/v1/chat/completions"),
        ("c", "/v1/chat/completions"),
        ("d", "/openai/v1/chat/completions"),
    ] {
        assert_eq!(luner.post_chat(model, "x").status, 200);
        assert_eq!(upstream.requests().last().unwrap().line(), format!("POST {path} HTTP/1.1"));
    }
}

#[test]
fn a_provider_without_a_key_gets_none() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new().provider_with("local", upstream.url(), &["m"], "api_key: \"\"").start();
    let answer = luner.ask(post_with(CHAT, "Authorization: Bearer of-the-caller\r\n", chat("m", "x")));
    assert_eq!(answer.status, 200);
    assert_eq!(upstream.requests()[0].header("authorization"), None);
}

#[test]
fn a_key_may_come_from_the_environment() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::new()
        .provider_with("a", upstream.url(), &["m"], "api_key: \"${IT_KEY}\"")
        .env("IT_KEY", &format!("{CANARY}-of-the-environment"))
        .start();
    assert_eq!(luner.post_chat("m", "x").status, 200);
    let bearer = format!("Bearer {CANARY}-of-the-environment");
    assert_eq!(upstream.requests()[0].header("authorization"), Some(bearer.as_str()));
}

#[test]
fn a_providers_own_4xx_passes_as_it_came() {
    let body =
        r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}, "x":1 }"#;
    let upstream = Upstream::always(format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\nretry-after-ms: 6500\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let luner = Gateway::before(upstream.url()).start();
    let answer = luner.post_chat("gpt-4o", "x");
    assert_eq!((answer.status, answer.text()), (429, body));
    assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (Some("7"), Some("6500")));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(upstream.requests().len(), 1, "4xx is not tried again");
}

#[test]
fn connections_to_a_provider_are_used_again() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let mut client = luner.connect();
    for turn in 0..20 {
        let request = if turn % 2 == 0 { post_chat("gpt-4o", "x") } else { post_stream("gpt-4o", "x") };
        assert_eq!(client.send(request).answer().said(), reply("x"));
    }
    assert_eq!(mock.totals().connections, 1);
}

#[test]
fn metrics_agree_with_what_the_provider_saw() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).workers(2).start();
    for turn in 0..30 {
        let prompt = "word ".repeat(turn + 1);
        let request = if turn % 3 == 0 { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o-mini", &prompt) };
        assert_eq!(luner.ask(request).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(luner.post_chat("nobody-has-this", "x").status, 404);
    }
    mock.arm("status=400".parse().unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(luner.post_chat("gpt-4o", "x").status, 400);
    }
    assert!(mock.settled(GUARD));
    let totals = mock.totals();
    // A request is accounted for when its answer is on its way: a test may have the answer a moment earlier.
    eventually("all requests are accounted for", || {
        luner.metric("luner_requests_total", &["provider=\"openai\""]) == 32.0
    });
    assert_eq!(totals.requests, 32);
    let count = |labels: &[&str]| luner.metric("luner_requests_total", labels);
    assert_eq!(count(&["model=\"gpt-4o\"", "status=\"200\""]), 10.0);
    assert_eq!(count(&["model=\"gpt-4o-mini\"", "status=\"200\""]), 20.0);
    assert_eq!(count(&["model=\"gpt-4o\"", "status=\"400\""]), 2.0);
    assert_eq!(count(&["status=\"404\""]), 3.0);
    assert_eq!(luner.metric("luner_refusals_total", &["code=\"model_not_found\"", "fault=\"caller\""]), 3.0);
    assert_eq!(luner.metric("luner_upstream_attempts_total", &["provider=\"openai\""]), 32.0);
    let (prompt, completion) = (totals.prompt_tokens as f64, totals.completion_tokens as f64);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), prompt);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"completion\""]), completion);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"total\""]), prompt + completion);
    assert_eq!(luner.metric("luner_request_duration_seconds_count", &["provider=\"openai\""]), 32.0);
    assert_eq!(luner.metric("luner_build_info", &[]), 1.0);
}

#[test]
fn a_scrape_is_not_counted_as_a_request_under_way() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
    assert_eq!(luner.metric("luner_in_flight", &[]), 0.0);
}

// Row 53, in small: what callers make up is no label.
#[test]
fn labels_come_from_the_configuration_only() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["known", "wild-*"]).start();
    for model in ["known", "wild-1", "wild-2", "unknown-1", "unknown-2"] {
        let headers = "X-Luner-User: made-up-user\r\nX-Luner-Tenant: made-up-tenant\r\n";
        luner.ask(post_with(CHAT, headers, chat(model, "x")));
    }
    let text = luner.ask(get("/metrics"));
    assert_eq!(text.header("content-type").map(|media| media.starts_with("text/plain")), Some(true));
    for made_up in ["wild", "unknown", "made-up"] {
        assert!(!text.text().contains(made_up), "{made_up} in {}", text.text());
    }
    assert_eq!(luner.metric("luner_requests_total", &["model=\"known\""]), 1.0);
    assert_eq!(luner.metric("luner_requests_total", &["model=\"other\""]), 4.0);
}

#[test]
fn requests_under_way_are_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("hi"));
        conn.hold();
    });
    let luner = Gateway::before(upstream.url()).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("the request is under way", || upstream.requests().len() == 1);
    let during = luner.metric("luner_in_flight", &[]);
    gate.permit();
    assert_eq!(client.answer().status, 200);
    eventually("it is not any more", || luner.metric("luner_in_flight", &[]) == during - 1.0);
}

//! The proxied endpoints as an OpenAI client uses them, with a provider that behaves.

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn chat_request_gets_the_providers_answer() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let answer = luner.post_chat("gpt-4o", "hello there");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.content(), reply("hello there"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-luner-provider"), Some("openai"));
    assert_eq!(answer.header("x-luner-model"), Some("gpt-4o"));
    assert_eq!(answer.header("x-luner-cache"), Some("BYPASS"));
    assert!(answer.header("x-luner-trace-id").is_some_and(|id| id.len() == 32));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert!(answer.header("date").is_some());
}

#[test]
fn request_body_reaches_the_provider_byte_for_byte() {
    let upstream = Upstream::always(ok_chat("hi"));
    let luner = Gateway::in_front_of(upstream.url()).start();
    // Odd spacing, escapes and numbers that parsing and writing again would change.
    let body = "{ \"messages\" :[],\r\n\t\"model\":\"gpt-4o\", \"x\":1.0e+2,\"y\":\"\\u00e9\\/é\", \"z\": -0 }\n";
    assert_eq!(luner.ask(post(CHAT, body)).status, 200);
    let received = upstream.requests().remove(0);
    assert_eq!(String::from_utf8_lossy(&received.body), body);
    assert_eq!(received.line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("host"), Some(upstream.addr().to_string().as_str()));
    assert_eq!(received.header("content-type"), Some("application/json"));
}

#[test]
fn answer_body_reaches_the_caller_byte_for_byte() {
    let body = "{ \"id\":\"x\" , \"choices\":[ ],\"usage\":{\"prompt_tokens\":1e0},\"odd\":\"\\u00e9\" }\n\n";
    let upstream = Upstream::always(ok_json(body));
    let luner = Gateway::in_front_of(upstream.url()).start();
    assert_eq!(luner.post_chat("gpt-4o", "x").text(), body);
}

#[test]
fn stream_passes_event_by_event() {
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
    let luner = Gateway::in_front_of(upstream.url()).start();
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
    assert_eq!(client.send(get("/v1/models")).answer().status, 200, "the connection stays usable");
}

#[test]
fn head_of_a_stream_arrives_before_its_first_event() {
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
    let luner = Gateway::in_front_of(upstream.url()).start();
    let mut client = luner.connect();
    assert_eq!(client.send(post_stream("gpt-4o", "x")).head().status, 200);
    seen.permit();
    assert!(client.chunk().is_some_and(|chunk| chunk.starts_with(delta("late").as_bytes())));
}

#[test]
fn usage_is_requested_and_removed_from_the_stream() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let prompt = "a prompt of thirty-two characters";
    let answer = luner.ask(post_stream("gpt-4o", prompt));
    assert_eq!(answer.content(), reply(prompt));
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    for event in answer.events().iter().filter(|event| *event != "[DONE]") {
        let event: Value = serde_json::from_str(event).unwrap();
        assert_ne!(event["choices"], json!([]), "the requested usage chunk is removed: {event}");
    }
    assert!(mock.wait_until_idle(TIMEOUT));
    let received: Value = serde_json::from_str(mock.ledger().entries[0].body.as_deref().unwrap()).unwrap();
    assert_eq!(received["stream_options"], json!({ "include_usage": true }));
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), mock_llm::tokens(prompt) as f64);
    assert_eq!(
        luner.metric("luner_tokens_used_total", &["type=\"completion\""]),
        mock_llm::tokens(&reply(prompt)) as f64
    );
}

#[test]
fn usage_requested_by_the_caller_stays_in_the_stream() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let body = r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;
    let answer = luner.ask(post(CHAT, body));
    let events = answer.events();
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 1);
    assert!(mock.wait_until_idle(TIMEOUT));
    assert_eq!(mock.ledger().entries[0].body.as_deref(), Some(body), "the body needs no change");
}

#[test]
fn usage_declined_by_the_caller_is_requested_and_removed() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    for options in [r#"{"include_usage":false}"#, r#"{ "include_usage" : null , "x":1}"#, "{}", "null", r#"{"x":[1]}"#]
    {
        mock.reset_ledger();
        let body = format!(
            r#"{{"model":"gpt-4o","stream":true,"stream_options":{options},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let answer = luner.ask(post(CHAT, &body));
        assert_eq!(answer.content(), reply("hi"), "{options}");
        assert!(!answer.text().contains("prompt_tokens\":1"), "{options}: {}", answer.text());
        assert!(mock.wait_until_idle(TIMEOUT));
        let received: Value = serde_json::from_str(mock.ledger().entries[0].body.as_deref().unwrap()).unwrap();
        assert_eq!(received["stream_options"]["include_usage"], true, "{options}");
    }
}

#[test]
fn completions_are_proxied_plain_and_streamed() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let answer = luner.ask(post("/v1/completions", r#"{"model":"gpt-4o","prompt":"old style"}"#));
    assert_eq!(answer.json()["choices"][0]["text"], reply("old style"));
    let answer = luner.ask(post("/v1/completions", r#"{"model":"gpt-4o","prompt":"old style","stream":true}"#));
    let text = answer.events().into_iter().filter(|event| event != "[DONE]").map(|event| {
        let event: Value = serde_json::from_str(&event).unwrap();
        event["choices"][0]["text"].as_str().unwrap_or_default().to_owned()
    });
    assert_eq!(text.collect::<String>(), reply("old style"));
    assert!(!answer.text().contains("\"choices\":[]"), "the usage chunk is removed");
    assert!(mock.wait_until_idle(TIMEOUT));
    assert!(mock.ledger().entries[1].body.as_deref().is_some_and(|body| body.contains("include_usage")));
}

#[test]
fn embeddings_are_proxied() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let answer = luner.ask(post("/v1/embeddings", r#"{"model":"gpt-4o","input":["one","two"]}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().map(Vec::len), Some(2));
    assert!(mock.wait_until_idle(TIMEOUT));
    let prompt = mock.totals().prompt_tokens as f64;
    assert!(prompt > 0.0);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), prompt);
}

#[test]
fn responses_are_proxied_plain_and_streamed() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let answer = luner.ask(post("/v1/responses", r#"{"model":"gpt-4o","input":"new style"}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(&reply("new style")));
    let answer = luner.ask(post("/v1/responses", r#"{"model":"gpt-4o","input":"new style","stream":true}"#));
    assert!(answer.text().contains("event: response.created\n"), "{}", answer.text());
    assert!(answer.text().contains("event: response.completed\n"));
    assert!(!answer.text().contains("event: error"), "a stream of this endpoint ends without [DONE]");
    assert!(mock.wait_until_idle(TIMEOUT));
    let body = mock.ledger().entries[1].body.clone().unwrap();
    assert!(!body.contains("stream_options"), "this endpoint has no such option: {body}");
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), mock.totals().prompt_tokens as f64);
}

#[test]
fn tool_calls_pass_plain_and_streamed() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
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
fn models_are_listed_from_the_config() {
    let url = format!("http://{}/v1", Upstream::closed_port());
    let luner = Gateway::new()
        .provider("one", &url, &["gpt-4o", "ft:gpt-4o:acme::1"])
        .provider("two", &url, &["org/model", "claude-*"])
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

/// openai-node percent-encodes what RFC 3986 does not allow in a path segment: `models.retrieve("org/model")`.
#[test]
fn model_id_in_the_path_may_be_percent_encoded() {
    let url = format!("http://{}/v1", Upstream::closed_port());
    let luner = Gateway::new().provider("one", url, &["org/model", "modèle", "a%2Fb"]).start();
    for (path, id) in [
        ("org%2Fmodel", "org/model"),
        ("org%2fmodel", "org/model"),
        ("mod%C3%A8le", "modèle"),
        // The path is decoded once, not twice.
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
fn unknown_model_gets_404() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    for stream in [post_chat("gpt-5", "x"), post_stream("gpt-5", "x")] {
        let answer = luner.ask(stream);
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")));
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        assert_eq!(answer.json()["error"]["param"], "model");
    }
    assert_eq!(mock.totals().requests, 0);
}

#[test]
fn unknown_path_gets_404_and_wrong_method_405() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
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
fn answer_405_lists_the_allowed_methods() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let allowed = |answer: Answer| answer.header("allow").unwrap_or_default().replace(' ', "");
    assert_eq!(allowed(luner.ask(get(CHAT))), "POST");
    assert_eq!(allowed(luner.ask(post("/v1/models", "{}"))), "GET,HEAD");
}

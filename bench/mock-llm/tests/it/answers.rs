//! Answers of every endpoint, and their tokens.

use std::io::Write;

use mock_llm::{Mock, Options, fnv64, tokens};
use serde_json::json;

use crate::client::{CHAT, ask, chat, connect, mock, post, read_all, request};

#[test]
fn chat_answer_repeats_its_prompt_and_counts_its_tokens() {
    let mock = mock();
    let got = post(mock.addr(), CHAT, &chat("gpt-4o", "hello there", json!({})));
    let answer = got.json();
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(text, format!("[{:016x}] You said: hello there", fnv64(b"hello there")));
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert_eq!(answer["usage"]["completion_tokens"], tokens(&text));
    assert_eq!(answer["usage"]["total_tokens"], 3 + tokens(&text));
    assert_eq!(answer["id"], "chatcmpl-0000000000000001");
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
}

#[test]
fn connection_serves_pipelined_requests() {
    let mock = mock();
    let mut stream = connect(mock.addr());
    let body = chat("gpt-4o", "again", json!({})).to_string();
    for _ in 0..3 {
        stream.write_all(request("POST", CHAT, "", &body).as_bytes()).unwrap();
    }
    stream.write_all(request("POST", CHAT, "Connection: close\r\n", &body).as_bytes()).unwrap();
    let got = read_all(&stream);
    assert_eq!(got.text().matches("HTTP/1.1 200 OK").count(), 4);
    assert_eq!(got.text().matches("chatcmpl-000000000000000").count(), 4);
    assert!(mock.wait_until_idle(std::time::Duration::from_secs(5)));
    assert_eq!(mock.totals().connections, 1);
}

#[test]
fn chunked_request_is_read() {
    let mock = mock();
    let body = chat("gpt-4o", "in chunks", json!({})).to_string();
    let (first, second) = body.split_at(10);
    let raw = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: mock\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{first}\r\n{:x};x=y\r\n{second}\r\n0\r\nlate: yes\r\n\r\n",
        first.len(),
        second.len()
    );
    let mut stream = connect(mock.addr());
    stream.write_all(raw.as_bytes()).unwrap();
    let got = read_all(&stream);
    assert!(got.body().contains("You said: in chunks"), "{}", got.text());
}

#[test]
fn stream_has_role_words_finish_reason_and_done() {
    let mock = mock();
    let got = post(mock.addr(), CHAT, &chat("gpt-4o+words=5", "hi", json!({"stream": true})));
    let (data, events) = (got.data(), got.events());
    assert_eq!(data.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(events.len(), 1 + 5 + 1);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events[6]["choices"][0]["finish_reason"], "stop");
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[test]
fn stream_has_usage_when_requested() {
    let mock = mock();
    let more = json!({"stream": true, "stream_options": {"include_usage": true}, "max_tokens": 2});
    let events = post(mock.addr(), CHAT, &chat("mock-reason-1", "hi", more)).events();
    let (last, before) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    let usage = &last["usage"];
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert_eq!(usage["completion_tokens"].as_u64().unwrap(), 2 * reasoning);
    assert!(before.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
    assert_eq!(before.last().unwrap()["choices"][0]["finish_reason"], "length");
}

#[test]
fn tool_is_called_when_the_prompt_asks_about_the_weather() {
    let mock = mock();
    let parameters = json!({"type": "object", "properties": {"location": {"type": "string"}}});
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]);
    let whole = post(mock.addr(), CHAT, &chat("gpt-4o", "Weather in Paris?", json!({"tools": tools}))).json();
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    let call = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(
        (call["name"].as_str(), call["arguments"].as_str()),
        (Some("get_weather"), Some(r#"{"location":"Paris"}"#))
    );

    let streamed = chat("gpt-4o", "hi", json!({"tools": tools, "tool_choice": "required", "stream": true}));
    let events = post(mock.addr(), CHAT, &streamed).events();
    assert_eq!(events[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "get_weather");
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");

    let idle = post(mock.addr(), CHAT, &chat("gpt-4o", "hi", json!({"tools": tools}))).json();
    assert_eq!(idle["choices"][0]["finish_reason"], "stop");
}

#[test]
fn n_and_json_formats_are_honoured() {
    let mock = mock();
    let more = json!({"n": 2, "response_format": {"type": "json_object"}});
    let answer = post(mock.addr(), CHAT, &chat("gpt-4o", "hi", more)).json();
    let contents: Vec<&str> =
        answer["choices"].as_array().unwrap().iter().map(|c| c["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(contents.len(), 2);
    assert_ne!(contents[0], contents[1]);
    assert!(serde_json::from_str::<serde_json::Value>(contents[0]).unwrap()["answer"].is_string());
}

#[test]
fn completions_are_answered_plain_and_streamed() {
    let mock = mock();
    let whole = post(mock.addr(), "/v1/completions", &json!({"model": "m", "prompt": ["a", "b"], "n": 2})).json();
    assert_eq!(whole["choices"].as_array().unwrap().len(), 4);
    let streamed = json!({"model": "m+words=3", "prompt": "a", "stream": true});
    assert_eq!(post(mock.addr(), "/v1/completions", &streamed).data().len(), 3 + 1 + 1);
}

#[test]
fn embeddings_depend_only_on_the_text() {
    let mock = mock();
    let ask = |more: serde_json::Value| {
        let mut body = json!({"model": "text-embedding-3-small", "dimensions": 8});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(mock.addr(), "/v1/embeddings", &body).json()
    };
    let one = ask(json!({"input": "apple"}));
    let many = ask(json!({"input": ["pear", "apple"]}));
    assert_eq!(one["data"][0]["embedding"], many["data"][1]["embedding"]);
    assert_ne!(one["data"][0]["embedding"], many["data"][0]["embedding"]);
    assert_eq!(one["data"][0]["embedding"].as_array().unwrap().len(), 8);
    assert_eq!(many["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let packed = ask(json!({"input": "apple", "encoding_format": "base64"}));
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 44, "32 bytes in base64");
    assert_eq!(ask(json!({"input": [1, 2, 3]}))["usage"]["prompt_tokens"], 3);
}

#[test]
fn responses_stream_has_the_real_event_sequence() {
    let mock = mock();
    let body = json!({"model": "gpt-4o+words=2", "input": "hi", "stream": true});
    let events = post(mock.addr(), "/v1/responses", &body).events();
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    assert_eq!(events[9]["response"]["usage"]["input_tokens"], 1);

    let whole = post(mock.addr(), "/v1/responses", &json!({"model": "gpt-4o", "input": "hi"})).json();
    assert_eq!(whole["output"][0]["content"][0]["type"], "output_text");
    assert_eq!(whole["status"], "completed");
}

#[test]
fn refusals_have_openais_shape() {
    let mock = Mock::start(Options { require_key: Some("sk-1".to_owned()), ..Options::default() }).unwrap();
    let body = chat("gpt-4o", "hi", json!({})).to_string();
    let refused = ask(mock.addr(), "POST", CHAT, "Authorization: Bearer sk-2\r\n", &body);
    assert_eq!((refused.status(), refused.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")));
    let key = "Authorization: Bearer sk-1\r\n";
    assert_eq!(ask(mock.addr(), "POST", CHAT, key, &body).status(), 200);
    assert_eq!(ask(mock.addr(), "GET", "/v1/models", key, "").status(), 200);
    assert_eq!(ask(mock.addr(), "GET", "/v1/models/nope", key, "").status(), 404);
    assert_eq!(ask(mock.addr(), "GET", "/v1/nope", key, "").json()["error"]["param"], json!(null));
    assert_eq!(ask(mock.addr(), "POST", CHAT, key, "{").status(), 400);
}

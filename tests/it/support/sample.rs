//! Requests and answers that tests share.

use serde_json::{Value, json};

/// A whole POST of JSON with these further header lines, each ending with CR LF.
pub fn post_with(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A whole POST of JSON.
pub fn post(path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    post_with(path, "", body)
}

/// A whole POST to the chat endpoint.
pub fn post_chat(model: &str, prompt: &str) -> Vec<u8> {
    post(CHAT, chat(model, prompt))
}

/// A whole POST to the chat endpoint that asks for a stream.
pub fn post_stream(model: &str, prompt: &str) -> Vec<u8> {
    post(CHAT, chat_stream(model, prompt))
}

/// A POST to the chat endpoint with exactly these header lines after `Host`, and these bytes after the head.
pub fn raw_chat_post(headers: &str, rest: &str) -> String {
    format!("POST {CHAT} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n{rest}")
}

/// A whole GET.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n").into_bytes()
}

/// The body of a chat request.
pub fn chat(model: &str, prompt: &str) -> String {
    json!({ "model": model, "messages": [{ "role": "user", "content": prompt }] }).to_string()
}

/// The body of a chat request that asks for a stream.
pub fn chat_stream(model: &str, prompt: &str) -> String {
    json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": prompt }] }).to_string()
}

/// The answer of `mock-llm` to a prompt of at most 200 characters.
pub fn reply(prompt: &str) -> String {
    format!("[{:016x}] You said: {prompt}", mock_llm::fnv64(prompt.as_bytes()))
}

/// A provider's whole 200 with a JSON body.
pub fn ok_json(body: impl AsRef<str>) -> String {
    let body = body.as_ref();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The body of a provider's chat answer, with 3 prompt tokens and 5 completion tokens.
pub fn completion(text: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8 },
    })
    .to_string()
}

/// A provider's whole chat answer.
pub fn ok_chat(text: &str) -> String {
    ok_json(completion(text))
}

/// The head of a provider's chunked stream.
pub const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The end of a provider's stream: the last event and the last chunk.
pub fn stream_end() -> String {
    format!("{}0\r\n\r\n", in_chunk("data: [DONE]\n\n"))
}

/// These bytes as one chunk.
pub fn in_chunk(bytes: impl AsRef<str>) -> String {
    let bytes = bytes.as_ref();
    format!("{:x}\r\n{bytes}\r\n", bytes.len())
}

/// A delta event of a chat stream.
pub fn delta(text: &str) -> String {
    let chunk: Value = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    });
    format!("data: {chunk}\n\n")
}

/// The usage event of a chat stream: 3 prompt tokens and 5 completion tokens.
pub fn usage_event() -> String {
    let chunk: Value = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [],
        "usage": { "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8 },
    });
    format!("data: {chunk}\n\n")
}

/// The chat endpoint.
pub const CHAT: &str = "/v1/chat/completions";

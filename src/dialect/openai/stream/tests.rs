use super::*;

fn chat(data: &str) -> Chunk {
    read_chunk(Operation::Chat, None, data.as_bytes())
}

fn responses(name: &str, data: &str) -> Chunk {
    read_chunk(Operation::Responses, Some(name.as_bytes()), data.as_bytes())
}

#[test]
fn characters_of_a_content_delta_are_counted() {
    let chunk = chat(
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"h\u00e9\n😀 \"usage\":{"},"logprobs":{"content":[{"token":"h","bytes":[1]}]},"finish_reason":null}],"usage":null,"obfuscation":"abc"}"#,
    );
    assert_eq!(chunk, Chunk { generated_chars: 14, ..Chunk::default() });
}

#[test]
fn characters_of_tool_calls_reasoning_and_text_are_counted() {
    let tool = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":"{\"a\":"}}]}}]}"#;
    assert_eq!(chat(tool).generated_chars, 5);
    assert_eq!(chat(r#"{"choices":[{"delta":{"reasoning_content":"abc","content":null}}]}"#).generated_chars, 3);
    let text = read_chunk(Operation::Completion, None, br#"{"choices":[{"text":"abcd","index":0}]}"#);
    assert_eq!(text.generated_chars, 4);
}

#[test]
fn chunk_added_by_include_usage_is_recognised() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}"#;
    for (choices, only) in
        [("[]", true), ("[ \n]", true), (r#"[{"delta":{}}]"#, false), ("null", false), ("[[]]", false)]
    {
        for data in [format!("{{\"choices\":{choices},{usage}}}"), format!("{{{usage},\"choices\": {choices} }}")] {
            let chunk = chat(&data);
            assert_eq!((chunk.only_usage, chunk.usage.and_then(|usage| usage.total)), (only, Some(3)), "{data}");
        }
    }
    let without = chat(&format!("{{{usage}}}"));
    assert!(without.usage.is_some() && !without.only_usage);
    // Azure starts a stream with a chunk of filter results and no choices.
    assert_eq!(chat(r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#), Chunk::default());
    assert_eq!(chat(r#"{"choices":[],"prompt_filter_results":[]}"#), Chunk::default());
}

#[test]
fn done_marker_ends_the_stream() {
    for operation in Operation::ALL {
        let chunk = read_chunk(operation, None, b"[DONE]");
        assert!(chunk.done && !chunk.failed && chunk.usage.is_none());
    }
    assert!(!chat("").done && !chat("[]").done);
}

#[test]
fn errors_are_failures_and_null_errors_are_not() {
    assert!(chat(r#"{"error":{"message":"overloaded","type":"server_error"}}"#).failed);
    assert!(chat(r#"{"error":"overloaded"}"#).failed);
    assert!(!chat(r#"{"error":null,"choices":[]}"#).failed);
    assert!(!chat(r#"{"choices":[{"delta":{"content":"x"},"error":{}}]}"#).failed);
    assert!(read_chunk(Operation::Chat, Some(b"error"), b"not json").failed);
}

#[test]
fn data_that_is_not_json_yields_an_empty_chunk() {
    for data in
        ["", "x", "{", "{\"choices\":[{\"delta\":{\"content\":\"abc\"}}]", "[]", "{\"usage\":{\"prompt_tokens\":1}"]
    {
        assert_eq!(chat(data), Chunk::default(), "{data}");
        assert_eq!(responses("response.created", data), Chunk::default(), "{data}");
    }
}

#[test]
fn events_of_responses_are_read() {
    let delta = responses(
        "response.output_text.delta",
        r#"{"type":"response.output_text.delta","sequence_number":4,"delta":"Hé\n"}"#,
    );
    assert_eq!(delta, Chunk { generated_chars: 3, sequence: Some(4), ..Chunk::default() });
    let call = responses("x", r#"{"delta":"{\"a\"","type":"response.function_call_arguments.delta"}"#);
    assert_eq!(call.generated_chars, 4);
    assert_eq!(responses("x", r#"{"delta":"AAAA","type":"response.audio.delta"}"#).generated_chars, 0);
    let created = responses(
        "response.created",
        r#"{"type":"response.created","sequence_number":0,"response":{"usage":null,"error":null}}"#,
    );
    assert_eq!(created, Chunk { sequence: Some(0), ..Chunk::default() });
    for (kind, failed) in [("completed", false), ("incomplete", false), ("failed", true)] {
        let chunk = responses(
            "x",
            &format!(
                r#"{{"type":"response.{kind}","sequence_number":9,"response":{{"output":[{{"usage":{{}}}}],"error":{{"code":"x"}},
                "usage":{{"input_tokens":3,"output_tokens":4,"total_tokens":7}}}}}}"#
            ),
        );
        assert_eq!(
            (chunk.done, chunk.failed, chunk.usage.and_then(|usage| usage.total)),
            (true, failed, Some(7)),
            "{kind}"
        );
        assert_eq!((chunk.sequence, chunk.only_usage), (Some(9), false));
    }
    let error = responses("error", r#"{"type":"error","code":"x","message":"m","param":null,"sequence_number":3}"#);
    assert_eq!((error.failed, error.done, error.sequence), (true, false, Some(3)));
}

#[test]
fn error_event_has_the_form_on_which_clients_raise() {
    let error = ErrorBody { message: "cut\n\noff", kind: "server_error", param: None, code: Some("provider_error") };
    let mut out = Vec::new();
    error_event(Operation::Chat, &error, 0, &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "data: {\"error\":{\"message\":\"cut\\n\\noff\",\"type\":\"server_error\",\"param\":null,\"code\":\"provider_error\"}}\n\n"
    );
    out.clear();
    error_event(Operation::Responses, &error, 12, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let data = text.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).expect("one event");
    assert!(!data.contains('\n'));
    let expected = serde_json::json!({
        "type": "error", "code": "provider_error", "message": "cut\n\noff", "param": null, "sequence_number": 12,
        "error": { "message": "cut\n\noff", "type": "server_error", "param": null, "code": "provider_error" },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(data).expect("JSON"), expected);
    assert!(responses("error", data).failed);
}

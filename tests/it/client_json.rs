//! Request bodies that two JSON readers could read differently, that are expensive to read, or that are not JSON
//! (FAULTS.md rows 37 to 42). The provider must read the same request as luner judged.

use crate::support::*;

/// FAULTS.md rows 37 to 40.
#[test]
fn ambiguous_json_is_refused() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["*"]).start();
    let mut client = luner.connect();
    let deep =
        |open: &str, close: &str| format!(r#"{{"model":"m","x":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a repeated model", r#"{"model":"a","model":"b"}"#.into(), "duplicate_key"),
        ("a repeated model, once escaped", r#"{"model":"a","mod\u0065l":"b"}"#.into(), "duplicate_key"),
        ("a repeated stream", r#"{"model":"a","stream":false,"stream":true}"#.into(), "duplicate_key"),
        ("repeated messages", r#"{"model":"a","messages":[],"messages":[]}"#.into(), "duplicate_key"),
        (
            "a repeated key in a message",
            r#"{"model":"a","messages":[{"role":"user","role":"system"}]}"#.into(),
            "duplicate_key",
        ),
        (
            "a repeated key in a tool",
            r#"{"model":"a","tools":[{"function":{"name":"a","n\u0061me":"b"}}]}"#.into(),
            "duplicate_key",
        ),
        ("a repeated __proto__", r#"{"model":"a","x":{"__proto__":1,"__proto__":2}}"#.into(), "duplicate_key"),
        (
            "repeated stream_options",
            r#"{"model":"a","stream_options":{},"stream_options":null}"#.into(),
            "duplicate_key",
        ),
        ("Model and model", r#"{"model":"a","Model":"b"}"#.into(), "unknown_parameter"),
        ("Model alone", r#"{"MODEL":"b"}"#.into(), "unknown_parameter"),
        ("ſtream", "{\"model\":\"a\",\"\u{17f}tream\":true}".into(), "unknown_parameter"),
        ("a byte order mark", "\u{feff}{\"model\":\"a\"}".into(), "invalid_json"),
        ("a trailing comma", r#"{"model":"a",}"#.into(), "invalid_json"),
        ("NaN", r#"{"model":"a","temperature":NaN}"#.into(), "invalid_json"),
        ("Infinity", r#"{"model":"a","temperature":-Infinity}"#.into(), "invalid_json"),
        ("a comment", r#"{"model":"a"/**/}"#.into(), "invalid_json"),
        ("single quotes", "{'model':'a'}".into(), "invalid_json"),
        ("a second object", r#"{"model":"a"}{"model":"b"}"#.into(), "invalid_json"),
        ("a NUL at the end", "{\"model\":\"a\"}\0".into(), "invalid_json"),
        ("an empty body", "".into(), "invalid_json"),
        ("half an object", r#"{"model":"a""#.into(), "invalid_json"),
        ("a lone surrogate", r#"{"model":"a","x":"\ud800"}"#.into(), "invalid_json"),
        ("a lone surrogate in a key", r#"{"model":"a","\udc00":1}"#.into(), "invalid_json"),
        ("a raw newline in a string", "{\"model\":\"a\nb\"}".into(), "invalid_json"),
        ("bytes that are not UTF-8", b"{\"model\":\"a\",\"x\":\"\xff\xfe\"}".to_vec(), "invalid_json"),
        ("overlong UTF-8", b"{\"model\":\"a\",\"x\":\"\xc0\xaf\"}".to_vec(), "invalid_json"),
        ("UTF-16", "{\"model\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(), "invalid_json"),
        ("deep arrays", deep("[", "]").into(), "json_too_deep"),
        ("deep objects", deep("{\"a\":", "}").into(), "json_too_deep"),
        (
            "deep arrays that never close",
            format!(r#"{{"model":"m","x":{}"#, "[".repeat(100_000)).into(),
            "json_too_deep",
        ),
    ];
    for (what, body, code) in &cases {
        let answer = client.send(post(CHAT, body)).answer();
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_eq!(answer.error_code().as_deref(), Some(*code), "{what}: {}", answer.text());
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 38.
#[test]
fn members_of_the_wrong_type_are_refused_by_name() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["*"]).start();
    let mut client = luner.connect();
    for (what, body, param) in [
        ("an array", "[]", None),
        ("a string", r#""model""#, None),
        ("no model", r#"{"messages":[]}"#, Some("model")),
        ("model is null", r#"{"model":null}"#, Some("model")),
        ("model is a number", r#"{"model":4}"#, Some("model")),
        ("model is empty", r#"{"model":""}"#, Some("model")),
        ("stream is a string", r#"{"model":"a","stream":"true"}"#, Some("stream")),
        ("stream is a number", r#"{"model":"a","stream":1}"#, Some("stream")),
        ("temperature is a string", r#"{"model":"a","temperature":"0"}"#, Some("temperature")),
        ("max_tokens is negative", r#"{"model":"a","max_tokens":-1}"#, Some("max_tokens")),
        ("max_tokens is beyond 2^53", r#"{"model":"a","max_tokens":9007199254740994}"#, Some("max_tokens")),
        ("stream_options is a list", r#"{"model":"a","stream_options":[]}"#, Some("stream_options")),
    ] {
        let answer = client.send(post(CHAT, body)).answer();
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert!(answer.error_code().is_some(), "{what}: {}", answer.text());
        assert_eq!(answer.json()["error"]["param"].as_str(), param, "{what}");
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 40.
#[test]
fn huge_numbers_and_strings_are_handled_cheaply() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["*"]).start();
    let digits = "9".repeat(4 << 20);
    for body in
        [format!(r#"{{"model":"m","max_tokens":{digits}}}"#), format!(r#"{{"model":"m","temperature":{digits}}}"#)]
    {
        assert_eq!(luner.ask(post(CHAT, body)).status, 400);
    }
    let answer = luner.ask(post(CHAT, format!(r#"{{"model":"{digits}"}}"#)));
    assert_eq!(answer.status, 400);
    assert!(answer.body.len() < 4096, "a refusal does not repeat the request");
    let answer = luner.ask(post(CHAT, format!(r#"{{"model":"m","{digits}":1,"{digits}":2}}"#)));
    assert_eq!(answer.error_code().as_deref(), Some("duplicate_key"));
    assert!(answer.body.len() < 4096);
    assert_eq!(luner.ask(post(CHAT, chat("m", &"x".repeat(4 << 20)))).status, 200, "a long prompt is allowed");
}

/// FAULTS.md rows 37 and 38.
#[test]
fn escaped_key_is_judged_by_its_decoded_name() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let answer = luner.ask(post(CHAT, r#"{"mod\u0065l":"gpt-4\u006f","messages":[{"role":"user","content":"x"}]}"#));
    assert_eq!((answer.status, answer.header("x-luner-model")), (200, Some("gpt-4o")));
}

/// FAULTS.md row 41.
#[test]
fn model_name_is_matched_exactly() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let mut client = luner.connect();
    for model in [
        "gpt-4o ",
        " gpt-4o",
        "GPT-4O",
        "gpt-4o\u{200b}",
        "gpt\u{2010}4o",
        "gpt-4\u{043e}",
        "g\u{0440}t-4o",
        "gpt-4o\u{301}",
        "gpt-4o/",
        "openai/../gpt-4o",
        "./gpt-4o",
        "gpt-4o%20",
        "gpt-4",
        "gpt-4oo",
        "*",
        "gpt-*",
        "\u{fb01}ne",
    ] {
        let answer = client.send(post_chat(model, "x")).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")), "{model:?}");
    }
    assert_eq!(mock.totals().requests, 0);
}

/// FAULTS.md row 42.
#[test]
fn body_other_than_plain_utf_8_json_is_refused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let with = |lines: &str| {
        let body = chat("gpt-4o", "x");
        raw_chat_post(&format!("{lines}Content-Length: {}\r\n", body.len()), &body)
    };
    let mut client = luner.connect();
    for lines in [
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "Content-Type: application/json\r\nContent-Encoding: br, identity\r\n",
        "Content-Type: application/json; charset=utf-16\r\n",
        "Content-Type: application/json; charset=\"iso-8859-1\"\r\n",
        "Content-Type: application/json; charset=utf-8; charset=utf-7\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonp\r\n",
        "Content-Type: nonsense\r\n",
        "Content-Type: \u{e4}\r\n",
    ] {
        let answer = client.send(with(lines)).answer();
        assert_eq!((answer.status, answer.error_code().as_deref()), (415, Some("unsupported_media_type")), "{lines:?}");
    }
    assert_eq!(mock.totals().requests, 0);
    for lines in [
        "",
        "Content-Type: application/json\r\n",
        "content-type: Application/JSON;charset=UTF-8\r\n",
        "Content-Type: application/json; charset=\"utf-8\"\r\nContent-Encoding: identity\r\n",
    ] {
        assert_eq!(client.send(with(lines)).answer().status, 200, "{lines:?}");
    }
}

/// FAULTS.md row 42: luner sends the provider one Content-Type, so the caller must not have sent a second, different
/// one.
#[test]
fn repeated_content_type_or_encoding_is_refused() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let body = chat("gpt-4o", "x");
    for lines in [
        "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
    ] {
        let answer = luner.ask(raw_chat_post(&format!("{lines}Content-Length: {}\r\n", body.len()), &body));
        assert!([400, 415].contains(&answer.status), "{lines:?}: {}", answer.status);
    }
    assert_eq!(mock.totals().requests, 0);
}

use super::*;
use crate::seeded::Seeded;

fn read_chat(body: &str) -> Result<Request<'_>, FactsError> {
    read(body.as_bytes(), Operation::Chat, &FactLimits::default())
}

fn request(body: &str) -> Request<'_> {
    read_chat(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn facts(body: &str) -> Facts<'_> {
    request(body).facts
}

fn refusal(body: &str) -> FactsError {
    read_chat(body).expect_err(body)
}

#[test]
fn facts_and_layout_of_a_usual_request_are_read() {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true,"temperature":0.5,
        "max_tokens":7,"n":2,"stream_options":{"include_usage":true}}"#;
    let Request { facts, layout } = request(body);
    assert!(matches!(facts.model, Cow::Borrowed("gpt-4o")));
    assert_eq!(body.get(layout.model.clone()), Some("\"gpt-4o\""));
    assert_eq!((facts.stream, facts.temperature), (true, Some(0.5)));
    assert_eq!((facts.output_tokens_max, facts.answers), (Some(7), Some(2)));
    assert_eq!((layout.include_usage, facts.body_bytes, layout.members_at), (Some(true), body.len(), 1));
}

#[test]
fn absent_and_null_members_are_equivalent() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"model":"m","stream":null,"temperature":null,"max_tokens":null,"n":null,"stream_options":null}"#,
    ] {
        let Request { facts, layout } = request(body);
        assert!(!facts.stream);
        assert_eq!((facts.temperature, facts.output_tokens_max), (None, None));
        assert_eq!((facts.answers, layout.include_usage), (None, None));
    }
    assert_eq!(request(r#"{"model":"m","stream_options":{"include_usage":null}}"#).layout.include_usage, None);
}

#[test]
fn escaped_models_and_keys_are_decoded() {
    let read = facts(r#"{"mod\u0065l":"gpt\u002d4\u00e9"}"#);
    assert_eq!(read.model, "gpt-4é");
    assert!(matches!(read.model, Cow::Owned(_)));
    assert!(facts(r#"{"model":"m","\u0073tream":true}"#).stream);
}

#[test]
fn invalid_model_names_are_refused() {
    for value in [
        "\"\"",
        "\"a\\u0000\"",
        "\"a\\r\\nX-Luner: b\"",
        "\"\\u007f\"",
        "\"\u{85}\"",
        &format!("\"{}\"", "x".repeat(257)),
    ] {
        let error = refusal(&format!("{{\"model\":{value}}}"));
        assert_eq!((error.code(), error.param.as_deref()), (Some("invalid_value"), Some("model")), "{value}");
    }
    for value in ["null", "1", "true", "[]", "{}", "[\"m\"]"] {
        let error = refusal(&format!("{{\"model\":{value}}}"));
        assert_eq!((error.code(), error.param.as_deref()), (Some("invalid_type"), Some("model")), "{value}");
    }
    assert_eq!(facts(&format!("{{\"model\":\"{}\"}}", "\\u0061".repeat(256))).model.len(), 256);
    assert_eq!(refusal("{}").to_string(), "Missing required parameter: 'model'.");
    assert_eq!(refusal(r#"{"messages":[{"model":"m"}]}"#).code(), Some("missing_required_parameter"));
    // Names are not normalised: they match exactly or not at all (tests/FAULTS.md row 41).
    for name in ["gpt-4 ", "openai/../x", "gрt-4", "gpt\u{200b}-4", "e\u{301}"] {
        assert_eq!(facts(&format!("{{\"model\":\"{name}\"}}")).model, name);
    }
}

#[test]
fn zero_temperature_is_recognised_in_every_notation() {
    for zero in ["0", "0.0", "-0", "-0.0", "0e5", "0.000E-9"] {
        assert_eq!(facts(&format!("{{\"model\":\"m\",\"temperature\":{zero}}}")).temperature, Some(0.0), "{zero}");
    }
    assert_eq!(facts(r#"{"model":"m","temperature":1e-3}"#).temperature, Some(0.001));
    assert_eq!(refusal(r#"{"model":"m","temperature":1e999}"#).code(), Some("invalid_value"));
    let error = refusal(r#"{"model":"m","temperature":"0"}"#);
    assert_eq!(error.to_string(), "Invalid type for 'temperature': expected a number, but got a string instead.");
}

#[test]
fn whole_numbers_are_accepted_and_others_refused() {
    let max = |value: &str| {
        read_chat(&format!("{{\"model\":\"m\",\"max_tokens\":{value}}}")).map(|request| request.facts.output_tokens_max)
    };
    for (value, expected) in
        [("0", 0), ("7", 7), ("7.0", 7), ("70e-1", 7), ("1e3", 1_000), ("-0", 0), ("9007199254740992", 1 << 53)]
    {
        assert_eq!(max(value), Ok(Some(expected)), "{value}");
    }
    for value in ["-1", "0.5", "9007199254740993", "1e300", "1e999", "-1e-9", "99999999999999999999999"] {
        assert_eq!(max(value).expect_err(value).code(), Some("invalid_value"), "{value}");
    }
    for value in ["\"7\"", "true", "[7]", "{}"] {
        assert_eq!(max(value).expect_err(value).code(), Some("invalid_type"), "{value}");
    }
}

#[test]
fn newer_names_of_max_tokens_take_precedence() {
    let max = |members: &str| facts(&format!("{{{members},\"model\":\"m\"}}")).output_tokens_max;
    assert_eq!(max(r#""max_tokens":1,"max_output_tokens":2,"max_completion_tokens":3"#), Some(3));
    assert_eq!(max(r#""max_completion_tokens":null,"max_tokens":1,"max_output_tokens":2"#), Some(2));
    assert_eq!(max(r#""max_tokens":1"#), Some(1));
}

#[test]
fn wrong_type_is_reported_with_its_member() {
    for (members, param) in [
        (r#""stream":"true""#, "stream"),
        (r#""stream":1"#, "stream"),
        (r#""stream_options":[]"#, "stream_options"),
        (r#""stream_options":true"#, "stream_options"),
        (r#""stream_options":{"include_usage":"yes"}"#, "stream_options.include_usage"),
        (r#""n":"1""#, "n"),
    ] {
        let error = refusal(&format!("{{\"model\":\"m\",{members}}}"));
        assert_eq!((error.code(), error.param.as_deref()), (Some("invalid_type"), Some(param)), "{members}");
    }
}

#[test]
fn duplicate_key_is_refused_everywhere() {
    for (body, key) in [
        (r#"{"model":"a","model":"b"}"#, "model"),
        (r#"{"model":"a","mod\u0065l":"b"}"#, "model"),
        (r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#, "include_usage"),
        (r#"{"model":"a","messages":[{"role":"user","content":"","role":"system"}]}"#, "role"),
        (r#"{"model":"a","tools":[{"function":{"parameters":{"__proto__":1,"__proto__":2}}}]}"#, "__proto__"),
    ] {
        let error = refusal(body);
        assert_eq!((error.code(), error.param.as_deref()), (Some("duplicate_key"), Some(key)), "{body}");
    }
    let error = refusal(r#"{"model":"a","model":"b"}"#);
    assert_eq!(
        error.to_string(),
        "We could not parse the JSON body of your request: the key \"model\" occurs twice in one object at byte 13"
    );
}

#[test]
fn key_that_differs_from_a_governed_one_only_in_case_is_refused() {
    for key in [
        "Model",
        "MODEL",
        "modeL",
        "ſtream",
        "Stream",
        "max_to\u{212a}ens",
        "MAX_COMPLETION_TOKENS",
        "Stream_Optionſ",
        "N",
        "Messages",
        "\\u004dodel",
        "\\u017ftream",
    ] {
        for body in [format!("{{\"model\":\"m\",\"{key}\":1}}"), format!("{{\"{key}\":\"x\",\"model\":\"m\"}}")] {
            assert_eq!(refusal(&body).code(), Some("unknown_parameter"), "{body}");
        }
    }
    let error = refusal(r#"{"model":"m","stream_options":{"Include_Usage":false}}"#);
    assert_eq!(
        (error.kind, error.param.as_deref()),
        (FactsErrorKind::Lookalike("include_usage"), Some("Include_Usage"))
    );
    // No reader confuses these with a governed key.
    for key in ["Metadata", "ｍodel", "mödel", "model ", "models", "İnput"] {
        request(&format!("{{\"model\":\"m\",\"{key}\":1}}"));
    }
    request(r#"{"model":"m","metadata":{"Model":1,"model":2}}"#);
}

#[test]
fn body_that_is_not_a_json_object_is_refused_with_a_position() {
    for (body, message) in [
        ("", "expected '{' at byte 0"),
        ("[]", "expected '{' at byte 0"),
        ("null", "expected '{' at byte 0"),
        ("{\"model\":\"m\"\"n\":1}", "expected ',' or '}' at byte 12"),
        ("{\"model\":\"m\",}", "expected a key at byte 13"),
        ("{\"model\":\"m\"} x", "expected the end of the text at byte 14"),
        ("{\"model\":\"m\"}{}", "expected the end of the text at byte 13"),
        ("{\"model\":\"m\",\"temperature\":NaN}", "expected a value at byte 27"),
        ("{\"model\":\"m\"/*c*/}", "expected ',' or '}' at byte 12"),
        ("\u{feff}{\"model\":\"m\"}", "a byte order mark at byte 0"),
        ("{\"model\":\"m\",\"a\":\"\\ud800\"}", "half of a surrogate pair in a string at byte 18"),
    ] {
        let error = refusal(body);
        assert_eq!(error.code(), Some("invalid_json"), "{body}");
        assert_eq!(error.to_string(), format!("We could not parse the JSON body of your request: {message}"), "{body}");
    }
    let error = read(b"{\"model\":\"\xff\"}", Operation::Embeddings, &FactLimits::default()).expect_err("no UTF-8");
    assert_eq!((error.code(), error.at), (Some("invalid_json"), 10));
}

#[test]
fn depth_and_size_are_limited() {
    let deep = |levels: usize| format!("{{\"model\":\"m\",\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(read_chat(&deep(127)).is_ok());
    assert_eq!(refusal(&deep(128)).code(), Some("json_too_deep"));
    assert_eq!(refusal(&format!("{{\"a\":{}", "[".repeat(100_000))).code(), Some("json_too_deep"));
    let error = read(deep(3).as_bytes(), Operation::Responses, &FactLimits { depth: 3 }).expect_err("too deep");
    assert_eq!(error.code(), Some("json_too_deep"));
    let many = format!("{{\"model\":\"m\",\"input\":[{}0]}}", "0,".repeat(1 << 20));
    assert_eq!(refusal(&many).code(), Some("json_too_complex"));
    request(&format!("{{\"model\":\"m\",\"input\":\"{}\"}}", "x".repeat(10 << 20)));
    assert_eq!(refusal(&format!("{{\"model\":\"m\",\"seed\":{}}}", "9".repeat(10 << 20))).code(), Some("invalid_json"));
}

#[test]
fn facts_agree_with_serde_json_on_random_requests() {
    let mut seeded = Seeded::new(3);
    let members = [
        ("model", ["\"gpt-4o\"", "\"a\\nb\"", "\"gpt\\u002d4\"", "7"]),
        ("stream", ["true", "false", "null", "0"]),
        ("temperature", ["0", "0.7", "null", "\"1\""]),
        ("max_tokens", ["12", "12.0", "null", "-3"]),
        ("max_completion_tokens", ["13", "130e-1", "null", "1.5"]),
        ("stream_options", ["{}", "{ \"include_usage\" : true }", "null", "{\"x\":[{}],\"include_usage\":false}"]),
        (
            "messages",
            ["[]", "[{\"role\":\"user\",\"content\":\"\\\"model\\\": {\"}]", "[ 1 , {\"model\":\"x\"} ]", "\"\""],
        ),
    ];
    let mut accepted = 0;
    for _ in 0..5_000 {
        let mut body = String::from(" {");
        for at in 0..seeded.below(7) {
            let (key, values) = members[(seeded.below(2) * 3 + at) % members.len()];
            let value = values[if seeded.one_in(12) { 3 } else { seeded.below(3) }];
            body.push_str(&format!("{} \"{key}\" :\n{value} ", if at > 0 { "," } else { "" }));
        }
        body.push_str("}\r\n");
        let Ok(Request { facts, layout }) = read_chat(&body) else { continue };
        accepted += 1;
        let value: serde_json::Value = serde_json::from_str(&body).expect("accepted, so valid");
        assert_eq!(value["model"], facts.model.as_ref());
        assert_eq!(value["stream"].as_bool().unwrap_or(false), facts.stream);
        assert_eq!(value["temperature"].as_f64(), facts.temperature);
        let max = value["max_completion_tokens"].as_f64().or(value["max_tokens"].as_f64());
        assert_eq!(max, facts.output_tokens_max.map(|max| max as f64));
        assert_eq!(value["stream_options"]["include_usage"].as_bool(), layout.include_usage);
        assert_eq!(serde_json::from_str::<String>(&body[layout.model.clone()]).expect("a string"), facts.model);
    }
    assert!(accepted > 300, "{accepted}");
}

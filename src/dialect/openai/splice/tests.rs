use serde_json::{Value, json};

use super::*;
use crate::dialect::openai::request::read;
use crate::llm::FactLimits;

/// The changed body. Checks that it has the announced length.
fn changed(body: &str, operation: Operation, usage: bool, model: Option<&str>) -> String {
    let request = read(body.as_bytes(), operation, &FactLimits::default()).expect("a good body");
    let mut splices = Splices::default();
    assert!(splices.is_empty());
    if let Some(model) = model {
        replace_model(&request.layout, model, &mut splices);
    }
    if usage {
        include_usage(request.facts.operation, &request.layout, &mut splices);
    }
    let mut out = b"kept".to_vec();
    splices.write(body.as_bytes(), &mut out);
    assert_eq!(out.len() - 4, splices.len_after(body.len()));
    String::from_utf8(out.split_off(4)).expect("UTF-8")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const BODIES: [&str; 12] = [
    r#"{"model":"m"}"#,
    "{ \"model\" : \"m\" , \"messages\" : [] }\n",
    r#"{"stream_options":null,"model":"m"}"#,
    r#"{"model":"m","stream_options":null}"#,
    r#"{"model":"m","stream_options":{}}"#,
    r#"{"stream_options":{ },"model":"m"}"#,
    r#"{"stream_options":{"include_obfuscation":false},"model":"m"}"#,
    r#"{"model":"m","stream_options":{"include_usage":false}}"#,
    r#"{"model":"m","stream_options":{"a":{"include_usage":1},"include_usage": null ,"b":2}}"#,
    r#"{"stream_options":{"include_usage":true},"model":"m","x":"stream_options"}"#,
    r#"{"model":"mod\u00e9\"l","stream_\u006fptions":{"include_us\u0061ge":false}}"#,
    "\n\t{\"a\":{\"model\":\"inner\",\"stream_options\":7},\"model\":\"m\"}",
];

#[test]
fn include_usage_is_set_and_nothing_else_changes() {
    for body in BODIES {
        let mut expected = parsed(body);
        if expected["stream_options"].is_null() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = json!(true);
        let out = changed(body, Operation::Chat, true, None);
        assert_eq!(parsed(&out), expected, "{body}");
        let again = read(out.as_bytes(), Operation::Chat, &FactLimits::default()).expect("still good");
        assert_eq!(again.layout.include_usage, Some(true));
    }
}

#[test]
fn model_is_replaced_and_nothing_else_changes() {
    for body in BODIES {
        for model in ["gpt-4o-mini", "", "a\"b\\c\r\n\u{0}\u{7f}é😀"] {
            for usage in [false, true] {
                let mut expected = parsed(&changed(body, Operation::Completion, usage, None));
                expected["model"] = json!(model);
                assert_eq!(parsed(&changed(body, Operation::Completion, usage, Some(model))), expected, "{body}");
            }
        }
    }
}

#[test]
fn body_without_changes_keeps_every_byte() {
    for body in BODIES {
        assert_eq!(changed(body, Operation::Chat, false, None), body);
    }
    let asked = r#"{"model":"m","stream_options":{"include_usage":true}}"#;
    assert_eq!(changed(asked, Operation::Chat, true, None), asked);
}

#[test]
fn operations_without_the_option_are_left_alone() {
    for operation in [Operation::Responses, Operation::Embeddings] {
        assert_eq!(changed(BODIES[0], operation, true, None), BODIES[0]);
    }
}

#[test]
fn last_replacement_of_the_model_counts() {
    let body = BODIES[1].as_bytes();
    let request = read(body, Operation::Chat, &FactLimits::default()).expect("a good body");
    let mut splices = Splices::default();
    replace_model(&request.layout, "first", &mut splices);
    replace_model(&request.layout, "second", &mut splices);
    assert_eq!(splices.pieces(body).count(), 3);
    let mut out = Vec::new();
    splices.write(body, &mut out);
    assert_eq!(parsed(&String::from_utf8(out).expect("UTF-8"))["model"], "second");
}

#[test]
fn splices_of_another_body_never_panic() {
    let request = read(BODIES[10].as_bytes(), Operation::Chat, &FactLimits::default()).expect("a good body");
    let mut splices = Splices::default();
    replace_model(&request.layout, "m", &mut splices);
    include_usage(request.facts.operation, &request.layout, &mut splices);
    for body in ["", "{}", "{\"model\":1}"] {
        splices.write(body.as_bytes(), &mut Vec::new());
    }
}

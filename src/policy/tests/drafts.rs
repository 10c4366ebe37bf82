//! Policy drafts from clients: defaults, refused fields and values, and bounds on lengths.

use super::*;

fn draft(json: serde_json::Value) -> Result<Draft, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

fn minimal() -> Draft {
    draft(serde_json::json!({"name": "n", "expression": "stream", "action": "block"})).expect("it is enough")
}

#[test]
fn omitted_fields_get_the_defaults_of_the_contract() {
    let draft = minimal();
    assert_eq!((draft.priority, draft.enabled, draft.mode), (100, true, Mode::Enforce));
    assert_eq!(draft.check(), Ok(()));
    let policy = draft.into_policy("id".into(), "then".into(), "now".into());
    let json = serde_json::to_value(&policy).expect("it serialises");
    assert_eq!(json["action"], "block");
    assert_eq!(json["mode"], "enforce");
    assert_eq!(serde_json::from_value::<Policy>(json).expect("and back"), policy);
}

#[test]
fn unknown_fields_and_values_are_refused() {
    let cases = [
        (serde_json::json!({"name": "n", "expression": "stream", "action": "block", "id": "x"}), "unknown field `id`"),
        (serde_json::json!({"name": "n", "expression": "stream", "action": "drop"}), "unknown variant `drop`"),
        (serde_json::json!({"name": "n", "action": "block"}), "missing field `expression`"),
    ];
    for (json, part) in cases {
        let error = draft(json).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn check_reports_every_problem_at_once() {
    let draft = Draft {
        name: "a\u{7}".into(),
        description: "x".repeat(2049),
        expression: "modle == ''".into(),
        target_model: Some("t".into()),
        message: Some("a\nb".into()),
        ..minimal()
    };
    let errors = draft.check().expect_err("five problems");
    let params: Vec<&str> = errors.iter().map(|error| error.param).collect();
    assert_eq!(params, ["name", "description", "target_model", "message", "expression"]);
    assert_eq!(errors[4].position, Some(Position { line: 1, column: 1, offset: 0 }));
}

#[test]
fn lengths_are_bounded() {
    let long = |text: &str, times: usize| text.repeat(times);
    let target = |target: String| Draft { action: Action::Downgrade, target_model: Some(target), ..minimal() };
    let cases = [
        (Draft { name: long("é", 128), ..minimal() }, true),
        (Draft { name: long("é", 129), ..minimal() }, false),
        (Draft { name: String::new(), ..minimal() }, false),
        (Draft { name: " n".into(), ..minimal() }, false),
        (Draft { name: "a\u{202e}b".into(), ..minimal() }, false),
        (Draft { description: long("\n", 2048), ..minimal() }, true),
        (Draft { description: "\u{0}".into(), ..minimal() }, false),
        (Draft { message: Some(long("x", 1024)), ..minimal() }, true),
        (Draft { message: Some(long("x", 1025)), ..minimal() }, false),
        (target(long("x", 256)), true),
        (target(long("x", 257)), false),
        (target(String::new()), false),
        (Draft { action: Action::Alert, target_model: Some("x".into()), ..minimal() }, false),
    ];
    for (draft, fine) in cases {
        assert_eq!(draft.check().is_ok(), fine, "{draft:?}");
    }
}

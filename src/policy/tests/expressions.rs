//! Accepted and refused expressions, with the position of each mistake.

use super::*;
use crate::who::Who;

#[test]
fn documented_examples_work_word_for_word() {
    let base = request();
    let many = Inputs { request_count: 101, ..base };
    let cases = [
        ("cost_usd > 10.0", Inputs { cost_usd: 10.000001, ..base }, Inputs { cost_usd: 10.0, ..base }),
        ("request_count > 100 && model == 'gpt-4o'", many, Inputs { request_count: 100, ..base }),
        ("request_count > 100 && model == 'gpt-4o'", many, Inputs { model: "gpt-4o-mini", ..many }),
        ("tokens_used > 50000", Inputs { tokens_used: 50_001, ..base }, Inputs { tokens_used: 50_000, ..base }),
        ("!(model in ['gpt-4o-mini', 'claude-haiku-4-5'])", base, Inputs { model: "claude-haiku-4-5", ..base }),
    ];
    for (expression, yes, no) in cases {
        assert_eq!(holds(expression, &yes), Ok(true), "{expression}");
        assert_eq!(holds(expression, &no), Ok(false), "{expression}");
    }
}

#[test]
fn every_variable_has_its_value_and_type() {
    let inputs = Inputs {
        model: "m",
        who: Who { tenant: "t", user: "u", agent: "a" },
        provider: "p",
        endpoint: "/e",
        stream: true,
        temperature: 0.5,
        max_tokens: 7,
        request_count: 8,
        cost_usd: 1.5,
        tokens_used: 9,
        est_input_tokens: 10,
        est_cost_usd: 2.5,
        now_ms: 1_700_000_000_123,
    };
    let cases = [
        ("model == 'm'", Variable::Model),
        ("user_id == 'u'", Variable::UserId),
        ("tenant_id == 't'", Variable::TenantId),
        ("request_count == 8", Variable::RequestCount),
        ("cost_usd == 1.5", Variable::CostUsd),
        ("tokens_used == 9", Variable::TokensUsed),
        ("agent == 'a'", Variable::Agent),
        ("provider == 'p'", Variable::Provider),
        ("endpoint == '/e'", Variable::Endpoint),
        ("stream", Variable::Stream),
        ("temperature == 0.5", Variable::Temperature),
        ("max_tokens == 7", Variable::MaxTokens),
        ("est_input_tokens == 10", Variable::EstInputTokens),
        ("est_cost_usd == 2.5", Variable::EstCostUsd),
        ("now == timestamp('2023-11-14T22:13:20.123Z')", Variable::Now),
    ];
    assert_eq!(cases.map(|(_, variable)| variable), Variable::ALL);
    for (expression, variable) in cases {
        let variables = check_expression(expression).expect(expression).variables;
        assert_eq!(variables.iter().collect::<Vec<_>>(), [variable], "{expression}");
        assert_eq!(holds(expression, &inputs), Ok(true), "{expression}");
        assert_eq!(holds(expression, &Inputs::default()), Ok(false), "{expression}");
        assert_eq!(Variable::from_name(variable.name()), Some(variable));
        assert!(!variable.meaning().is_empty());
    }
}

#[test]
fn every_method_can_be_called_as_described() {
    for method in METHODS {
        let value = if method.on == CelType::Timestamp { "now" } else { "model" };
        let argument = if method.argument.is_some() { "'x'" } else { "" };
        let call = format!("{value}.{}({argument})", method.name);
        let works = [format!("{call} == 0"), format!("{call} == true")].iter().any(|it| check_expression(it).is_ok());
        assert!(works, "{call}");
        assert!(!method.description.is_empty());
    }
}

#[test]
fn time_after_the_year_9999_is_clamped() {
    let inputs = Inputs { now_ms: u64::MAX, ..request() };
    assert_eq!(holds("now.getFullYear() == 9999", &inputs), Ok(true));
    assert_eq!(holds("now + duration('1s') > now", &inputs), Err(FaultKind::Overflow));
}

/// Refused expressions, each with the line, the column and a part of the message.
const REFUSED: [(&str, u32, u32, &str); 60] = [
    ("", 1, 1, "is empty"),
    (" \n ", 1, 1, "is empty"),
    ("1", 1, 1, "must be true or false, this is an int"),
    ("cost_usd + 1.0", 1, 1, "must be true or false, this is a double"),
    ("model", 1, 1, "this is a string"),
    ("[true]", 1, 1, "this is a list of bool"),
    ("modle == 'x'", 1, 1, "did you mean model?"),
    ("x > 1", 1, 1, "there is no variable x"),
    ("model > 1", 1, 7, "cannot compare a string with an int"),
    ("model == 1", 1, 7, "cannot compare a string with an int"),
    ("request_count == '100'", 1, 15, "cannot compare an int with a string"),
    ("stream\n  && model > 5", 2, 12, "cannot compare"),
    ("user_id == 'é' && nope", 1, 19, "there is no variable nope"),
    ("true && 1", 1, 9, "'&&' needs true or false, this is an int"),
    ("model || stream", 1, 1, "'||' needs true or false"),
    ("!model", 1, 2, "'!' needs true or false"),
    ("-model == 'x'", 1, 1, "'-' needs"),
    ("stream ? 1 : 'a'", 1, 14, "both outcomes"),
    ("true < stream", 1, 6, "does not order bools"),
    ("model + 1 == 'x'", 1, 7, "'+' does not work between a string and an int"),
    ("cost_usd % 2.0 == 0.0", 1, 10, "'%' needs ints"),
    ("request_count - 1u > 0", 1, 15, "'-' does not work"),
    ("now + now > now", 1, 5, "'+' does not work"),
    ("model in 'gpt'", 1, 7, "use contains"),
    ("model in 5", 1, 7, "needs a list on its right"),
    ("model in [1, 2]", 1, 7, "a string can never be in a list of int"),
    ("model in ['a', 1]", 1, 16, "a list holds one type"),
    ("1 in [[1]]", 1, 7, "cannot hold lists"),
    ("frobnicate(model)", 1, 1, "there is no function frobnicate"),
    ("model.upperAscii() == 'X'", 1, 7, "there is no function upperAscii"),
    ("size() > 1", 1, 1, "size is called"),
    ("size(1) > 1", 1, 1, "size is of strings and lists"),
    ("model.contains(1)", 1, 7, "contains is of strings"),
    ("model.contains()", 1, 7, "contains is called"),
    ("model.matches(user_id)", 1, 15, "must be a literal"),
    ("model.matches('(')", 1, 15, "the pattern is not valid: unclosed group"),
    ("bool(1)", 1, 1, "does not convert"),
    ("timestamp(model) > now", 1, 1, "takes a literal"),
    ("now > timestamp('yesterday')", 1, 7, "not a timestamp"),
    ("now - duration('1 day') > now", 1, 7, "not a duration"),
    ("now.getHours('Mars/Base') > 1", 1, 14, "unknown time zone"),
    ("model.getHours() > 1", 1, 7, "is not of a string"),
    ("now.getHours(1, 2) > 1", 1, 5, "getHours is called"),
    ("has(model.x)", 1, 1, "has() has no use"),
    ("model.x == 1", 1, 6, "no .x either"),
    ("[1][0] == 1", 1, 4, "indexing"),
    ("type(1) == int", 1, 1, "there is no function type"),
    ("null == null", 1, 1, "null is not available"),
    ("{'a': 1} == {}", 1, 1, "maps and messages"),
    ("b'x' == b'x'", 1, 1, "bytes"),
    ("model = 'x'", 1, 7, "equality is written =="),
    ("stream & stream", 1, 8, "write &&"),
    ("model == 'x", 1, 10, "never closed"),
    ("model == 'a\\q'", 1, 12, "no such escape"),
    ("(stream", 1, 1, "the '(' is never closed"),
    ("stream)", 1, 7, "')' closes nothing"),
    ("stream &&", 1, 10, "ends too early"),
    ("stream stream", 1, 8, "did not expect 'stream' here"),
    ("max_tokens > 99999999999999999999", 1, 14, "does not fit"),
    ("[1, 2].all(model, model > 1)", 1, 8, "is a variable already"),
];

#[test]
fn mistakes_are_refused_with_their_position() {
    let mut wrong = Vec::new();
    for (expression, line, column, part) in REFUSED {
        let error = refusal(expression);
        let position = error.position.unwrap_or_else(|| panic!("{expression}: {error}"));
        let (at, said) = ((position.line, position.column), error.message.contains(part));
        if (at, said) != ((line, column), true) {
            wrong.push(format!("{expression}: {error}, expected {part:?} at {line}:{column}"));
        }
        assert!(expression.is_char_boundary(position.offset), "{expression}: {position:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn columns_count_characters_and_offsets_count_bytes() {
    let position = refusal("// é\n'éé' == 'é' && nope").position.expect("it has one");
    assert_eq!(position, Position { line: 2, column: 16, offset: 24 });
    assert_eq!(refusal("'é' 'é'").position, Some(Position { line: 1, column: 5, offset: 5 }));
}

#[test]
fn error_prints_its_position_and_serialises() {
    let error = refusal("stream &&");
    assert_eq!(error.to_string(), "the expression ends too early (line 1, column 10)");
    let json = serde_json::to_value(&error).expect("it serialises");
    assert_eq!(json["position"], serde_json::json!({"line": 1, "column": 10, "offset": 9}));
    let checked = check_expression("cost_usd > 1 && model == ''").expect("fine");
    assert_eq!(
        serde_json::to_value(checked).expect("so does this")["variables"],
        serde_json::json!(["model", "cost_usd"])
    );
}

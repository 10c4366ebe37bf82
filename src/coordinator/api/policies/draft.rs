//! Reads the body of a new policy and reports all its mistakes at once. Pure, except that the expression is parsed on a thread
//! of its own. It accepts no unknown field.

use serde_json::{Map, Value, json};

use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::{ApiError, ErrorDetail};
use crate::policy::Draft;

/// Reads a draft that may become a policy.
pub(crate) fn read(body: &[u8]) -> Result<Draft, ApiError> {
    let fields = body::object(body)?;
    let mut problems: Vec<ErrorDetail> = REQUIRED
        .iter()
        .filter(|name| !fields.contains_key(**name))
        .map(|name| ErrorDetail::new(*name, "is missing"))
        .collect();
    // Each field is parsed in a draft that is good otherwise. So serde judges every field, and the good ones are checked
    // further even if others have the wrong type.
    let mut good = placeholder();
    for (name, value) in fields {
        let mut alone = placeholder();
        alone.insert(name.clone(), value.clone());
        match serde_json::from_value::<Draft>(Value::Object(alone)) {
            Ok(_) => _ = good.insert(name, value),
            Err(error) => problems.push(ErrorDetail::new(name, error.to_string())),
        }
    }
    let draft: Draft = serde_json::from_value(Value::Object(good))
        .map_err(|error| ApiError::bad("invalid_value", format!("This is not a policy: {error}.")))?;
    if let Err(errors) = draft.check() {
        // A field that is missing or has the wrong type holds a placeholder, whose mistakes do not count.
        let known: Vec<String> = problems.iter().map(|problem| problem.param.clone()).collect();
        problems.extend(
            errors.into_iter().filter(|error| !known.iter().any(|name| name == error.param)).map(ErrorDetail::from),
        );
    }
    if problems.is_empty() { Ok(draft) } else { Err(ApiError::fields(problems)) }
}

const REQUIRED: [&str; 3] = ["name", "expression", "action"];

/// A draft with the required fields only. Its action is a downgrade, which is valid with a target model and without one.
fn placeholder() -> Map<String, Value> {
    let values = [json!("x"), json!("true"), json!("downgrade")];
    REQUIRED.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ApiAnswer;
    use crate::policy::{Action, Mode};

    /// The error's `param` and `code`, and the `param` of each detail.
    fn refusal(body: &Value) -> (Value, Value, Vec<String>) {
        let answer = ApiAnswer::from(read(body.to_string().as_bytes()).unwrap_err());
        let refusal: Value = serde_json::from_slice(&answer.body).unwrap();
        let details = refusal["details"].as_array().into_iter().flatten();
        let params = details.map(|detail| detail["param"].as_str().unwrap().to_owned()).collect();
        (refusal["error"]["param"].clone(), refusal["error"]["code"].clone(), params)
    }

    #[test]
    fn absent_fields_get_their_defaults() {
        let body = json!({ "name": "n", "expression": "cost_usd > 10.0", "action": "block" });
        let draft = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (draft.priority, draft.enabled, draft.mode, draft.action),
            (100, true, Mode::Enforce, Action::Block)
        );
        assert_eq!((draft.description.as_str(), draft.target_model, draft.message), ("", None, None));
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let body = json!({
            "name": " x", "expression": "cost > 1", "action": "blok", "priority": "high", "enabled": 1, "mode": null,
            "colour": "red", "target_model": 5,
        });
        let (_, code, params) = refusal(&body);
        assert_eq!(code, "invalid_value");
        let mut sorted = params.clone();
        sorted.sort();
        assert_eq!(
            sorted,
            ["action", "colour", "enabled", "expression", "mode", "name", "priority", "target_model"],
            "{params:?}"
        );
    }

    #[test]
    fn missing_fields_are_reported_along_with_wrong_ones() {
        let (param, _, params) = refusal(&json!({ "expression": "1 +" }));
        assert_eq!(params, ["name", "action", "expression"]);
        assert_eq!(param, "name");
        assert_eq!(refusal(&json!({})).2, ["name", "expression", "action"]);
    }

    #[test]
    fn target_model_is_refused_without_a_downgrade() {
        let with = |action: &str| json!({ "name": "n", "expression": "true", "action": action, "target_model": "m" });
        assert!(read(with("downgrade").to_string().as_bytes()).is_ok());
        assert_eq!(refusal(&with("block")).2, ["target_model"]);
    }

    #[test]
    fn mistake_in_an_expression_has_its_position() {
        let body = json!({ "name": "n", "expression": "true &&\n  costs > 1", "action": "alert" });
        let answer = ApiAnswer::from(read(body.to_string().as_bytes()).unwrap_err());
        let refusal: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(refusal["details"][0]["position"], json!({ "line": 2, "column": 3, "offset": 10 }));
        let message = refusal["error"]["message"].as_str().unwrap();
        assert!(message.contains("costs") && message.contains("line 2, column 3"), "{message}");
    }

    #[test]
    fn fields_that_the_gateway_sets_are_refused() {
        for field in ["id", "created_at", "updated_at", "matches", "base_url", "provider", "api_key"] {
            let mut body = json!({ "name": "n", "expression": "true", "action": "alert" });
            body[field] = "x".into();
            assert_eq!(refusal(&body).2, [field]);
        }
    }
}

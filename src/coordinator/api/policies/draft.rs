//! The body of a new policy, read so that everything wrong with it is told at once. Pure but for the thread that the
//! expression is parsed on. It never lets a field through that it does not know.

use serde_json::{Map, Value, json};

use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::{ApiError, Detail};
use crate::policy::Draft;

/// A draft that may become a policy.
pub(crate) fn read(body: &[u8]) -> Result<Draft, ApiError> {
    let fields = body::object(body)?;
    let mut problems: Vec<Detail> = REQUIRED
        .iter()
        .filter(|name| !fields.contains_key(**name))
        .map(|name| Detail { param: (*name).to_owned(), message: "is missing".into(), position: None })
        .collect();
    // Each field by itself, in a draft that is good otherwise: so each has serde's own word on it, and the good ones are
    // looked at further even where others are not of their type.
    let mut good = stand_in();
    for (name, value) in fields {
        let mut alone = stand_in();
        alone.insert(name.clone(), value.clone());
        match serde_json::from_value::<Draft>(Value::Object(alone)) {
            Ok(_) => _ = good.insert(name, value),
            Err(error) => problems.push(Detail { param: name, message: error.to_string(), position: None }),
        }
    }
    let draft: Draft = serde_json::from_value(Value::Object(good))
        .map_err(|error| ApiError::bad("invalid_value", format!("This is no policy: {error}.")))?;
    if let Err(errors) = draft.check() {
        // What stands in for a field that is missing or of another type says nothing about it.
        let known: Vec<String> = problems.iter().map(|problem| problem.param.clone()).collect();
        problems
            .extend(errors.into_iter().filter(|error| !known.iter().any(|name| name == error.param)).map(Detail::from));
    }
    if problems.is_empty() { Ok(draft) } else { Err(ApiError::fields(problems)) }
}

const REQUIRED: [&str; 3] = ["name", "expression", "action"];

/// A draft with the required fields alone. A downgrade, because that goes with a target and without.
fn stand_in() -> Map<String, Value> {
    let values = [json!("x"), json!("true"), json!("downgrade")];
    REQUIRED.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ApiAnswer;
    use crate::policy::{Action, Mode};

    /// The error's `param` and `code`, and the params of the details.
    fn refusal(body: &Value) -> (Value, Value, Vec<String>) {
        let answer = ApiAnswer::from(read(body.to_string().as_bytes()).unwrap_err());
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        let details = said["details"].as_array().into_iter().flatten();
        let params = details.map(|detail| detail["param"].as_str().unwrap().to_owned()).collect();
        (said["error"]["param"].clone(), said["error"]["code"].clone(), params)
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let body = json!({ "name": "n", "expression": "cost_usd > 10.0", "action": "block" });
        let draft = read(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (draft.priority, draft.enabled, draft.mode, draft.action),
            (100, true, Mode::Enforce, Action::Block)
        );
        assert_eq!((draft.description.as_str(), draft.target_model, draft.message), ("", None, None));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
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
    fn what_is_missing_is_told_beside_what_is_wrong() {
        let (param, _, params) = refusal(&json!({ "expression": "1 +" }));
        assert_eq!(params, ["name", "action", "expression"]);
        assert_eq!(param, "name");
        assert_eq!(refusal(&json!({})).2, ["name", "expression", "action"]);
    }

    #[test]
    fn a_target_belongs_to_a_downgrade() {
        let with = |action: &str| json!({ "name": "n", "expression": "true", "action": action, "target_model": "m" });
        assert!(read(with("downgrade").to_string().as_bytes()).is_ok());
        assert_eq!(refusal(&with("block")).2, ["target_model"]);
    }

    #[test]
    fn a_mistake_in_the_expression_has_its_place() {
        let body = json!({ "name": "n", "expression": "true &&\n  costs > 1", "action": "alert" });
        let answer = ApiAnswer::from(read(body.to_string().as_bytes()).unwrap_err());
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["details"][0]["position"], json!({ "line": 2, "column": 3, "offset": 10 }));
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains("costs") && message.contains("line 2, column 3"), "{message}");
    }

    #[test]
    fn what_the_gateway_decides_itself_cannot_be_sent() {
        for field in ["id", "created_at", "updated_at", "matches", "base_url", "provider", "api_key"] {
            let mut body = json!({ "name": "n", "expression": "true", "action": "alert" });
            body[field] = "x".into();
            assert_eq!(refusal(&body).2, [field]);
        }
    }
}

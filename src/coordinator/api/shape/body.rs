//! Reads request bodies strictly: a body is one JSON object, and a name that is unknown or occurs twice is refused. Pure; the
//! shard that received the bytes has bounded them. It never guesses a type.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::json::{JsonErrorKind, Walker};

/// Deepest nesting of a body. Arbitrary: bodies of this API are two levels deep.
const DEPTH_MAX: usize = 16;

/// An empty object.
#[derive(JsonSchema)]
#[schemars(rename = "Nothing", deny_unknown_fields)]
pub(crate) struct EmptyBody {}

/// Reads a body that is one JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    // serde_json takes the last of two equal keys; the walker refuses both, at every level.
    let strict = Walker::strict(body, DEPTH_MAX).and_then(|mut walker| walker.skip().and_then(|()| walker.end()));
    if let Err(fault) = strict {
        return Err(match &fault.kind {
            JsonErrorKind::DuplicateKey(name) => {
                ApiError::parameter("duplicate_key", name, "occurs twice in one object")
            }
            JsonErrorKind::TooDeep => ApiError::bad("json_too_deep", format!("The body has {fault}.")),
            _ => ApiError::bad("invalid_json", format!("The body is not valid JSON: {fault}.")),
        });
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad("invalid_type", "The body must be a JSON object.")),
        Err(error) => Err(ApiError::bad("invalid_json", format!("The body is not valid JSON: {error}."))),
    }
}

/// Accepts a body that is empty or an empty object, for operations that need none.
pub(crate) fn expect_empty(body: &[u8]) -> Result<(), ApiError> {
    if body.is_empty() {
        return Ok(());
    }
    match object(body)?.keys().next() {
        Some(name) => Err(ApiError::parameter("unknown_parameter", name, "there is no such field here")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ApiAnswer;

    fn refusal(error: ApiError) -> Value {
        let answer = ApiAnswer::from(error);
        assert_eq!(answer.status, 400);
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn body_that_two_parsers_could_read_differently_is_refused() {
        for (body, code) in [
            ("", "invalid_json"),
            ("{", "invalid_json"),
            ("{} {}", "invalid_json"),
            ("{\"a\":NaN}", "invalid_json"),
            ("{\"a\":1,}", "invalid_json"),
            ("\u{feff}{}", "invalid_json"),
            ("{\"a\":\"\\ud800\"}", "invalid_json"),
            ("{\"a\":1,\"a\":1}", "duplicate_key"),
            ("{\"vars\":{\"b\":1,\"\\u0062\":2}}", "duplicate_key"),
            ("[]", "invalid_type"),
            ("null", "invalid_type"),
            ("\"x\"", "invalid_type"),
        ] {
            assert_eq!(refusal(object(body.as_bytes()).unwrap_err())["error"]["code"], code, "{body}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(refusal(object(deep.as_bytes()).unwrap_err())["error"]["code"], "json_too_deep");
        assert_eq!(object(b"{\"a\":1}").unwrap()["a"], 1);
        assert!(expect_empty(b"").is_ok() && expect_empty(b"{}").is_ok());
        assert_eq!(refusal(expect_empty(b"{\"force\":true}").unwrap_err())["error"]["param"], "force");
    }
}

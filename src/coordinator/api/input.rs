//! What a caller sends, read strictly: query parameters and JSON objects, unknown or doubled names refused by their name.
//! Pure; the bytes are bounded by the shard that took them. It never guesses a type.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::coordinator::store::{PAGE_SIZE_MAX, Paging};
use crate::openai::json::{FaultKind, Walker};

/// Nesting of a body. Arbitrary: what is asked for here is two levels deep.
const DEPTH_MAX: usize = 16;
/// Rows of a page where the caller does not say; CONTRACT, REST API.
const PAGE_SIZE: u32 = 20;

/// The values of the parameters `known`, in that order. One that is not known, or comes twice, is an error.
pub(super) fn query<'q, const N: usize>(
    query: Option<&'q str>,
    known: [&str; N],
) -> Result<[Option<&'q str>; N], ApiError> {
    let mut values = [None; N];
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = known.iter().zip(&mut values).find(|(known, _)| **known == name).map(|(_, place)| place);
        match place {
            None => return Err(ApiError::parameter("unknown_parameter", name, "there is no such parameter here")),
            Some(Some(_)) => return Err(ApiError::parameter("invalid_value", name, "comes twice")),
            Some(place) => *place = Some(value),
        }
    }
    Ok(values)
}

/// Refuses every parameter.
pub(super) fn no_query(given: Option<&str>) -> Result<(), ApiError> {
    query(given, []).map(|[]| ())
}

/// `page` and `page_size`.
pub(super) fn paging(given: Option<&str>) -> Result<Paging, ApiError> {
    let [page, page_size] = query(given, ["page", "page_size"])?;
    Ok(Paging {
        page: number("page", page, 1, u32::MAX)?,
        page_size: number("page_size", page_size, PAGE_SIZE, PAGE_SIZE_MAX)?,
    })
}

fn number(name: &str, given: Option<&str>, default: u32, most: u32) -> Result<u32, ApiError> {
    let Some(given) = given else { return Ok(default) };
    let digits = given.bytes().all(|byte| byte.is_ascii_digit());
    match given.parse() {
        Ok(number) if digits && (1..=most).contains(&number) => Ok(number),
        _ => Err(ApiError::parameter("invalid_value", name, &format!("must be a whole number from 1 to {most}"))),
    }
}

/// A body that is one JSON object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    // serde_json takes the last of two equal keys; the walker refuses them, at every level.
    let strict = Walker::strict(body, DEPTH_MAX).and_then(|mut walker| walker.skip().and_then(|()| walker.end()));
    if let Err(fault) = strict {
        return Err(match &fault.kind {
            FaultKind::DuplicateKey(name) => ApiError::parameter("duplicate_key", name, "comes twice in one object"),
            FaultKind::TooDeep => ApiError::bad("json_too_deep", format!("The body has {fault}.")),
            _ => ApiError::bad("invalid_json", format!("The body is not valid JSON: {fault}.")),
        });
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad("invalid_type", "The body must be a JSON object.")),
        Err(error) => Err(ApiError::bad("invalid_json", format!("The body is not valid JSON: {error}."))),
    }
}

/// A body where none is needed: empty, or an empty object.
pub(super) fn no_body(body: &[u8]) -> Result<(), ApiError> {
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

    fn said(error: ApiError) -> Value {
        let answer = ApiAnswer::from(error);
        assert_eq!(answer.status, 400);
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn parameters_are_named_when_they_are_wrong() {
        for (given, param, code) in [
            ("x=1", "x", "unknown_parameter"),
            ("page=1&size=2", "size", "unknown_parameter"),
            ("page=1&page=1", "page", "invalid_value"),
            ("page=0", "page", "invalid_value"),
            ("page=", "page", "invalid_value"),
            ("page", "page", "invalid_value"),
            ("page=+1", "page", "invalid_value"),
            ("page=1.0", "page", "invalid_value"),
            ("page=4294967296", "page", "invalid_value"),
            ("page_size=201", "page_size", "invalid_value"),
            ("page_size=1%30", "page_size", "invalid_value"),
            ("PAGE=1", "PAGE", "unknown_parameter"),
            ("page=1'--", "page", "invalid_value"),
        ] {
            let error = said(paging(Some(given)).unwrap_err());
            assert_eq!((&error["error"]["param"], &error["error"]["code"]), (&param.into(), &code.into()), "{given}");
        }
        assert_eq!(paging(None).unwrap(), Paging { page: 1, page_size: 20 });
        assert_eq!(paging(Some("")).unwrap(), Paging { page: 1, page_size: 20 });
        assert_eq!(paging(Some("page_size=200&page=7")).unwrap(), Paging { page: 7, page_size: 200 });
        assert!(no_query(Some("x")).is_err() && no_query(None).is_ok());
    }

    #[test]
    fn a_body_is_one_object_that_two_readers_read_alike() {
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
            assert_eq!(said(object(body.as_bytes()).unwrap_err())["error"]["code"], code, "{body}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        assert_eq!(said(object(deep.as_bytes()).unwrap_err())["error"]["code"], "json_too_deep");
        assert_eq!(object(b"{\"a\":1}").unwrap()["a"], 1);
        assert!(no_body(b"").is_ok() && no_body(b"{}").is_ok());
        assert_eq!(said(no_body(b"{\"force\":true}").unwrap_err())["error"]["param"], "force");
    }
}

//! `/mock/…`: tests outside the process arm faults and read the ledger here. These requests get no ledger entry.

use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::api::{Answer, ApiError};
use crate::fault::{CATALOGUE, Fault};

/// Answers a control request. `target` may have a query.
pub(crate) fn answer(shared: &Shared, method: &str, target: &str, body: &[u8]) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        ("GET", "/mock/ledger") => {
            let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
            let Ok(after) = after.map(str::parse).transpose() else {
                return ApiError::invalid("after must be an id").into_answer();
            };
            let ledger = shared.recorder.snapshot(after, ENTRIES_SHOWN);
            match serde_json::to_string(&ledger) {
                Ok(text) => Answer::json(200, &text),
                Err(_) => ApiError::of_status(500).into_answer(),
            }
        }
        ("DELETE", "/mock/ledger") => {
            shared.recorder.reset();
            Answer::json(200, "{}")
        }
        ("GET", "/mock/fault") => Answer::json(200, &json!({ "left": shared.armed.left() }).to_string()),
        ("POST", "/mock/fault") => arm(shared, body),
        ("DELETE", "/mock/fault") => {
            shared.armed.clear();
            Answer::json(200, "{}")
        }
        ("GET", "/mock/faults") => {
            let all = CATALOGUE.iter().map(|(name, arg, effect)| json!({"name": name, "arg": arg, "effect": effect}));
            Answer::json(200, &json!(all.collect::<Vec<_>>()).to_string())
        }
        _ => ApiError::not_found(method, path).into_answer(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    fault: String,
    times: Option<usize>,
}

fn arm(shared: &Shared, body: &[u8]) -> Answer {
    let arm: Arm = match serde_json::from_slice(body) {
        Ok(arm) => arm,
        Err(e) => return ApiError::invalid(&e.to_string()).into_answer(),
    };
    match arm.fault.parse::<Fault>() {
        Ok(fault) => {
            let times = arm.times.unwrap_or(1);
            shared.armed.arm(fault, times);
            Answer::json(200, &json!({ "left": times }).to_string())
        }
        Err(e) => ApiError::invalid(&e.0).into_answer(),
    }
}

/// Most entries in one answer. Arbitrary. `after` asks for the next page.
const ENTRIES_SHOWN: usize = 1_000;

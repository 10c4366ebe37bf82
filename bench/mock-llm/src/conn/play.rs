//! Chooses the answer to a request: an endpoint's, a refusal, or the last one again.

use std::ops::Range;

use crate::Shared;
use crate::api::{Answer, ApiError, Endpoint, models};
use crate::fault::Fault;
use crate::request::{Head, Reader};
use crate::script::Script;
use crate::text::fnv64;

/// An answer, and what it answers.
pub struct Played {
    endpoint: Option<Endpoint>,
    /// No setting but those of the body and the options had a say, so the same body gets the same answer.
    reusable: bool,
    body: Vec<u8>,
    pub body_hash: u64,
    pub answer: Answer,
    /// All settings in force.
    pub script: Script,
}

/// The answer to this request: `last`, if nothing differs. `outer` is what was set nearer than the model's name.
pub fn played_again(
    shared: &Shared,
    reader: &Reader,
    head: &Head,
    body: &Range<usize>,
    outer: Script,
    last: Option<Played>,
) -> Played {
    let body = reader.bytes(body);
    let target = reader.text(&head.target);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let method = reader.text(&head.method);
    let endpoint = Endpoint::of(path).filter(|_| method == "POST");
    let reusable = endpoint.is_some()
        && authorized(shared, reader, head)
        && outer.is_empty()
        && body.len() <= REUSED_BODY_BYTES_MAX;
    if let Some(last) = last
        && reusable
        && last.reusable
        && last.endpoint == endpoint
        && last.body == body
    {
        return last;
    }
    let (answer, script) = match (endpoint, method) {
        _ if !authorized(shared, reader, head) => (ApiError::bad_key().into_answer(), outer.or(&shared.base)),
        (Some(endpoint), _) => endpoint.answer(body, outer, &shared.base),
        (None, "GET" | "HEAD") => (get(method, path), outer.or(&shared.base)),
        (None, _) => (ApiError::not_found(method, path).into_answer(), outer.or(&shared.base)),
    };
    Played {
        endpoint,
        reusable,
        body: if reusable { body.to_vec() } else { Vec::new() },
        body_hash: fnv64(body),
        answer: scripted(answer, script.fault.as_ref()),
        script,
    }
}

fn authorized(shared: &Shared, reader: &Reader, head: &Head) -> bool {
    let Some(key) = &shared.options.require_key else {
        return true;
    };
    let sent = head.authorization.as_ref().map_or("", |range| reader.text(range));
    sent.strip_prefix("Bearer ").is_some_and(|sent| sent.trim() == key)
}

fn get(method: &str, path: &str) -> Answer {
    match path.strip_prefix("/v1/models") {
        Some("") => models::list(),
        Some(id) if id.starts_with('/') => models::one(id.trim_start_matches('/')),
        _ => ApiError::not_found(method, path).into_answer(),
    }
}

/// Faults that are another answer.
fn scripted(answer: Answer, fault: Option<&Fault>) -> Answer {
    let swapped = match fault {
        Some(Fault::Status(status)) => ApiError::of_status(*status).into_answer(),
        Some(Fault::RateLimit(retry_after)) => {
            let refusal = ApiError::of_status(429).into_answer();
            match retry_after {
                Some(when) => refusal.with_header("Retry-After", when.clone()),
                None => refusal,
            }
        }
        Some(Fault::Redirect(to)) => ApiError::of_status(307).into_answer().with_header("Location", to.clone()),
        // Asked for by the model's name: too late to be early.
        Some(Fault::EarlyResponse) => ApiError::of_status(413).into_answer(),
        _ => return answer,
    };
    Answer { model: answer.model, ..swapped }
}

/// Beyond this the comparison's copy is not worth its memory. Arbitrary.
const REUSED_BODY_BYTES_MAX: usize = 1 << 20;

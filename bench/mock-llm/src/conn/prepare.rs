//! Chooses the answer to a request: that of an endpoint, a refusal, or the last one again.

use std::ops::Range;

use crate::Shared;
use crate::api::{Answer, ApiError, Endpoint, models};
use crate::fault::Fault;
use crate::request::{Head, Reader};
use crate::settings::Settings;
use crate::text::fnv64;

/// An answer and the request that it answers.
pub struct Prepared {
    endpoint: Option<Endpoint>,
    /// Whether only the body and the options decided the answer, so that the same body gets the same answer.
    reusable: bool,
    body: Vec<u8>,
    pub body_hash: u64,
    pub answer: Answer,
    /// All settings in force.
    pub settings: Settings,
}

/// A whole request in the reader's buffer.
pub struct Request<'a> {
    pub reader: &'a Reader,
    pub head: &'a Head,
    pub body: &'a Range<usize>,
}

/// The answer to this request, which is `last` if nothing differs. `overrides` take precedence over the model's
/// settings.
pub fn prepare(shared: &Shared, request: &Request<'_>, overrides: Settings, last: Option<Prepared>) -> Prepared {
    let Request { reader, head, body } = *request;
    let body = reader.bytes(body);
    let target = reader.text(&head.target);
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let method = reader.text(&head.method);
    let endpoint = Endpoint::of(path).filter(|_| method == "POST");
    let reusable = endpoint.is_some()
        && authorized(shared, reader, head)
        && overrides.is_empty()
        && body.len() <= REUSED_BODY_BYTES_MAX;
    if let Some(last) = last
        && reusable
        && last.reusable
        && last.endpoint == endpoint
        && last.body == body
    {
        return last;
    }
    let (answer, settings) = match (endpoint, method) {
        _ if !authorized(shared, reader, head) => (ApiError::bad_key().into_answer(), overrides.or(&shared.defaults)),
        (Some(endpoint), _) => endpoint.answer(body, overrides, &shared.defaults),
        (None, "GET" | "HEAD") => (get(method, path), overrides.or(&shared.defaults)),
        (None, _) => (ApiError::not_found(method, path).into_answer(), overrides.or(&shared.defaults)),
    };
    Prepared {
        endpoint,
        reusable,
        body: if reusable { body.to_vec() } else { Vec::new() },
        body_hash: fnv64(body),
        answer: with_fault(answer, settings.fault.as_ref()),
        settings,
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

/// Applies a fault that replaces the answer.
fn with_fault(answer: Answer, fault: Option<&Fault>) -> Answer {
    let replacement = match fault {
        Some(Fault::Status(status)) => ApiError::of_status(*status).into_answer(),
        Some(Fault::RateLimit(retry_after)) => {
            let refusal = ApiError::of_status(429).into_answer();
            match retry_after {
                Some(when) => refusal.with_header("Retry-After", when.clone()),
                None => refusal,
            }
        }
        Some(Fault::Redirect(to)) => ApiError::of_status(307).into_answer().with_header("Location", to.clone()),
        // The fault was set by the model name, which is known only after the body, so the answer cannot be early.
        Some(Fault::EarlyResponse) => ApiError::of_status(413).into_answer(),
        _ => return answer,
    };
    Answer { model: answer.model, ..replacement }
}

/// Longest body that is kept for comparison. Arbitrary: a longer copy would cost more memory than the comparison saves.
const REUSED_BODY_BYTES_MAX: usize = 1 << 20;

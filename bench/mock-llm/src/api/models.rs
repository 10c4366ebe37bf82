//! `GET /v1/models` and `/v1/models/{id}`.

use super::{Answer, ApiError};
use crate::text::quoted;

/// The models that the mock lists. It answers for any other name too.
pub const MODELS: &[&str] = &["gpt-4o", "gpt-4o-mini", "gpt-4.1", "mock-reason-1", "text-embedding-3-small"];

pub fn list() -> Answer {
    let all: Vec<String> = MODELS.iter().map(|id| object(id)).collect();
    Answer::json(200, &format!(r#"{{"object":"list","data":[{}]}}"#, all.join(",")))
}

pub fn one(id: &str) -> Answer {
    if MODELS.contains(&id) {
        return Answer::json(200, &object(id));
    }
    let message = format!("The model '{id}' does not exist");
    ApiError::new(404, "invalid_request_error", Some("model_not_found"), &message).param("model").into_answer()
}

fn object(id: &str) -> String {
    // The release date of the first of them. It is fixed so that answers compare equal.
    format!(r#"{{"id":{},"object":"model","created":1715367049,"owned_by":"mock-llm"}}"#, quoted(id))
}

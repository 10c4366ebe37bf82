//! The provider without faults: request body in, answer out, in the shapes of the OpenAI API. Pure functions, run by
//! connection threads. Never touches a socket, and knows only the faults that change the JSON itself.

// Values that a JSON Schema accepts.
mod schema;

// `/v1/models`.
pub mod models;

// `/v1/chat/completions`.
mod chat;

// `/v1/completions`.
mod completions;

// `/v1/responses`.
mod responses;

// `/v1/embeddings`.
mod embeddings;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::settings::Settings;
use crate::template::Template;
use crate::text::quoted;

/// The correct answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Headers in addition to those of every answer.
    pub headers: Vec<(&'static str, String)>,
    pub template: Template,
    /// Whether the template's parts are server-sent events.
    pub stream: bool,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// The requested model with the settings in its suffix. Empty if the request had no model.
    pub model: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Responses,
}

impl Endpoint {
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/embeddings" => Self::Embeddings,
            "/v1/responses" => Self::Responses,
            _ => return None,
        })
    }

    /// The answer to `body`, and the settings in force. `overrides` take precedence over the model's settings, and
    /// these over the `defaults`.
    pub fn answer(self, body: &[u8], overrides: Settings, defaults: &Settings) -> (Answer, Settings) {
        match self {
            Self::Chat => answer_as::<chat::Request>(body, overrides, defaults),
            Self::Completions => answer_as::<completions::Request>(body, overrides, defaults),
            Self::Embeddings => answer_as::<embeddings::Request>(body, overrides, defaults),
            Self::Responses => answer_as::<responses::Request>(body, overrides, defaults),
        }
    }
}

/// A request to one endpoint.
trait ApiRequest: DeserializeOwned {
    fn model(&self) -> &str;
    fn answer(&self, options: &AnswerOptions) -> Result<Answer, ApiError>;
}

fn answer_as<R: ApiRequest>(body: &[u8], overrides: Settings, defaults: &Settings) -> (Answer, Settings) {
    let request: R = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(e) => {
            let error = ApiError::invalid(&format!("We could not parse the JSON body of your request: {e}"));
            return (error.into_answer(), overrides.or(defaults));
        }
    };
    let settings = match Settings::from_model(request.model()) {
        Ok(of_model) => overrides.or(&of_model).or(defaults),
        Err(e) => {
            return (ApiError::invalid(&e.0).param("model").into_answer(), overrides.or(defaults));
        }
    };
    let answer = request.answer(&AnswerOptions::of(&settings)).unwrap_or_else(ApiError::into_answer);
    (Answer { model: request.model().into(), ..answer }, settings)
}

/// The settings that affect the JSON of an answer.
#[derive(Clone, Copy, Debug)]
struct AnswerOptions {
    words: Option<u32>,
    cached_tokens: u64,
    usage: UsageStyle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsageStyle {
    Correct,
    Missing,
    Negative,
    Huge,
    Text,
}

impl AnswerOptions {
    fn of(settings: &Settings) -> Self {
        let usage = match settings.fault {
            Some(Fault::UsageMissing) => UsageStyle::Missing,
            Some(Fault::UsageNegative) => UsageStyle::Negative,
            Some(Fault::UsageHuge) => UsageStyle::Huge,
            Some(Fault::UsageString) => UsageStyle::Text,
            _ => UsageStyle::Correct,
        };
        Self { words: settings.words, cached_tokens: settings.cached_tokens.unwrap_or(0), usage }
    }
}

/// Token counts of one answer, and how they are reported.
#[derive(Clone, Copy, Debug)]
struct Usage {
    prompt: u64,
    completion: u64,
    cached: u64,
    reasoning: u64,
    style: UsageStyle,
}

impl Usage {
    /// A model with "reason" in its name uses as many reasoning tokens as its answer has tokens.
    fn new(options: &AnswerOptions, model: &str, prompt: u64, answer: u64) -> Self {
        let reasoning = if model.contains("reason") { answer } else { 0 };
        let cached = options.cached_tokens.min(prompt);
        Self { prompt, completion: answer + reasoning, cached, reasoning, style: options.usage }
    }

    fn number(&self, value: u64) -> String {
        match self.style {
            UsageStyle::Negative => format!("-{}", value.max(1)),
            UsageStyle::Huge => (1_u64 << 53).to_string(),
            UsageStyle::Text => format!("\"{value}\""),
            UsageStyle::Correct | UsageStyle::Missing => value.to_string(),
        }
    }

    /// The usage object of the chat, completions and embeddings endpoints. `None` if the fault leaves it out.
    fn json(&self) -> Option<String> {
        let (prompt, completion) = (self.number(self.prompt), self.number(self.completion));
        let total = self.number(self.prompt + self.completion);
        let (cached, reasoning) = (self.number_or_zero(self.cached), self.number_or_zero(self.reasoning));
        (self.style != UsageStyle::Missing).then(|| {
            format!(
                r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
            )
        })
    }

    /// The usage object of the responses endpoint. `None` if the fault leaves it out.
    fn responses_json(&self) -> Option<String> {
        let (input, output) = (self.number(self.prompt), self.number(self.completion));
        let total = self.number(self.prompt + self.completion);
        let (cached, reasoning) = (self.number_or_zero(self.cached), self.number_or_zero(self.reasoning));
        (self.style != UsageStyle::Missing).then(|| {
            format!(
                r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":{cached}}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":{reasoning}}},"total_tokens":{total}}}"#
            )
        })
    }

    /// A detail of zero stays zero under every fault. Only counts are falsified.
    fn number_or_zero(&self, value: u64) -> String {
        if value == 0 { "0".to_owned() } else { self.number(value) }
    }

    fn answer(&self, template: Template, stream: bool) -> Answer {
        Answer {
            status: 200,
            headers: Vec::new(),
            template,
            stream,
            prompt_tokens: self.prompt,
            completion_tokens: self.completion,
            model: "".into(),
        }
    }
}

/// `,"usage":{…}`, to follow other members. Empty without usage.
fn usage_member(usage: Option<String>) -> String {
    usage.map(|usage| format!(",\"usage\":{usage}")).unwrap_or_default()
}

/// A refusal in OpenAI's options.
#[derive(Debug)]
pub struct ApiError {
    pub status: u16,
    pub message: String,
    pub kind: &'static str,
    pub param: Option<&'static str>,
    pub code: Option<&'static str>,
}

impl ApiError {
    pub fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: &str) -> Self {
        Self { status, message: message.to_owned(), kind, param: None, code }
    }

    pub fn invalid(message: &str) -> Self {
        Self::new(400, "invalid_request_error", None, message)
    }

    pub fn not_found(method: &str, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self::new(404, "invalid_request_error", None, &message)
    }

    pub fn bad_key() -> Self {
        let message = "Incorrect API key provided.";
        Self::new(401, "invalid_request_error", Some("invalid_api_key"), message)
    }

    /// The usual error of a provider for this status.
    pub fn of_status(status: u16) -> Self {
        let (kind, code, message) = match status {
            401 => return Self::bad_key(),
            403 => ("invalid_request_error", Some("unsupported_country_region_territory"), "Forbidden."),
            404 => ("invalid_request_error", Some("model_not_found"), "The model does not exist."),
            413 => ("invalid_request_error", None, "The request is too large."),
            429 => ("requests", Some("rate_limit_exceeded"), "Rate limit reached for requests."),
            503 => ("service_unavailable_error", None, "The engine is currently overloaded, please try again later."),
            500.. => ("server_error", None, "The server had an error while processing your request."),
            _ => ("invalid_request_error", None, "The request was not accepted."),
        };
        Self::new(status, kind, code, message)
    }

    fn param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    pub fn json(&self) -> String {
        let optional = |text: Option<&str>| text.map_or("null".to_owned(), quoted);
        format!(
            r#"{{"error":{{"message":{},"type":{},"param":{},"code":{}}}}}"#,
            quoted(&self.message),
            quoted(self.kind),
            optional(self.param),
            optional(self.code)
        )
    }

    pub fn into_answer(self) -> Answer {
        Answer::json(self.status, &self.json())
    }
}

impl Answer {
    /// A JSON answer that used no tokens.
    pub fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            template: Template::plain(body),
            stream: false,
            prompt_tokens: 0,
            completion_tokens: 0,
            model: "".into(),
        }
    }

    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// The content of a message: a text, or parts of which some have text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
        }
    }
}

/// Checks `n`, which OpenAI allows from 1 to 128.
fn choices(n: Option<u64>) -> Result<u64, ApiError> {
    match n.unwrap_or(1) {
        n @ 1..=128 => Ok(n),
        n => Err(ApiError::invalid(&format!("{n} is not between 1 and 128 - 'n'")).param("n")),
    }
}

//! The honest provider: request body in, answer out, in the shapes of the OpenAI API. Pure functions, run by
//! connection threads; nothing here knows of sockets or of faults, except for the few that concern the JSON itself.

mod chat;
mod completions;
mod embeddings;
pub mod models;
mod responses;
mod schema;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fault::Fault;
use crate::script::Script;
use crate::template::Template;
use crate::text::quoted;

/// What an honest provider would send.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Beyond what every answer carries.
    pub headers: Vec<(&'static str, String)>,
    pub template: Template,
    /// The template's parts are server-sent events.
    pub stream: bool,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// As requested, settings behind it included; empty if the request had none.
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

    /// The answer to `body`, and the script in force once the model's name has had its say.
    /// `outer` goes before the model's settings, `base` behind them.
    pub fn answer(self, body: &[u8], outer: Script, base: &Script) -> (Answer, Script) {
        match self {
            Self::Chat => answer_as::<chat::Request>(body, outer, base),
            Self::Completions => answer_as::<completions::Request>(body, outer, base),
            Self::Embeddings => answer_as::<embeddings::Request>(body, outer, base),
            Self::Responses => answer_as::<responses::Request>(body, outer, base),
        }
    }
}

/// A request of one endpoint.
trait Ask: DeserializeOwned {
    fn model(&self) -> &str;
    fn answer(&self, shape: &Shape) -> Result<Answer, ApiError>;
}

fn answer_as<A: Ask>(body: &[u8], outer: Script, base: &Script) -> (Answer, Script) {
    let ask: A = match serde_json::from_slice(body) {
        Ok(ask) => ask,
        Err(e) => {
            let complaint = ApiError::invalid(&format!("We could not parse the JSON body of your request: {e}"));
            return (complaint.into_answer(), outer.or(base));
        }
    };
    let script = match Script::from_model(ask.model()) {
        Ok(named) => outer.or(&named).or(base),
        Err(e) => {
            return (ApiError::invalid(&e.0).param("model").into_answer(), outer.or(base));
        }
    };
    let answer = ask.answer(&Shape::of(&script)).unwrap_or_else(ApiError::into_answer);
    (Answer { model: ask.model().into(), ..answer }, script)
}

/// What a script decides about the JSON of an answer.
#[derive(Clone, Copy, Debug)]
struct Shape {
    words: Option<u32>,
    cached_tokens: u64,
    usage: UsageStyle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsageStyle {
    Honest,
    Missing,
    Negative,
    Huge,
    Text,
}

impl Shape {
    fn of(script: &Script) -> Self {
        let usage = match script.fault {
            Some(Fault::UsageMissing) => UsageStyle::Missing,
            Some(Fault::UsageNegative) => UsageStyle::Negative,
            Some(Fault::UsageHuge) => UsageStyle::Huge,
            Some(Fault::UsageString) => UsageStyle::Text,
            _ => UsageStyle::Honest,
        };
        Self { words: script.words, cached_tokens: script.cached_tokens.unwrap_or(0), usage }
    }
}

/// Token counts of one answer, and how they are written.
#[derive(Clone, Copy, Debug)]
struct Usage {
    prompt: u64,
    completion: u64,
    cached: u64,
    reasoning: u64,
    style: UsageStyle,
}

impl Usage {
    /// A model with "reason" in its name thinks for as many tokens as it then says.
    fn new(shape: &Shape, model: &str, prompt: u64, said: u64) -> Self {
        let reasoning = if model.contains("reason") { said } else { 0 };
        let cached = shape.cached_tokens.min(prompt);
        Self { prompt, completion: said + reasoning, cached, reasoning, style: shape.usage }
    }

    fn number(&self, value: u64) -> String {
        match self.style {
            UsageStyle::Negative => format!("-{}", value.max(1)),
            UsageStyle::Huge => (1_u64 << 53).to_string(),
            UsageStyle::Text => format!("\"{value}\""),
            UsageStyle::Honest | UsageStyle::Missing => value.to_string(),
        }
    }

    /// The object of the chat, completions and embeddings endpoints; `None` if usage is to be missing.
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

    /// The object of the responses endpoint.
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

    /// Details that are zero stay an honest zero, whatever the fault: it is the counts that lie.
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

/// `,"usage":{…}` to put behind other members, or nothing.
fn usage_member(usage: Option<String>) -> String {
    usage.map(|usage| format!(",\"usage\":{usage}")).unwrap_or_default()
}

/// A refusal in OpenAI's shape.
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

    /// What a provider says with `status` when it says nothing particular.
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
    /// A JSON body that used no tokens.
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

/// A message's content: text, or parts of which some are text.
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

/// `n` has to be between 1 and 128, as at OpenAI.
fn choices(n: Option<u64>) -> Result<u64, ApiError> {
    match n.unwrap_or(1) {
        n @ 1..=128 => Ok(n),
        n => Err(ApiError::invalid(&format!("{n} is not between 1 and 128 - 'n'")).param("n")),
    }
}

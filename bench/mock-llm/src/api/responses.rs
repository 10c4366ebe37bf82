//! `POST /v1/responses`: one message of output text, plain or as the event sequence that the real endpoint sends.
//! Tools are accepted and never called.

use serde::Deserialize;

use super::{Answer, AnswerOptions, ApiError, ApiRequest, Content, Usage};
use crate::template::{CREATED, ID, Template};
use crate::text::{ReplyText, quoted, tokens_of_chars};

#[derive(Debug, Deserialize)]
pub struct Request {
    model: String,
    input: Input,
    instructions: Option<String>,
    stream: Option<bool>,
    max_output_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

#[derive(Debug, Deserialize)]
struct Item {
    role: Option<String>,
    content: Option<Content>,
}

impl ApiRequest for Request {
    fn model(&self) -> &str {
        &self.model
    }

    fn answer(&self, options: &AnswerOptions) -> Result<Answer, ApiError> {
        let (prompt, chars) = self.prompt();
        let chars = chars + self.instructions.as_ref().map_or(0, |text| text.chars().count());
        let reply = ReplyText::reply(&prompt, 0, options.words, self.max_output_tokens);
        let usage = Usage::new(options, &self.model, tokens_of_chars(chars), reply.tokens());
        let stream = self.stream.unwrap_or(false);
        let template =
            if stream { self.events(&reply, &usage) } else { Template::plain(&self.finished(&reply, &usage)) };
        Ok(usage.answer(template, stream))
    }
}

impl Request {
    /// The text of the last message by a user, and the characters of the whole input.
    fn prompt(&self) -> (String, usize) {
        let items = match &self.input {
            Input::Text(text) => return (text.clone(), text.chars().count()),
            Input::Items(items) => items,
        };
        let text = |item: &Item| item.content.as_ref().map(Content::text).unwrap_or_default();
        let of_user = items.iter().rfind(|item| item.role.as_deref() == Some("user")).or(items.last());
        (of_user.map(text).unwrap_or_default(), items.iter().map(|item| text(item).chars().count()).sum())
    }

    /// The response object. `output` and `usage` are JSON.
    fn object(&self, status: &str, incomplete: bool, output: &str, usage: &str) -> String {
        let details = if incomplete { r#"{"reason":"max_output_tokens"}"# } else { "null" };
        let limit = self.max_output_tokens.map_or("null".to_owned(), |most| most.to_string());
        let instructions = self.instructions.as_deref().map_or("null".to_owned(), quoted);
        format!(
            r#"{{"id":"resp_{ID}","object":"response","created_at":{CREATED},"status":"{status}","background":false,"error":null,"incomplete_details":{details},"instructions":{instructions},"max_output_tokens":{limit},"model":{},"output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"service_tier":"default","store":false,"temperature":1.0,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#,
            quoted(&self.model)
        )
    }

    fn finished(&self, reply: &ReplyText, usage: &Usage) -> String {
        let status = if reply.truncated { "incomplete" } else { "completed" };
        let usage = usage.responses_json().unwrap_or("null".to_owned());
        self.object(status, reply.truncated, &message(status, &part(&reply.text)), &usage)
    }

    fn events(&self, reply: &ReplyText, usage: &Usage) -> Template {
        let mut events = Events::default();
        let started = self.object("in_progress", false, "", "null");
        let place = format!(r#""item_id":"msg_{ID}","output_index":0,"content_index":0"#);
        let status = if reply.truncated { "incomplete" } else { "completed" };
        let (text, whole) = (quoted(&reply.text), part(&reply.text));

        events.push("response.created", &format!(r#""response":{started}"#));
        events.push("response.in_progress", &format!(r#""response":{started}"#));
        let empty = message("in_progress", "");
        events.push("response.output_item.added", &format!(r#""output_index":0,"item":{empty}"#));
        events.push("response.content_part.added", &format!(r#"{place},"part":{}"#, part("")));
        for piece in reply.pieces() {
            let delta = quoted(piece);
            events.push("response.output_text.delta", &format!(r#"{place},"delta":{delta},"logprobs":[]"#));
        }
        events.push("response.output_text.done", &format!(r#"{place},"text":{text},"logprobs":[]"#));
        events.push("response.content_part.done", &format!(r#"{place},"part":{whole}"#));
        let item = message(status, &whole);
        events.push("response.output_item.done", &format!(r#""output_index":0,"item":{item}"#));
        let response = self.finished(reply, usage);
        events.push(&format!("response.{status}"), &format!(r#""response":{response}"#));
        events.template
    }
}

/// The events of a stream, numbered by `sequence_number`.
#[derive(Default)]
struct Events {
    template: Template,
    sequence: u64,
}

impl Events {
    fn push(&mut self, name: &str, members: &str) {
        let sequence = self.sequence;
        self.template.push_named_event(name, &format!(r#"{{"type":"{name}","sequence_number":{sequence},{members}}}"#));
        self.sequence += 1;
    }
}

fn message(status: &str, content: &str) -> String {
    format!(r#"{{"id":"msg_{ID}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#)
}

fn part(text: &str) -> String {
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{}}}"#, quoted(text))
}

//! `POST /v1/chat/completions`: an answer of words or of JSON, or a tool call, plain or as a stream.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Answer, AnswerOptions, ApiError, ApiRequest, Content, StreamOptions, Usage, choices, schema, usage_member,
};
use crate::template::{CREATED, ID, Template};
use crate::text::{ReplyText, quoted, tokens, tokens_of_chars};

#[derive(Debug, Deserialize)]
pub struct Request {
    model: String,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<Value>,
    response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
struct Tool {
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Value,
}

/// The content of one choice.
enum ChoiceContent {
    Words(ReplyText),
    Call { tool: String, arguments: ReplyText },
}

impl ApiRequest for Request {
    fn model(&self) -> &str {
        &self.model
    }

    fn answer(&self, options: &AnswerOptions) -> Result<Answer, ApiError> {
        if self.messages.is_empty() {
            let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
            return Err(ApiError::invalid(message).param("messages"));
        }
        let texts: Vec<String> =
            self.messages.iter().map(|m| m.content.as_ref().map(Content::text).unwrap_or_default()).collect();
        let prompt = self.prompt(&texts);
        let contents: Vec<ChoiceContent> =
            (0..choices(self.n)?).map(|choice| self.content_of(prompt, choice, options)).collect();
        let prompt_tokens = tokens_of_chars(texts.iter().map(|text| text.chars().count()).sum());
        let usage = Usage::new(options, &self.model, prompt_tokens, contents.iter().map(ChoiceContent::tokens).sum());
        let stream = self.stream.unwrap_or(false);
        let template = if stream { self.events(&contents, &usage) } else { self.plain(&contents, &usage) };
        Ok(usage.answer(template, stream))
    }
}

impl Request {
    /// The text of the last message by a user, or of the last message if there is none.
    fn prompt<'a>(&self, texts: &'a [String]) -> &'a str {
        let of_user = self.messages.iter().rposition(|message| message.role == "user");
        of_user.and_then(|at| texts.get(at)).or(texts.last()).map_or("", String::as_str)
    }

    fn content_of(&self, prompt: &str, choice: u64, options: &AnswerOptions) -> ChoiceContent {
        if let Some(function) = self.tool_to_call(prompt) {
            let arguments = schema::instance(&function.parameters, "Paris").to_string();
            return ChoiceContent::Call { tool: function.name.clone(), arguments: ReplyText::literal(arguments) };
        }
        let words_max = self.max_completion_tokens.or(self.max_tokens);
        let reply = ReplyText::reply(prompt, choice, options.words, words_max);
        let format = self.response_format.as_ref();
        ChoiceContent::Words(match format.and_then(|format| format.get("type")).and_then(Value::as_str) {
            Some("json_object") => ReplyText::literal(serde_json::json!({ "answer": reply.text }).to_string()),
            Some("json_schema") => {
                let schema = format.and_then(|format| format.pointer("/json_schema/schema")).unwrap_or(&Value::Null);
                ReplyText::literal(schema::instance(schema, &reply.text).to_string())
            }
            _ => reply,
        })
    }

    /// The tool to call: the one that `tool_choice` demands, or the first one if the last message is a user's and asks
    /// about the weather.
    fn tool_to_call(&self, prompt: &str) -> Option<&Function> {
        let functions = || self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref());
        let asks_about_weather =
            self.messages.last().is_some_and(|last| last.role == "user") && prompt.to_lowercase().contains("weather");
        match &self.tool_choice {
            Some(Value::String(choice)) if choice == "none" => None,
            Some(Value::String(choice)) if choice == "required" => functions().next(),
            Some(named @ Value::Object(_)) => {
                let name = named.pointer("/function/name").and_then(Value::as_str);
                functions().find(|function| Some(function.name.as_str()) == name)
            }
            _ if asks_about_weather => functions().next(),
            _ => None,
        }
    }

    fn plain(&self, contents: &[ChoiceContent], usage: &Usage) -> Template {
        let choices: Vec<String> = contents
            .iter()
            .enumerate()
            .map(|(index, content)| {
                let (message, reason) = (content.message(index), content.finish_reason());
                format!(r#"{{"index":{index},"message":{message},"logprobs":null,"finish_reason":"{reason}"}}"#)
            })
            .collect();
        Template::plain(&format!(
            r#"{{"id":"chatcmpl-{ID}","object":"chat.completion","created":{CREATED},"model":{},"choices":[{}]{},"service_tier":"default","system_fingerprint":"fp_mock"}}"#,
            quoted(&self.model),
            choices.join(","),
            usage_member(usage.json()),
        ))
    }

    fn events(&self, contents: &[ChoiceContent], usage: &Usage) -> Template {
        let include_usage = self.stream_options.as_ref().is_some_and(|options| options.include_usage);
        let model = quoted(&self.model);
        let mut template = Template::default();
        let mut chunk = |choices: &str, usage: &str| {
            template.push_event(&format!(
                r#"{{"id":"chatcmpl-{ID}","object":"chat.completion.chunk","created":{CREATED},"model":{model},"service_tier":"default","system_fingerprint":"fp_mock","choices":[{choices}]{usage}}}"#
            ));
        };
        let no_usage = if include_usage { r#","usage":null"# } else { "" };
        for (index, content) in contents.iter().enumerate() {
            for delta in content.deltas(index) {
                let choice = format!(r#"{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":null}}"#);
                chunk(&choice, no_usage);
            }
            let reason = content.finish_reason();
            let choice = format!(r#"{{"index":{index},"delta":{{}},"logprobs":null,"finish_reason":"{reason}"}}"#);
            chunk(&choice, no_usage);
        }
        if let (true, Some(usage)) = (include_usage, usage.json()) {
            chunk("", &format!(",\"usage\":{usage}"));
        }
        template.push_event("[DONE]");
        template
    }
}

impl ChoiceContent {
    fn tokens(&self) -> u64 {
        match self {
            Self::Words(reply) => reply.tokens(),
            Self::Call { tool, arguments } => tokens(&format!("{tool}{}", arguments.text)),
        }
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Self::Words(reply) if reply.truncated => "length",
            Self::Words(_) => "stop",
            Self::Call { .. } => "tool_calls",
        }
    }

    fn message(&self, index: usize) -> String {
        match self {
            Self::Words(reply) => {
                let content = quoted(&reply.text);
                format!(r#"{{"role":"assistant","content":{content},"refusal":null,"annotations":[]}}"#)
            }
            Self::Call { tool, arguments } => format!(
                r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"call_{ID}{index}","type":"function","function":{{"name":{},"arguments":{}}}}}],"refusal":null,"annotations":[]}}"#,
                quoted(tool),
                quoted(&arguments.text),
            ),
        }
    }

    /// The `delta` objects: first the role, then each piece.
    fn deltas(&self, index: usize) -> Vec<String> {
        match self {
            Self::Words(reply) => {
                let role = r#"{"role":"assistant","content":"","refusal":null}"#.to_owned();
                let pieces = reply.pieces().map(|piece| format!(r#"{{"content":{}}}"#, quoted(piece)));
                std::iter::once(role).chain(pieces).collect()
            }
            Self::Call { tool, arguments } => {
                let call = format!(
                    r#"{{"role":"assistant","content":null,"tool_calls":[{{"index":0,"id":"call_{ID}{index}","type":"function","function":{{"name":{},"arguments":""}}}}],"refusal":null}}"#,
                    quoted(tool),
                );
                let pieces = arguments.pieces().map(|piece| {
                    format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":{}}}}}]}}"#, quoted(piece))
                });
                std::iter::once(call).chain(pieces).collect()
            }
        }
    }
}

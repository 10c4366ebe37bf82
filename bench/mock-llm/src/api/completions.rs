//! `POST /v1/completions`: the older endpoint, which takes and returns text.

use serde::Deserialize;

use super::{Answer, AnswerOptions, ApiError, ApiRequest, StreamOptions, Usage, choices, usage_member};
use crate::template::{CREATED, ID, Template};
use crate::text::{ReplyText, quoted, tokens};

#[derive(Debug, Deserialize)]
pub struct Request {
    model: String,
    prompt: Option<Prompt>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    max_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    One(String),
    Many(Vec<String>),
}

impl ApiRequest for Request {
    fn model(&self) -> &str {
        &self.model
    }

    fn answer(&self, options: &AnswerOptions) -> Result<Answer, ApiError> {
        let prompts: &[String] = match &self.prompt {
            None => &[],
            Some(Prompt::One(text)) => std::slice::from_ref(text),
            Some(Prompt::Many(texts)) => texts,
        };
        let n = choices(self.n)?;
        let reply = |prompt: &String, choice| ReplyText::reply(prompt, choice, options.words, self.max_tokens);
        let replies: Vec<ReplyText> =
            prompts.iter().flat_map(|prompt| (0..n).map(move |choice| reply(prompt, choice))).collect();
        let prompt_tokens = prompts.iter().map(|prompt| tokens(prompt)).sum::<u64>().max(1);
        let usage = Usage::new(options, &self.model, prompt_tokens, replies.iter().map(ReplyText::tokens).sum());
        let stream = self.stream.unwrap_or(false);
        let template = if stream { self.events(&replies, &usage) } else { self.plain(&replies, &usage) };
        Ok(usage.answer(template, stream))
    }
}

impl Request {
    fn plain(&self, replies: &[ReplyText], usage: &Usage) -> Template {
        let choices: Vec<String> = replies
            .iter()
            .enumerate()
            .map(|(index, reply)| choice(index, &reply.text, &format!("\"{}\"", finish_reason(reply))))
            .collect();
        Template::plain(&self.object(&choices.join(","), &usage_member(usage.json())))
    }

    fn events(&self, replies: &[ReplyText], usage: &Usage) -> Template {
        let include_usage = self.stream_options.as_ref().is_some_and(|options| options.include_usage);
        let no_usage = if include_usage { r#","usage":null"# } else { "" };
        let mut template = Template::default();
        for (index, reply) in replies.iter().enumerate() {
            for piece in reply.pieces() {
                template.push_event(&self.object(&choice(index, piece, "null"), no_usage));
            }
            let end = choice(index, "", &format!("\"{}\"", finish_reason(reply)));
            template.push_event(&self.object(&end, no_usage));
        }
        if let (true, Some(usage)) = (include_usage, usage.json()) {
            template.push_event(&self.object("", &format!(",\"usage\":{usage}")));
        }
        template.push_event("[DONE]");
        template
    }

    fn object(&self, choices: &str, usage: &str) -> String {
        let model = quoted(&self.model);
        format!(
            r#"{{"id":"cmpl-{ID}","object":"text_completion","created":{CREATED},"model":{model},"choices":[{choices}]{usage}}}"#
        )
    }
}

/// One choice. `reason` is JSON.
fn choice(index: usize, text: &str, reason: &str) -> String {
    format!(r#"{{"text":{},"index":{index},"logprobs":null,"finish_reason":{reason}}}"#, quoted(text))
}

fn finish_reason(reply: &ReplyText) -> &'static str {
    if reply.truncated { "length" } else { "stop" }
}

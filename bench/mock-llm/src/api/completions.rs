//! `POST /v1/completions`: the older endpoint, text in and text out.

use serde::Deserialize;

use super::{Answer, ApiError, Ask, Shape, StreamOptions, Usage, choices, usage_member};
use crate::template::{CREATED, ID, Template};
use crate::text::{Speech, quoted, tokens};

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

impl Ask for Request {
    fn model(&self) -> &str {
        &self.model
    }

    fn answer(&self, shape: &Shape) -> Result<Answer, ApiError> {
        let prompts: &[String] = match &self.prompt {
            None => &[],
            Some(Prompt::One(text)) => std::slice::from_ref(text),
            Some(Prompt::Many(texts)) => texts,
        };
        let n = choices(self.n)?;
        let reply = |prompt: &String, choice| Speech::reply(prompt, choice, shape.words, self.max_tokens);
        let said: Vec<Speech> =
            prompts.iter().flat_map(|prompt| (0..n).map(move |choice| reply(prompt, choice))).collect();
        let prompt_tokens = prompts.iter().map(|prompt| tokens(prompt)).sum::<u64>().max(1);
        let usage = Usage::new(shape, &self.model, prompt_tokens, said.iter().map(Speech::tokens).sum());
        let stream = self.stream.unwrap_or(false);
        let template = if stream { self.events(&said, &usage) } else { self.whole(&said, &usage) };
        Ok(usage.answer(template, stream))
    }
}

impl Request {
    fn whole(&self, said: &[Speech], usage: &Usage) -> Template {
        let choices: Vec<String> = said
            .iter()
            .enumerate()
            .map(|(index, speech)| choice(index, &speech.text, &format!("\"{}\"", finish_reason(speech))))
            .collect();
        Template::plain(&self.object(&choices.join(","), &usage_member(usage.json())))
    }

    fn events(&self, said: &[Speech], usage: &Usage) -> Template {
        let include_usage = self.stream_options.as_ref().is_some_and(|options| options.include_usage);
        let no_usage = if include_usage { r#","usage":null"# } else { "" };
        let mut template = Template::default();
        for (index, speech) in said.iter().enumerate() {
            for piece in speech.pieces() {
                template.data(&self.object(&choice(index, piece, "null"), no_usage));
            }
            let end = choice(index, "", &format!("\"{}\"", finish_reason(speech)));
            template.data(&self.object(&end, no_usage));
        }
        if let (true, Some(usage)) = (include_usage, usage.json()) {
            template.data(&self.object("", &format!(",\"usage\":{usage}")));
        }
        template.data("[DONE]");
        template
    }

    fn object(&self, choices: &str, usage: &str) -> String {
        let model = quoted(&self.model);
        format!(
            r#"{{"id":"cmpl-{ID}","object":"text_completion","created":{CREATED},"model":{model},"choices":[{choices}]{usage}}}"#
        )
    }
}

/// One choice; `reason` is JSON.
fn choice(index: usize, text: &str, reason: &str) -> String {
    format!(r#"{{"text":{},"index":{index},"logprobs":null,"finish_reason":{reason}}}"#, quoted(text))
}

fn finish_reason(speech: &Speech) -> &'static str {
    if speech.cut { "length" } else { "stop" }
}

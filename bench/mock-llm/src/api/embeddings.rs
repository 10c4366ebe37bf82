//! `POST /v1/embeddings`: unit vectors that depend only on the text.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, AnswerOptions, ApiError, ApiRequest, Usage, usage_member};
use crate::template::Template;
use crate::text::{base64, fnv64, quoted, tokens};

#[derive(Debug, Deserialize)]
pub struct Request {
    model: String,
    input: Value,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

impl ApiRequest for Request {
    fn model(&self) -> &str {
        &self.model
    }

    fn answer(&self, options: &AnswerOptions) -> Result<Answer, ApiError> {
        let dimensions = match self.dimensions.unwrap_or(DIMENSIONS) {
            wanted @ 1..=DIMENSIONS_MAX => wanted,
            wanted => {
                let message = format!("{wanted} is not between 1 and {DIMENSIONS_MAX} - 'dimensions'");
                return Err(ApiError::invalid(&message).param("dimensions"));
            }
        };
        let inputs = self.inputs().ok_or_else(|| ApiError::invalid("'input' is not valid.").param("input"))?;
        let in_base64 = self.encoding_format.as_deref() == Some("base64");
        let data: Vec<String> = inputs
            .iter()
            .enumerate()
            .map(|(index, (seed, _))| {
                let vector = vector(*seed, dimensions);
                let coded = if in_base64 { base64_floats(&vector) } else { json_numbers(&vector) };
                format!(r#"{{"object":"embedding","index":{index},"embedding":{coded}}}"#)
            })
            .collect();
        let usage = Usage::new(options, "", inputs.iter().map(|(_, tokens)| tokens).sum(), 0);
        // Embeddings have no completion, so the real object has only these two counts.
        let (prompt, total) = (usage.number(usage.prompt), usage.number(usage.prompt));
        let counts = usage.json().map(|_| format!(r#"{{"prompt_tokens":{prompt},"total_tokens":{total}}}"#));
        let body = format!(
            r#"{{"object":"list","data":[{}],"model":{}{}}}"#,
            data.join(","),
            quoted(&self.model),
            usage_member(counts)
        );
        Ok(usage.answer(Template::plain(&body), false))
    }
}

impl Request {
    /// Seed and token count of each input. An input is a text or an array of tokens.
    fn inputs(&self) -> Option<Vec<(u64, u64)>> {
        let one = |input: &Value| match input {
            Value::String(text) => Some((fnv64(text.as_bytes()), tokens(text))),
            Value::Array(numbers) if !numbers.is_empty() && numbers.iter().all(Value::is_u64) => {
                Some((fnv64(input.to_string().as_bytes()), numbers.len() as u64))
            }
            _ => None,
        };
        match &self.input {
            Value::Array(many) if !many.iter().any(Value::is_u64) => {
                many.iter().map(one).collect::<Option<Vec<_>>>().filter(|inputs| !inputs.is_empty())
            }
            single => one(single).map(|input| vec![input]),
        }
    }
}

/// A unit vector of splitmix64's outputs for this seed.
fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let mut state = seed;
    let raw: Vec<f64> = (0..dimensions)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
        .collect();
    let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.iter().map(|x| (x / length) as f32).collect()
}

fn json_numbers(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(|x| format!("{x:.8}")).collect();
    format!("[{}]", numbers.join(","))
}

/// Little-endian floats in base64.
fn base64_floats(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    format!("\"{}\"", base64(&bytes))
}

/// Default dimensions: those of text-embedding-3-small.
const DIMENSIONS: usize = 1536;
/// Most dimensions: those of text-embedding-3-large.
const DIMENSIONS_MAX: usize = 3072;

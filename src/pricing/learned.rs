//! Estimates the size of a request from earlier answers of the same model.
//! Owned by one shard. It never holds more than twice [`MODELS_MAX`] models, and knows nothing about prices.

use hashbrown::HashMap;

use crate::llm::Usage;

/// The expected size of a request and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Bytes per token and the typical length of an answer for each model.
#[derive(Debug, Default)]
pub struct Learned {
    /// Models that answered recently.
    young: HashMap<Box<str>, Typical>,
    /// The previous generation. It is dropped when `young` is full and takes its place.
    old: HashMap<Box<str>, Typical>,
}

/// Running means: plain ones over the first answers, exponentially weighted after [`MEMORY`] of them.
#[derive(Clone, Copy, Debug)]
struct Typical {
    bytes_per_token: f64,
    output_tokens: f64,
    /// Answers in the means, up to [`MEMORY`]. The start values count as one answer.
    answers: u32,
}

const START: Typical = Typical { bytes_per_token: 4.0, output_tokens: 256.0, answers: 1 };

impl Learned {
    /// Estimates the input from the length of the body, and the output from the caller's limit or, without one, from the
    /// typical answer of the model.
    pub fn estimate(&self, model: &str, body_bytes: usize, output_tokens_max: Option<u64>) -> Estimate {
        let typical = self.young.get(model).or_else(|| self.old.get(model)).unwrap_or(&START);
        // Dividend and divisor are finite and positive, and the cast saturates.
        let input_tokens = (body_bytes as f64 / typical.bytes_per_token).ceil() as u64;
        let output_tokens = output_tokens_max.unwrap_or(typical.output_tokens.round() as u64);
        Estimate { input_tokens, output_tokens: output_tokens.min(OUTPUT_TOKENS_MAX) }
    }

    /// Updates the means with an answer. Figures that the provider did not state itself are ignored.
    pub fn learn(&mut self, model: &str, body_bytes: usize, usage: &Usage) {
        if usage.flawed || usage.input == 0 || body_bytes == 0 {
            return;
        }
        if let Some(typical) = self.young.get_mut(model) {
            return typical.learn(body_bytes, usage);
        }
        let mut typical = self.old.remove(model).unwrap_or(START);
        typical.learn(body_bytes, usage);
        if self.young.len() >= MODELS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(model.into(), typical);
    }

    /// The number of models in both generations.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Typical {
    fn learn(&mut self, body_bytes: usize, usage: &Usage) {
        let [least, most] = BYTES_PER_TOKEN;
        let bytes_per_token = (body_bytes as f64 / usage.input as f64).clamp(least, most);
        let output_tokens = usage.output.min(OUTPUT_TOKENS_MAX) as f64;
        self.answers = (self.answers + 1).min(MEMORY);
        let weight = 1.0 / f64::from(self.answers);
        self.bytes_per_token += weight * (bytes_per_token - self.bytes_per_token);
        self.output_tokens += weight * (output_tokens - self.output_tokens);
    }
}

/// Range to which the ratio of one answer is clamped. A body also holds field names and escapes, and images take many
/// bytes for few tokens: a ratio outside says little about the next text. Arbitrary; text lies between 1 (Chinese, with
/// three bytes per character) and 8.
const BYTES_PER_TOKEN: [f64; 2] = [1.0, 16.0];
/// Largest answer that an estimate expects, whatever limit the caller sets. The model's own limit in the price table can
/// lower it further. Arbitrary: more than twice what any model of 2026 generates.
const OUTPUT_TOKENS_MAX: u64 = 1 << 20;
/// Number of answers that the means cover, roughly. Arbitrary: fewer make estimates jump, more make them slow to follow
/// a change.
const MEMORY: u32 = 32;
/// Models in one generation. Arbitrary, but there must be a limit: callers may invent any number of model names for a
/// provider with a wildcard.
const MODELS_MAX: usize = 1_024;

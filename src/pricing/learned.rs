//! What a shard learned of its models from their answers, for estimates before the next call.
//! Owned by one shard. It never holds more than twice [`MODELS_MAX`] models, and knows nothing of prices.

use hashbrown::HashMap;

use crate::llm::Usage;

/// A request's size before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// Bytes per token and the typical length of an answer, by model.
#[derive(Debug, Default)]
pub struct Learned {
    /// Those of whom an answer came lately.
    young: HashMap<Box<str>, Typical>,
    /// Those who were young before them; when the young are too many, these are forgotten.
    old: HashMap<Box<str>, Typical>,
}

/// Exponentially weighted means.
#[derive(Clone, Copy, Debug)]
struct Typical {
    bytes_per_token: f64,
    output_tokens: f64,
    /// Answers that went in; the start values are worth one.
    answers: u32,
}

const START: Typical = Typical { bytes_per_token: 4.0, output_tokens: 256.0, answers: 1 };

impl Learned {
    /// The prompt's length from the body's; the answer's from what the caller asked for at most, otherwise from the
    /// model's typical one.
    pub fn estimate(&self, model: &str, body_bytes: usize, max_tokens: Option<u64>) -> Estimate {
        let typical = self.young.get(model).or_else(|| self.old.get(model)).unwrap_or(&START);
        // Both divisor and dividend are finite and positive; the cast saturates.
        let input_tokens = (body_bytes as f64 / typical.bytes_per_token).ceil() as u64;
        let output_tokens = max_tokens.unwrap_or(typical.output_tokens.round() as u64);
        Estimate { input_tokens, output_tokens: output_tokens.min(OUTPUT_TOKENS_MAX) }
    }

    /// An answer came. Figures that the provider did not really give teach nothing.
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

    /// How many models it knows.
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

/// What one answer may teach. A body also holds field names and escapes, and pictures are many bytes for few tokens: what
/// lies outside says little about the next text. Arbitrary; text lies between 1 (Chinese, three bytes a sign) and 8.
const BYTES_PER_TOKEN: [f64; 2] = [1.0, 16.0];
/// Tokens that an answer is believed to have at most, whatever the caller asks for; a price with a limit of its own sets
/// it lower. Arbitrary: more than twice what any model of 2026 makes.
const OUTPUT_TOKENS_MAX: u64 = 1 << 20;
/// The mean is over about so many answers. Arbitrary.
const MEMORY: u32 = 32;
/// Arbitrary: a wildcard provider may be asked for any number of names.
const MODELS_MAX: usize = 1_024;

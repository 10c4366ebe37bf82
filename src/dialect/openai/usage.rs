//! What an answer says it used, found in passing while the answer goes by.
//! One scan per answer, owned by its shard. It never holds more than [`CAPTURE_BYTES_MAX`] bytes, never changes or
//! judges the answer, and believes no figure: what is missing, absurd or contradictory is clamped and flagged.

use crate::json::scan::{InString, InStructure, find};
use crate::json::{Text, Value, Walker};
use crate::llm::MODEL_BYTES_MAX;

#[cfg(test)]
mod tests;

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read, cached ones included. `prompt_tokens` or `input_tokens`.
    pub prompt: u64,
    /// Tokens made, those of reasoning included. `completion_tokens` or `output_tokens`.
    pub completion: u64,
    /// At least the sum of both.
    pub total: u64,
    /// Part of `prompt`.
    pub cached: u64,
    /// Part of `completion`.
    pub reasoning: u64,
    /// The provider's figures lacked a part, or one was no whole number from 0 to 2⁵³, or they did not add up.
    pub flawed: bool,
}

impl Usage {
    /// Four bytes a token, where the provider did not say: what OpenAI's documentation gives for English.
    pub fn estimated(prompt_bytes: usize, completion_chars: usize) -> Usage {
        let tokens = |text: usize| (text as u64).div_ceil(4);
        let (prompt, completion) = (tokens(prompt_bytes), tokens(completion_chars));
        Usage { prompt, completion, total: prompt + completion, flawed: true, ..Usage::default() }
    }

    /// Adds another request's tokens; the sum is flawed if a part is.
    pub fn add(&mut self, other: &Usage) {
        self.prompt = self.prompt.saturating_add(other.prompt);
        self.completion = self.completion.saturating_add(other.completion);
        self.total = self.total.saturating_add(other.total);
        self.cached = self.cached.saturating_add(other.cached);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.flawed |= other.flawed;
    }

    /// Reads the value of a `usage` member. `None` if it is null; anything that is no object is all zeros and flawed.
    pub fn of_value(json: &[u8]) -> Option<Usage> {
        let flawed = Usage { flawed: true, ..Usage::default() };
        let Ok(mut walker) = Walker::lenient(json) else {
            return Some(flawed);
        };
        if walker.peek() == Some(b'n') {
            return walker.value().is_err().then_some(flawed);
        }
        Some(Figures::read(&mut walker).map_or(flawed, Figures::settle))
    }
}

/// As stated, before anything is made of it.
#[derive(Default)]
struct Figures {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    flawed: bool,
}

impl Figures {
    fn read(walker: &mut Walker<'_>) -> Option<Figures> {
        let mut figures = Figures::default();
        walker.open_object().ok()?;
        while let Some(key) = walker.next_key().ok()? {
            match key.decode().as_ref() {
                "prompt_tokens" | "input_tokens" => figures.prompt = figures.figure(walker)?.or(figures.prompt),
                "completion_tokens" | "output_tokens" => {
                    figures.completion = figures.figure(walker)?.or(figures.completion);
                }
                "total_tokens" => figures.total = figures.figure(walker)?,
                "prompt_tokens_details" | "input_tokens_details" => {
                    figures.cached = figures.detail(walker, "cached_tokens")?.or(figures.cached);
                }
                "completion_tokens_details" | "output_tokens_details" => {
                    figures.reasoning = figures.detail(walker, "reasoning_tokens")?.or(figures.reasoning);
                }
                _ => walker.skip().ok()?,
            }
        }
        walker.end().ok()?;
        Some(figures)
    }

    fn detail(&mut self, walker: &mut Walker<'_>, name: &str) -> Option<Option<u64>> {
        if walker.peek() != Some(b'{') {
            let (_, value) = walker.value().ok()?;
            self.flawed |= value != Value::Null;
            return Some(None);
        }
        walker.open_object().ok()?;
        let mut found = None;
        while let Some(key) = walker.next_key().ok()? {
            if key.decode() == name {
                found = self.figure(walker)?;
            } else {
                walker.skip().ok()?;
            }
        }
        Some(found)
    }

    /// The outer `None` is broken JSON, the inner one null.
    fn figure(&mut self, walker: &mut Walker<'_>) -> Option<Option<u64>> {
        let (figure, sound) = match walker.value().ok()?.1 {
            Value::Null => return Some(None),
            Value::Number(raw) => clamp(raw),
            _ => (0, false),
        };
        self.flawed |= !sound;
        Some(Some(figure))
    }

    /// Fills what is missing from the rest, and makes the parts fit the wholes.
    fn settle(self) -> Usage {
        let mut flawed = self.flawed;
        let (prompt, completion) = match (self.prompt, self.completion, self.total) {
            (Some(prompt), Some(completion), _) => (prompt, completion),
            // Embeddings make no tokens, and do not say so.
            (Some(prompt), None, Some(total)) if prompt == total => (prompt, 0),
            (prompt, completion, total) => {
                flawed = true;
                let rest = |known: u64| total.unwrap_or(0).saturating_sub(known);
                let prompt_or_rest = prompt.unwrap_or_else(|| rest(completion.unwrap_or(0)));
                (prompt_or_rest, completion.unwrap_or_else(|| rest(prompt_or_rest)))
            }
        };
        let sum = prompt + completion;
        let total = self.total.unwrap_or(sum).max(sum);
        let cached = self.cached.unwrap_or(0).min(prompt);
        let reasoning = self.reasoning.unwrap_or(0).min(completion);
        flawed |= self.total.is_some_and(|stated| stated != sum);
        flawed |= self.cached.is_some_and(|stated| stated != cached);
        flawed |= self.reasoning.is_some_and(|stated| stated != reasoning);
        Usage { prompt, completion, total, cached, reasoning, flawed }
    }
}

/// A number as a count of tokens, and whether it is one.
fn clamp(raw: &str) -> (u64, bool) {
    let value = match raw.parse::<u64>() {
        Ok(value) => return (value.min(FIGURE_MAX), value <= FIGURE_MAX),
        Err(_) => raw.parse::<f64>().unwrap_or(0.0),
    };
    let sound = value.fract() == 0.0 && (0.0..=FIGURE_MAX as f64).contains(&value);
    // A float-to-integer cast saturates: below 0 is 0, above is the most.
    ((value as u64).min(FIGURE_MAX), sound)
}

/// The usage in a whole answer.
pub fn of_answer(body: &[u8]) -> Option<Usage> {
    let mut scan = UsageScan::new();
    scan.feed(body);
    scan.finish()
}

/// Finds the members `usage` and `model` of the object that an answer is, fed in pieces of any size.
///
/// It follows strings and depth, nothing else: of an answer that is no JSON it says something or nothing. Where a
/// member comes twice, the last counts.
#[derive(Debug, Default)]
pub struct UsageScan {
    depth: u32,
    place: Place,
    /// The answer is an object, not an array.
    object: bool,
    /// At depth 1, the next string is a key.
    key_due: bool,
    taking: Taking,
    /// What the value after the next `:` is kept as.
    wanted: Taking,
    taken: Vec<u8>,
    usage: Option<Usage>,
    model: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Structure,
    String,
    /// In a string, after a backslash.
    Escape,
    /// The answer has ended.
    After,
}

/// What the bytes that go by are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Taking {
    #[default]
    Nothing,
    Key,
    Usage,
    Model,
}

impl UsageScan {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut at = 0;
        // What is being taken lies in `bytes` from here on; what came before was kept.
        let mut from = 0;
        loop {
            match self.place {
                Place::Structure if self.depth > 1 => at = find::<InStructure>(bytes, at),
                Place::String => at = find::<InString>(bytes, at),
                Place::After => return,
                Place::Structure | Place::Escape => {}
            }
            let Some(&byte) = bytes.get(at) else { break };
            let ends = match self.place {
                Place::String => byte == b'"' && self.taking == Taking::Key,
                Place::Structure => self.depth == 1 && matches!(byte, b',' | b'}' | b']'),
                Place::Escape | Place::After => false,
            };
            if ends {
                self.keep(bytes.get(from..at));
                self.taken_whole();
            }
            let taking = self.taking;
            self.step(byte);
            at += 1;
            if self.taking != taking {
                from = at;
            }
        }
        self.keep(bytes.get(from..));
    }

    /// What was found. `None` also where `usage` is null, or was cut off.
    pub fn finish(self) -> Option<Usage> {
        self.usage
    }

    /// The model that the answer names, if it did so in at most [`MODEL_BYTES_MAX`] bytes.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Moves over a byte. Where taking starts, it starts after that byte.
    fn step(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Escape, _) => self.place = Place::String,
            (Place::String, b'"') => self.place = Place::Structure,
            (Place::String, b'\\') => self.place = Place::Escape,
            (Place::Structure, b'"') => {
                self.place = Place::String;
                if self.depth == 1 && std::mem::take(&mut self.key_due) {
                    self.taking = Taking::Key;
                }
            }
            (Place::Structure, b'{' | b'[') => {
                if self.depth == 0 {
                    self.object = byte == b'{';
                    self.key_due = self.object;
                }
                self.depth = self.depth.saturating_add(1);
            }
            (Place::Structure, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.place = Place::After;
                }
            }
            (Place::Structure, b',') if self.depth == 1 => self.key_due = self.object,
            (Place::Structure, b':') if self.depth == 1 => self.taking = std::mem::take(&mut self.wanted),
            _ => {}
        }
    }

    /// Keeps bytes of what is being taken, up to its limit.
    fn keep(&mut self, bytes: Option<&[u8]>) {
        let bytes_max = match self.taking {
            Taking::Nothing => return,
            Taking::Key => KEY_BYTES_MAX,
            Taking::Model => 6 * MODEL_BYTES_MAX,
            Taking::Usage => CAPTURE_BYTES_MAX,
        };
        let bytes = bytes.unwrap_or_default();
        if self.taken.len() + bytes.len() <= bytes_max {
            self.taken.extend_from_slice(bytes);
            return;
        }
        if self.taking == Taking::Usage {
            self.usage = Some(Usage { flawed: true, ..Usage::default() });
        }
        self.taking = Taking::Nothing;
        self.taken.clear();
    }

    /// A key or a value that was being taken is complete.
    fn taken_whole(&mut self) {
        match std::mem::take(&mut self.taking) {
            Taking::Nothing => {}
            Taking::Key => self.wanted = wanted(&self.taken),
            Taking::Usage => self.usage = Usage::of_value(&self.taken),
            Taking::Model => self.model = model(&self.taken),
        }
        self.taken.clear();
    }
}

/// What the value of this key, given as it stands between the quotes, is kept as.
fn wanted(raw: &[u8]) -> Taking {
    let raw = std::str::from_utf8(raw).unwrap_or_default();
    match (Text { raw, escaped: raw.contains('\\'), at: 0 }).decode().as_ref() {
        "usage" => Taking::Usage,
        "model" => Taking::Model,
        _ => Taking::Nothing,
    }
}

fn model(json: &[u8]) -> Option<Box<str>> {
    let (_, value) = Walker::lenient(json).ok()?.value().ok()?;
    let Value::String(text) = value else { return None };
    let name = text.decode();
    (name.len() <= MODEL_BYTES_MAX).then(|| name.into())
}

/// The most that is kept of an answer. Arbitrary; a usage object has about 400 bytes.
pub const CAPTURE_BYTES_MAX: usize = 16 << 10;
/// Enough for `model` and `usage` with every letter written as `\uXXXX`.
const KEY_BYTES_MAX: usize = 32;
const _: () = assert!(KEY_BYTES_MAX >= 6 * "usage".len() && KEY_BYTES_MAX >= 6 * "model".len());
/// 2⁵³: larger figures are not exact in every JSON reader (RFC 8259 §6), and no answer has that many tokens.
const FIGURE_MAX: u64 = 1 << 53;

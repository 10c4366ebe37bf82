//! Reads a request's body in one walk: its facts, and the byte ranges that a splice needs.
//! Used on the shard that owns the connection. It never changes the body and never guesses: a body that two readers
//! could understand differently (a duplicate key, a key that differs from a known one only in case) is refused.

use std::borrow::Cow;
use std::ops::Range;

use super::facts_error::{FactsError, FactsErrorKind, bad_value, wrong_type};
use crate::json::{Value, Walker, excerpt};
use crate::llm::{FactLimits, Facts, MODEL_BYTES_MAX, Operation};

#[cfg(test)]
mod tests;

/// A request's body as read: its facts, and where they are written.
#[derive(Clone, Debug)]
pub struct Request<'b> {
    pub facts: Facts<'b>,
    pub layout: Layout,
}

/// Positions of the parts of a body that a splice may change. Ranges and offsets are in bytes of that body.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The value of `model` with its quotes.
    pub model: Range<usize>,
    /// Just after the opening brace. At least one member follows.
    pub members_at: usize,
    pub stream_options: StreamOptions,
    /// The value of `stream_options.include_usage`; `None` if absent or null.
    pub include_usage: Option<bool>,
}

/// The member `stream_options` of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOptions {
    Absent,
    /// The range of `null`.
    Null(Range<usize>),
    Object {
        /// Just after its opening brace.
        members_at: usize,
        empty: bool,
        /// The value of `include_usage`, a boolean or null.
        include_usage: Option<Range<usize>>,
    },
}

/// Reads a request's body.
///
/// # Errors
/// The first fault in the order of the body; a missing model is reported last.
pub fn read<'b>(body: &'b [u8], operation: Operation, limits: &FactLimits) -> Result<Request<'b>, FactsError> {
    let mut walker = Walker::strict(body, limits.depth)?;
    let mut draft = Draft { members_at: walker.open_object()?, ..Draft::default() };
    while let Some(key) = walker.next_key()? {
        draft.member(&mut walker, &key.decode(), key.at)?;
    }
    walker.end()?;
    let Some((model, model_at)) = draft.model else {
        return Err(FactsError::about("model", 0, FactsErrorKind::Missing));
    };
    let [completion, output, plain] = draft.max_tokens;
    let facts = Facts {
        operation,
        body_bytes: body.len(),
        model,
        stream: draft.stream.unwrap_or(false),
        temperature: draft.temperature,
        output_tokens_max: completion.or(output).or(plain),
        answers: draft.n,
    };
    let layout = Layout {
        model: model_at,
        members_at: draft.members_at,
        stream_options: draft.stream_options.unwrap_or(StreamOptions::Absent),
        include_usage: draft.include_usage,
    };
    Ok(Request { facts, layout })
}

#[derive(Default)]
struct Draft<'b> {
    members_at: usize,
    model: Option<(Cow<'b, str>, Range<usize>)>,
    stream: Option<bool>,
    temperature: Option<f64>,
    /// `max_completion_tokens`, `max_output_tokens` and `max_tokens`; the first one that is set counts.
    max_tokens: [Option<u64>; 3],
    n: Option<u64>,
    include_usage: Option<bool>,
    stream_options: Option<StreamOptions>,
}

impl<'b> Draft<'b> {
    /// Reads the member of the body whose key was just read.
    fn member(&mut self, walker: &mut Walker<'b>, key: &str, at: usize) -> Result<(), FactsError> {
        let [completion, output, plain] = &mut self.max_tokens;
        match key {
            "model" => self.model = Some(model(walker)?),
            "stream" => self.stream = boolean(walker, "stream")?.0,
            "temperature" => self.temperature = temperature(walker)?,
            "max_completion_tokens" => *completion = integer(walker, "max_completion_tokens")?,
            "max_output_tokens" => *output = integer(walker, "max_output_tokens")?,
            "max_tokens" => *plain = integer(walker, "max_tokens")?,
            "n" => self.n = integer(walker, "n")?,
            "stream_options" => self.stream_options(walker)?,
            _ => {
                refuse_lookalike(key, at, GOVERNED)?;
                walker.skip()?;
            }
        }
        Ok(())
    }

    fn stream_options(&mut self, walker: &mut Walker<'b>) -> Result<(), FactsError> {
        let name = "stream_options";
        if walker.peek() != Some(b'{') {
            let (range, value) = walker.value()?;
            let Value::Null = value else {
                return Err(wrong_type(name, range.start, "an object", value));
            };
            self.stream_options = Some(StreamOptions::Null(range));
            return Ok(());
        }
        let members_at = walker.open_object()?;
        let (mut empty, mut at) = (true, None);
        while let Some(key) = walker.next_key()? {
            empty = false;
            let decoded = key.decode();
            if decoded == "include_usage" {
                let (value, range) = boolean(walker, "stream_options.include_usage")?;
                (self.include_usage, at) = (value, Some(range));
            } else {
                refuse_lookalike(&decoded, key.at, &["include_usage"])?;
                walker.skip()?;
            }
        }
        self.stream_options = Some(StreamOptions::Object { members_at, empty, include_usage: at });
        Ok(())
    }
}

fn model<'b>(walker: &mut Walker<'b>) -> Result<(Cow<'b, str>, Range<usize>), FactsError> {
    let (range, value) = walker.value()?;
    let Value::String(text) = value else {
        return Err(wrong_type("model", range.start, "a string", value));
    };
    // An escape takes at most 6 bytes for each byte of text.
    if text.raw.len() > 6 * MODEL_BYTES_MAX {
        return Err(bad_value("model", range.start, MODEL_RULE));
    }
    let name = text.decode();
    if name.is_empty() || name.len() > MODEL_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(bad_value("model", range.start, MODEL_RULE));
    }
    Ok((name, range))
}

fn boolean(walker: &mut Walker<'_>, name: &'static str) -> Result<(Option<bool>, Range<usize>), FactsError> {
    match walker.value()? {
        (range, Value::Bool(value)) => Ok((Some(value), range)),
        (range, Value::Null) => Ok((None, range)),
        (range, value) => Err(wrong_type(name, range.start, "a boolean", value)),
    }
}

fn temperature(walker: &mut Walker<'_>) -> Result<Option<f64>, FactsError> {
    match walker.value()? {
        (range, Value::Number(raw)) => match raw.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(bad_value("temperature", range.start, "a finite number")),
        },
        (_, Value::Null) => Ok(None),
        (range, value) => Err(wrong_type("temperature", range.start, "a number", value)),
    }
}

fn integer(walker: &mut Walker<'_>, name: &'static str) -> Result<Option<u64>, FactsError> {
    match walker.value()? {
        (range, Value::Number(raw)) => match whole(raw) {
            Some(value) => Ok(Some(value)),
            None => Err(bad_value(name, range.start, "a whole number from 0 to 2^53")),
        },
        (_, Value::Null) => Ok(None),
        (range, value) => Err(wrong_type(name, range.start, "an integer", value)),
    }
}

/// The value of a JSON number that is a whole number from 0 to 2⁵³, however it is written: `7`, `7.0`, `70e-1`.
fn whole(raw: &str) -> Option<u64> {
    if let Ok(value) = raw.parse::<u64>() {
        return (value <= WHOLE_MAX).then_some(value);
    }
    let value = raw.parse::<f64>().ok()?;
    // The cast is exact: in this range every whole double is a `u64`.
    (value.fract() == 0.0 && (0.0..=WHOLE_MAX as f64).contains(&value)).then_some(value as u64)
}

/// Refuses a key that equals one of `names` in everything but case. Go's `encoding/json` would read it as that field,
/// which this reader did not see, so such a key is refused even if the real one is absent.
fn refuse_lookalike(key: &str, at: usize, names: &[&'static str]) -> Result<(), FactsError> {
    if !key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        return Ok(());
    }
    match names.iter().find(|name| key.chars().map(fold).eq(name.chars())) {
        Some(name) => Err(FactsError {
            kind: FactsErrorKind::Lookalike(name),
            at,
            param: Some(Cow::Owned(excerpt(key).to_owned())),
        }),
        None => Ok(()),
    }
}

/// Unicode's simple case folding for characters that fold to an ASCII letter (CaseFolding.txt, status C).
fn fold(char: char) -> char {
    match char {
        '\u{212a}' => 'k', // KELVIN SIGN
        '\u{17f}' => 's',  // LATIN SMALL LETTER LONG S
        _ => char.to_ascii_lowercase(),
    }
}

/// Top-level members that decide what a request costs or how it is judged. No other key may look like one of them.
const GOVERNED: &[&str] = &[
    "background",
    "best_of",
    "input",
    "instructions",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "prompt",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tools",
    "top_p",
    "user",
];

const MODEL_RULE: &str = "a name of 1 to 256 bytes without control characters";
/// 2⁵³: up to this value every JSON reader agrees on whole numbers (RFC 8259 §6).
const WHOLE_MAX: u64 = 1 << 53;

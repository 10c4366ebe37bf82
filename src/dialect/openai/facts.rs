//! What a request says, read from its body in one walk, with the byte ranges that a splice needs.
//! Used on the shard that owns the connection. It never changes the body and never guesses: a body that two readers
//! could read differently (a key twice, a key that only differs in case) is refused.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::json::{DEPTH_MAX_DEFAULT, Fault, FaultKind, Value, Walker, excerpt};

#[cfg(test)]
mod tests;

/// The operations that luner governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
}

impl Endpoint {
    pub const ALL: [Endpoint; 4] =
        [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings, Endpoint::Responses];

    /// As in the request line.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "/v1/chat/completions",
            Endpoint::Completions => "/v1/completions",
            Endpoint::Embeddings => "/v1/embeddings",
            Endpoint::Responses => "/v1/responses",
        }
    }

    /// The endpoint of exactly this path.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    /// `gen_ai.operation.name` of OpenTelemetry's GenAI conventions, which have no word for Responses yet.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "chat",
            Endpoint::Completions => "text_completion",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Responses => "responses",
        }
    }

    /// Whether a stream's usage comes only with `stream_options.include_usage`. Responses always sends it, and knows
    /// no such option; embeddings do not stream.
    pub fn usage_on_request(self) -> bool {
        matches!(self, Endpoint::ChatCompletions | Endpoint::Completions)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct FactLimits {
    /// Containers that may be open at once, the body itself included.
    pub depth: usize,
}

impl Default for FactLimits {
    fn default() -> Self {
        FactLimits { depth: DEPTH_MAX_DEFAULT }
    }
}

/// Ranges and offsets are in bytes of the body.
#[derive(Clone, Debug)]
pub struct Facts<'b> {
    pub endpoint: Endpoint,
    pub body_len: usize,
    /// 1 to [`MODEL_BYTES_MAX`] bytes, no control characters; otherwise as the caller wrote it.
    pub model: Cow<'b, str>,
    /// The value with its quotes.
    pub model_at: Range<usize>,
    /// `false` where absent or null, as for the API.
    pub stream: bool,
    /// Finite. `-0` is kept, and equals 0.
    pub temperature: Option<f64>,
    /// The first of `max_completion_tokens`, `max_output_tokens`, `max_tokens` that is neither absent nor null; ≤ 2⁵³.
    pub max_tokens: Option<u64>,
    /// Answers asked for; ≤ 2⁵³.
    pub n: Option<u64>,
    /// `stream_options.include_usage`.
    pub include_usage: Option<bool>,
    /// Just after the opening brace. At least one member follows.
    pub members_at: usize,
    pub stream_options: StreamOptions,
}

/// Where `stream_options` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamOptions {
    Absent,
    /// The range of `null`.
    Null(Range<usize>),
    Object {
        /// Just after its opening brace.
        members_at: usize,
        empty: bool,
        /// The value of `include_usage`, be it a boolean or null.
        include_usage: Option<Range<usize>>,
    },
}

/// Reads a request's body.
///
/// # Errors
/// The first thing found wrong, in the order of the body; a missing model last.
pub fn read<'b>(body: &'b [u8], endpoint: Endpoint, limits: &FactLimits) -> Result<Facts<'b>, FactsError> {
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
    Ok(Facts {
        endpoint,
        body_len: body.len(),
        model,
        model_at,
        stream: draft.stream.unwrap_or(false),
        temperature: draft.temperature,
        max_tokens: completion.or(output).or(plain),
        n: draft.n,
        include_usage: draft.include_usage,
        members_at: draft.members_at,
        stream_options: draft.stream_options.unwrap_or(StreamOptions::Absent),
    })
}

#[derive(Default)]
struct Draft<'b> {
    members_at: usize,
    model: Option<(Cow<'b, str>, Range<usize>)>,
    stream: Option<bool>,
    temperature: Option<f64>,
    /// In the order in which they count.
    max_tokens: [Option<u64>; 3],
    n: Option<u64>,
    include_usage: Option<bool>,
    stream_options: Option<StreamOptions>,
}

impl<'b> Draft<'b> {
    /// Takes in the member of the body whose key was just read.
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
                refuse_twin(key, at, GOVERNED)?;
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
                refuse_twin(&decoded, key.at, &["include_usage"])?;
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
    // An escape takes at most 12 bytes for 4 of text (a surrogate pair), or 6 for 1.
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

/// A JSON number that is a whole one from 0 to 2⁵³, however it is written: `7`, `7.0`, `70e-1`.
fn whole(raw: &str) -> Option<u64> {
    if let Ok(value) = raw.parse::<u64>() {
        return (value <= WHOLE_MAX).then_some(value);
    }
    let value = raw.parse::<f64>().ok()?;
    // Exact: in this range every whole double is a u64.
    (value.fract() == 0.0 && (0.0..=WHOLE_MAX as f64).contains(&value)).then_some(value as u64)
}

/// Go's `encoding/json` takes a key for a field that it equals but for case. Then its reader would see what this one
/// did not, so such a key is refused, alone or not.
fn refuse_twin(key: &str, at: usize, names: &[&'static str]) -> Result<(), FactsError> {
    if !key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        return Ok(());
    }
    match names.iter().find(|name| key.chars().map(fold).eq(name.chars())) {
        Some(name) => {
            Err(FactsError { kind: FactsErrorKind::Twin(name), at, param: Some(Cow::Owned(excerpt(key).to_owned())) })
        }
        None => Ok(()),
    }
}

/// Unicode's simple case folding, as far as it ends at an ASCII letter (CaseFolding.txt, status C).
fn fold(char: char) -> char {
    match char {
        '\u{212a}' => 'k', // KELVIN SIGN
        '\u{17f}' => 's',  // LATIN SMALL LETTER LONG S
        _ => char.to_ascii_lowercase(),
    }
}

/// Why a request's body is refused. `Display` is the message for the caller, in the tone of the API's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsError {
    pub kind: FactsErrorKind,
    /// Byte offset in the body.
    pub at: usize,
    /// The member that it is about. From the body, if it is a key there; then cut to 64 bytes.
    pub param: Option<Cow<'static, str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsErrorKind {
    /// Not JSON as it is accepted here.
    Json(FaultKind),
    Missing,
    WrongType {
        expected: &'static str,
        got: &'static str,
    },
    /// The right type; the text says what is expected.
    BadValue(&'static str),
    /// Equals this name but for case.
    Twin(&'static str),
}

impl FactsError {
    fn about(param: &'static str, at: usize, kind: FactsErrorKind) -> Self {
        FactsError { kind, at, param: Some(Cow::Borrowed(param)) }
    }

    /// `code` of the error body. Always there, though the API itself often sends null for these.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self.kind {
            FactsErrorKind::Json(FaultKind::DuplicateKey(_)) => "duplicate_key",
            FactsErrorKind::Json(FaultKind::TooDeep) => "json_too_deep",
            FactsErrorKind::Json(FaultKind::TooManyValues | FaultKind::TooManyMembers) => "json_too_complex",
            FactsErrorKind::Json(_) => "invalid_json",
            FactsErrorKind::Missing => "missing_required_parameter",
            FactsErrorKind::WrongType { .. } => "invalid_type",
            FactsErrorKind::BadValue(_) => "invalid_value",
            FactsErrorKind::Twin(_) => "unknown_parameter",
        })
    }
}

impl From<Box<Fault>> for FactsError {
    fn from(fault: Box<Fault>) -> Self {
        let param = match &fault.kind {
            FaultKind::DuplicateKey(name) => Some(Cow::Owned(name.to_string())),
            _ => None,
        };
        FactsError { kind: FactsErrorKind::Json(fault.kind), at: fault.at, param }
    }
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let param = self.param.as_deref().unwrap_or_default();
        match &self.kind {
            FactsErrorKind::Json(kind) => {
                let fault = Fault { at: self.at, kind: kind.clone() };
                write!(f, "We could not parse the JSON body of your request: {fault}")
            }
            FactsErrorKind::Missing => write!(f, "Missing required parameter: '{param}'."),
            FactsErrorKind::WrongType { expected, got } => {
                write!(f, "Invalid type for '{param}': expected {expected}, but got {got} instead.")
            }
            FactsErrorKind::BadValue(expected) => write!(f, "Invalid value for '{param}': expected {expected}."),
            FactsErrorKind::Twin(name) => {
                write!(
                    f,
                    "Unknown parameter: {param:?}. It differs from '{name}' only in case, which readers of JSON treat differently."
                )
            }
        }
    }
}

impl std::error::Error for FactsError {}

fn wrong_type(param: &'static str, at: usize, expected: &'static str, got: Value<'_>) -> FactsError {
    FactsError::about(param, at, FactsErrorKind::WrongType { expected, got: got.name() })
}

fn bad_value(param: &'static str, at: usize, expected: &'static str) -> FactsError {
    FactsError::about(param, at, FactsErrorKind::BadValue(expected))
}

/// Top-level members that decide what a request costs or how it is judged; no other may equal one but for case.
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

/// Arbitrary; the longest published model names have about 100.
pub const MODEL_BYTES_MAX: usize = 256;
const MODEL_RULE: &str = "a name of 1 to 256 bytes without control characters";
/// 2⁵³: up to here every JSON reader agrees on whole numbers (RFC 8259 §6).
const WHOLE_MAX: u64 = 1 << 53;

//! Reads a price table in LiteLLM's format.
//! Pure, called on the thread that loads the configuration. It is strict about the fields that it uses (no negative price,
//! no model twice) and ignores the others.

use super::decimal::{Flaw, scaled};
use super::price::{Price, RATE_MAX, Rates};
use crate::json::{DEPTH_MAX_DEFAULT, JsonError, Value, Walker};

/// Why a price table is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("{0}")]
    Json(Box<JsonError>),
    #[error("in the price of {model:?}: {error}")]
    JsonOf { model: Box<str>, error: Box<JsonError> },
    #[error("the price of {model:?} is not an object")]
    NotAnObject { model: Box<str> },
    #[error("the price of {model:?}: {field} {flaw}")]
    Field { model: Box<str>, field: Box<str>, flaw: Flaw },
}

/// The models of a file, in its order.
pub(super) struct ParsedTable {
    pub priced: Vec<(Box<str>, Price)>,
    /// Models without a price per token.
    pub skipped: Vec<Box<str>>,
}

pub(super) fn table(json: &str) -> Result<ParsedTable, PriceError> {
    let mut walker = Walker::strict(json.as_bytes(), DEPTH_MAX_DEFAULT).map_err(PriceError::Json)?;
    let (mut priced, mut skipped) = (Vec::new(), Vec::new());
    walker.open_object().map_err(PriceError::Json)?;
    while let Some(key) = walker.next_key().map_err(PriceError::Json)? {
        let model = key.decode();
        if model.starts_with('_') || model == "sample_spec" {
            walker.skip().map_err(PriceError::Json)?;
            continue;
        }
        match entry(&mut walker).and_then(Entry::price) {
            Ok(Some(price)) => priced.push((model.into(), price)),
            Ok(None) => skipped.push(model.into()),
            Err(error) => return Err(error.about(&model)),
        }
    }
    walker.end().map_err(PriceError::Json)?;
    Ok(ParsedTable { priced, skipped })
}

/// A [`PriceError`] without its model.
enum EntryError {
    Json(Box<JsonError>),
    NotAnObject,
    Field(Box<str>, Flaw),
}

impl From<Box<JsonError>> for EntryError {
    fn from(error: Box<JsonError>) -> EntryError {
        EntryError::Json(error)
    }
}

impl EntryError {
    fn about(self, model: &str) -> PriceError {
        let model: Box<str> = model.chars().take(NAME_CHARS_MAX).collect::<String>().into();
        match self {
            EntryError::Json(error) => PriceError::JsonOf { model, error },
            EntryError::NotAnObject => PriceError::NotAnObject { model },
            EntryError::Field(field, flaw) => PriceError::Field { model, field, flaw },
        }
    }
}

/// The fields of one model, before it is known whether they make a price.
#[derive(Default)]
struct Entry {
    base: Stated,
    /// Rates of longer inputs, by the length above which they apply.
    above: Vec<(u64, Stated)>,
    /// The model generates no tokens, so it needs no output price.
    reads_only: bool,
    max_output_tokens: Option<u64>,
}

/// The rates that an entry states.
#[derive(Clone, Copy, Default)]
struct Stated {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

fn entry(walker: &mut Walker<'_>) -> Result<Entry, EntryError> {
    if walker.peek() != Some(b'{') {
        walker.skip()?;
        return Err(EntryError::NotAnObject);
    }
    walker.open_object()?;
    let mut entry = Entry::default();
    while let Some(key) = walker.next_key()? {
        match key.decode().as_ref() {
            "max_output_tokens" => {
                // Some entries explain it in words, as `sample_spec` does.
                if let Value::Number(raw) = walker.value()?.1 {
                    entry.max_output_tokens = Some(count("max_output_tokens", raw)?);
                }
            }
            "mode" => {
                if let Value::String(mode) = walker.value()?.1 {
                    entry.reads_only = matches!(mode.raw, "embedding" | "rerank" | "moderation");
                }
            }
            "tiered_pricing" if walker.peek() == Some(b'[') => tiers(walker, &mut entry.above)?,
            field => entry.field(field, walker)?,
        }
    }
    Ok(entry)
}

impl Entry {
    fn field(&mut self, field: &str, walker: &mut Walker<'_>) -> Result<(), EntryError> {
        let Some((name, rest)) = NAMES.iter().find_map(|&name| Some((name, field.strip_prefix(name)?))) else {
            return Ok(walker.skip()?);
        };
        let stated = match above(rest) {
            _ if rest.is_empty() => &mut self.base,
            Some(tokens) => self.tier(tokens),
            // Prices of batches, priority tiers, audio and so on.
            None => return Ok(walker.skip()?),
        };
        stated.read(name, field, walker)
    }

    fn tier(&mut self, tokens: u64) -> &mut Stated {
        let at = self.above.iter().position(|tier| tier.0 == tokens).unwrap_or_else(|| {
            self.above.push((tokens, Stated::default()));
            self.above.len() - 1
        });
        &mut self.above[at].1
    }

    /// `None` if the entry states no price per token.
    fn price(mut self) -> Result<Option<Price>, EntryError> {
        self.above.sort_by_key(|tier| tier.0);
        // Some entries state nothing but tiers, the first of which begins at zero.
        if self.above.first().is_some_and(|tier| tier.0 == 0) {
            let (_, first) = self.above.remove(0);
            self.base = self.base.or(first);
        }
        let free = if self.reads_only { Some(0) } else { None };
        let (Some(input), Some(output)) = (self.base.input, self.base.output.or(free)) else {
            return Ok(None);
        };
        let rates = self.base.rates(input, output);
        let above = self.above.iter().map(|(tokens, stated)| (*tokens, stated.rates(input, output))).collect();
        Ok(Some(Price { rates, above, max_output_tokens: self.max_output_tokens.filter(|&tokens| tokens > 0) }))
    }
}

impl Stated {
    fn read(&mut self, name: &str, field: &str, walker: &mut Walker<'_>) -> Result<(), EntryError> {
        let rate = match walker.value()?.1 {
            Value::Null => return Ok(()),
            Value::Number(raw) => scaled(raw, PICO_DIGITS, RATE_MAX),
            _ => Err(Flaw::NotANumber),
        };
        let rate = Some(rate.map_err(|flaw| EntryError::Field(field.into(), flaw))?);
        match name {
            INPUT => self.input = rate,
            OUTPUT => self.output = rate,
            CACHE_READ => self.cache_read = rate,
            CACHE_WRITE => self.cache_write = rate,
            _ => self.reasoning = rate,
        }
        Ok(())
    }

    fn or(self, other: Stated) -> Stated {
        Stated {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cache_read: self.cache_read.or(other.cache_read),
            cache_write: self.cache_write.or(other.cache_write),
            reasoning: self.reasoning.or(other.reasoning),
        }
    }

    fn rates(&self, input: u64, output: u64) -> Rates {
        Rates {
            input: self.input.unwrap_or(input),
            output: self.output.unwrap_or(output),
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.reasoning,
        }
    }
}

/// Reads `[{"input_cost_per_token": …, "range": [from, to]}, …]`: rates that apply above `from`.
fn tiers(walker: &mut Walker<'_>, above: &mut Vec<(u64, Stated)>) -> Result<(), EntryError> {
    walker.open_array()?;
    while walker.next_item()? {
        let (mut from, mut stated) = (0, Stated::default());
        walker.open_object()?;
        while let Some(key) = walker.next_key()? {
            match key.decode().as_ref() {
                "range" if walker.peek() == Some(b'[') => {
                    walker.open_array()?;
                    for at in 0.. {
                        if !walker.next_item()? {
                            break;
                        }
                        match walker.value()?.1 {
                            Value::Number(raw) if at == 0 => from = count("range", raw)?,
                            _ => {}
                        }
                    }
                }
                field => match NAMES.iter().find(|&&name| name == field) {
                    Some(name) => stated.read(name, field, walker)?,
                    None => walker.skip()?,
                },
            }
        }
        above.push((from, stated));
    }
    Ok(())
}

/// The threshold in the name of a tier's field: `_above_200k_tokens` → 200,000.
fn above(suffix: &str) -> Option<u64> {
    let thousands = suffix.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    thousands.parse::<u32>().ok().map(|thousands| 1_000 * u64::from(thousands))
}

fn count(field: &str, raw: &str) -> Result<u64, EntryError> {
    scaled(raw, 0, COUNT_MAX).map_err(|flaw| EntryError::Field(field.into(), flaw))
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const CACHE_READ: &str = "cache_read_input_token_cost";
const CACHE_WRITE: &str = "cache_creation_input_token_cost";
const REASONING: &str = "output_cost_per_reasoning_token";
const NAMES: [&str; 5] = [INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING];
/// Rates are in units of 10⁻¹² dollars; further digits of a price are rounded.
const PICO_DIGITS: i64 = 12;
/// Largest number of tokens in a limit or threshold. Arbitrary: a hundred thousand times the longest input of 2026.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// Characters of a model's name that an error shows. Arbitrary: enough to recognise it, short enough for a log line.
const NAME_CHARS_MAX: usize = 64;

//! Reads LiteLLM's table of prices.
//! Pure, on whatever thread loads the configuration. Strict about what it uses (no negative price, no model twice),
//! indifferent to the rest.

use super::decimal::{Flaw, scaled};
use super::{Price, RATE_MAX, Rates};
use crate::json::{DEPTH_MAX_DEFAULT, Fault, Value, Walker};

/// Why a table of prices is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("{0}")]
    Json(Box<Fault>),
    #[error("in the price of {model:?}: {fault}")]
    JsonOf { model: Box<str>, fault: Box<Fault> },
    #[error("the price of {model:?} is no object")]
    NoObject { model: Box<str> },
    #[error("the price of {model:?}: {field} {flaw}")]
    Field { model: Box<str>, field: Box<str>, flaw: Flaw },
}

/// As listed: models with their prices, and those without.
pub(super) type Listed = (Vec<(Box<str>, Price)>, Vec<Box<str>>);

pub(super) fn table(json: &str) -> Result<Listed, PriceError> {
    let mut walker = Walker::strict(json.as_bytes(), DEPTH_MAX_DEFAULT).map_err(PriceError::Json)?;
    let (mut listed, mut skipped) = (Vec::new(), Vec::new());
    walker.open_object().map_err(PriceError::Json)?;
    while let Some(key) = walker.next_key().map_err(PriceError::Json)? {
        let model = key.decode();
        if model.starts_with('_') || model == "sample_spec" {
            walker.skip().map_err(PriceError::Json)?;
            continue;
        }
        match entry(&mut walker).and_then(Entry::price) {
            Ok(Some(price)) => listed.push((model.into(), price)),
            Ok(None) => skipped.push(model.into()),
            Err(error) => return Err(error.of(&model)),
        }
    }
    walker.end().map_err(PriceError::Json)?;
    Ok((listed, skipped))
}

/// A price error that does not know its model yet.
enum Wrong {
    Json(Box<Fault>),
    NoObject,
    Field(Box<str>, Flaw),
}

impl From<Box<Fault>> for Wrong {
    fn from(fault: Box<Fault>) -> Wrong {
        Wrong::Json(fault)
    }
}

impl Wrong {
    fn of(self, model: &str) -> PriceError {
        let model: Box<str> = model.chars().take(NAME_CHARS_MAX).collect::<String>().into();
        match self {
            Wrong::Json(fault) => PriceError::JsonOf { model, fault },
            Wrong::NoObject => PriceError::NoObject { model },
            Wrong::Field(field, flaw) => PriceError::Field { model, field, flaw },
        }
    }
}

/// What an entry says, before it is known whether that makes a price.
#[derive(Default)]
struct Entry {
    base: Stated,
    /// By the length of the prompt above which they hold.
    above: Vec<(u64, Stated)>,
    /// It reads tokens and makes none.
    reads_only: bool,
    max_output_tokens: Option<u64>,
}

/// Rates as far as they are stated.
#[derive(Clone, Copy, Default)]
struct Stated {
    input: Option<u64>,
    output: Option<u64>,
    cached_input: Option<u64>,
    reasoning: Option<u64>,
}

fn entry(walker: &mut Walker<'_>) -> Result<Entry, Wrong> {
    if walker.peek() != Some(b'{') {
        walker.skip()?;
        return Err(Wrong::NoObject);
    }
    walker.open_object()?;
    let mut entry = Entry::default();
    while let Some(key) = walker.next_key()? {
        match key.decode().as_ref() {
            "max_output_tokens" => {
                // In `sample_spec`'s manner, some say it in words.
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
    fn field(&mut self, field: &str, walker: &mut Walker<'_>) -> Result<(), Wrong> {
        let Some((name, rest)) = NAMES.iter().find_map(|&name| Some((name, field.strip_prefix(name)?))) else {
            return Ok(walker.skip()?);
        };
        let stated = match above(rest) {
            _ if rest.is_empty() => &mut self.base,
            Some(tokens) => self.tier(tokens),
            // Of batches, priorities, audio …
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

    /// `None` if it says no price per token.
    fn price(mut self) -> Result<Option<Price>, Wrong> {
        self.above.sort_by_key(|tier| tier.0);
        // Tiers may begin at zero, and be all there is.
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
    fn read(&mut self, name: &str, field: &str, walker: &mut Walker<'_>) -> Result<(), Wrong> {
        let rate = match walker.value()?.1 {
            Value::Null => return Ok(()),
            Value::Number(raw) => scaled(raw, PICO_DIGITS, RATE_MAX),
            _ => Err(Flaw::NoNumber),
        };
        let rate = Some(rate.map_err(|flaw| Wrong::Field(field.into(), flaw))?);
        match name {
            INPUT => self.input = rate,
            OUTPUT => self.output = rate,
            CACHED_INPUT => self.cached_input = rate,
            _ => self.reasoning = rate,
        }
        Ok(())
    }

    fn or(self, other: Stated) -> Stated {
        Stated {
            input: self.input.or(other.input),
            output: self.output.or(other.output),
            cached_input: self.cached_input.or(other.cached_input),
            reasoning: self.reasoning.or(other.reasoning),
        }
    }

    fn rates(&self, input: u64, output: u64) -> Rates {
        let (input, output) = (self.input.unwrap_or(input), self.output.unwrap_or(output));
        Rates { input, output, cached_input: self.cached_input, reasoning: self.reasoning }
    }
}

/// `[{"input_cost_per_token": …, "range": [from, to]}, …]`: what holds above `from`.
fn tiers(walker: &mut Walker<'_>, above: &mut Vec<(u64, Stated)>) -> Result<(), Wrong> {
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

/// `_above_200k_tokens` → 200,000.
fn above(suffix: &str) -> Option<u64> {
    let thousands = suffix.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    thousands.parse::<u32>().ok().map(|thousands| 1_000 * u64::from(thousands))
}

fn count(field: &str, raw: &str) -> Result<u64, Wrong> {
    scaled(raw, 0, COUNT_MAX).map_err(|flaw| Wrong::Field(field.into(), flaw))
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const CACHED_INPUT: &str = "cache_read_input_token_cost";
const REASONING: &str = "output_cost_per_reasoning_token";
const NAMES: [&str; 4] = [INPUT, OUTPUT, CACHED_INPUT, REASONING];
/// Rates are in units of 10⁻¹² dollars; what a price has beyond that is rounded.
const PICO_DIGITS: i64 = 12;
/// Tokens. Arbitrary: a hundred thousand times the longest prompt of 2026.
const COUNT_MAX: u64 = 1_000_000_000_000;
/// Of a model's name in an error. Arbitrary.
const NAME_CHARS_MAX: usize = 64;

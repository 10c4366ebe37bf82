//! The price table, and the rules by which a model's name finds its price.
//! Immutable once read, and shared by all threads as part of the plan.

use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;

use super::parse::{self, ParsedTable, PriceError};
use super::price::Price;

/// Names a price in the table that returned it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceId(u32);

/// Prices by model.
#[derive(Debug, Default)]
pub struct Prices {
    prices: Vec<Price>,
    /// Every name in the table, and every bare name (without its provider) that the table does not list itself.
    names: HashMap<Box<str>, usize>,
    skipped: Vec<Box<str>>,
}

impl Prices {
    /// The built-in table, `config/prices.json`.
    pub fn built_in() -> Arc<Prices> {
        static BUILT_IN: OnceLock<Arc<Prices>> = OnceLock::new();
        let read = || Prices::parse(include_str!("../../config/prices.json")).expect("a test reads the built-in table");
        BUILT_IN.get_or_init(|| Arc::new(read())).clone()
    }

    /// Reads a table in the format of LiteLLM's `model_prices_and_context_window.json`. Unknown fields, `sample_spec`, and
    /// keys that begin with `_` are ignored. Models without a price per token, such as image models, are
    /// [skipped](Prices::skipped).
    pub fn parse(json: &str) -> Result<Prices, PriceError> {
        let ParsedTable { priced, skipped } = parse::table(json)?;
        let mut table = Prices { prices: Vec::with_capacity(priced.len()), names: HashMap::new(), skipped };
        let mut bare: HashMap<Box<str>, usize> = HashMap::new();
        for (name, price) in priced {
            let at = table.prices.len();
            if let Some((_, model)) = name.rsplit_once('/') {
                let most_expensive = bare.entry(model.into()).or_insert(at);
                if table.prices.get(*most_expensive).is_some_and(|other| other.rates.blend() < price.rates.blend()) {
                    *most_expensive = at;
                }
            }
            table.prices.push(price);
            table.names.insert(name, at);
        }
        for (name, at) in bare {
            table.names.entry(name).or_insert(at);
        }
        Ok(table)
    }

    /// The price of a model, under the first of these names that the table has:
    ///
    /// 1. the name as given;
    /// 2. the name without providers: `openai/gpt-4o`, `openrouter/openai/gpt-4o` → `gpt-4o`;
    /// 3. the name with a provider: `qwen-max` → `dashscope/qwen-max`. If several providers list it, the most expensive
    ///    one counts, so that no budget is overrun;
    /// 4. the same three without a version: `gpt-4o-2024-08-06`, `claude-sonnet-4-5-20250929`, `claude-sonnet-4-5@20250929`.
    pub fn price(&self, model: &str) -> Option<&Price> {
        self.find(model).and_then(|id| self.at(id))
    }

    /// The id of the price that [`Prices::price`] returns.
    pub fn find(&self, model: &str) -> Option<PriceId> {
        let named = |name| self.without_providers(name);
        let at = named(model).or_else(|| named(without_version(model)?))?;
        u32::try_from(at).ok().map(PriceId)
    }

    /// The price with this id. The id must come from this table.
    pub fn at(&self, id: PriceId) -> Option<&Price> {
        self.prices.get(id.0 as usize)
    }

    /// The cheapest of the models that have a price; the first one if several cost the same. Three input tokens count
    /// for each output token.
    pub fn cheapest<'m>(&self, models: impl Iterator<Item = &'m str>) -> Option<&'m str> {
        let priced = models.filter_map(|model| Some((model, self.price(model)?.rates.blend())));
        priced.min_by_key(|&(_, blend)| blend).map(|(model, _)| model)
    }

    /// Models that the file lists without a price per token.
    pub fn skipped(&self) -> &[Box<str>] {
        &self.skipped
    }

    pub fn len(&self) -> usize {
        self.prices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    fn without_providers(&self, model: &str) -> Option<usize> {
        // Tries `a/b/c`, `b/c`, `c`. `names` maps bare names to a provider's price.
        let mut tried = model;
        loop {
            if let Some(&at) = self.names.get(tried) {
                return Some(at);
            }
            (_, tried) = tried.split_once('/')?;
        }
    }
}

/// The name without a version suffix: `@…`, `-YYYY-MM-DD` or `-YYYYMMDD`.
fn without_version(model: &str) -> Option<&str> {
    if let Some((name, _)) = model.rsplit_once('@') {
        return Some(name);
    }
    [b"-dddd-dd-dd".as_slice(), b"-dddddddd"].iter().find_map(|date| {
        let (name, end) = model.split_at_checked(model.len().checked_sub(date.len())?)?;
        let fits = |(byte, &kind): (u8, &u8)| if kind == b'd' { byte.is_ascii_digit() } else { byte == kind };
        (!name.is_empty() && end.bytes().zip(*date).all(fits)).then_some(name)
    })
}

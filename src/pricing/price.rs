//! The price of a model, and what an answer of a given usage costs.
//! Plain arithmetic on whole numbers. It saturates instead of overflowing, and never charges a negative amount.

use crate::llm::Usage;
use crate::units::MicroUsd;

/// Pico-dollars per token: 2.5e-06 dollars are 2,500,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    /// For tokens that the provider read from its cache. `None` means the rate of `input`.
    pub cache_read: Option<u64>,
    /// For tokens that the provider wrote to its cache. `None` means the rate of `input`.
    pub cache_write: Option<u64>,
    /// For tokens spent on reasoning. `None` means the rate of `output`.
    pub reasoning: Option<u64>,
}

impl Rates {
    /// One figure for both directions, to rank models by price. It counts three input tokens for each output token,
    /// a ratio that is arbitrary but usual.
    pub(super) fn blend(&self) -> u64 {
        3 * self.input + self.output
    }
}

/// The price of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub rates: Rates,
    /// Rates of a whole request whose input has *more* tokens than this, in ascending order.
    pub(super) above: Box<[(u64, Rates)]>,
    /// The longest answer that the model can generate, if the table states it.
    pub max_output_tokens: Option<u64>,
}

impl Price {
    /// The cost of an answer, rounded half up to a millionth of a dollar.
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        let rates = self.rates_for(usage.input);
        // Usage keeps its parts within their wholes. If it did not, the cost would still not be negative.
        let cache_read = usage.cache_read.min(usage.input);
        let cache_write = usage.cache_write.min(usage.input - cache_read);
        let reasoning = usage.reasoning.min(usage.output);
        let pico = [
            (usage.input - cache_read - cache_write, rates.input),
            (cache_read, rates.cache_read.unwrap_or(rates.input)),
            (cache_write, rates.cache_write.unwrap_or(rates.input)),
            (usage.output - reasoning, rates.output),
            (reasoning, rates.reasoning.unwrap_or(rates.output)),
        ];
        // Each product is below 2⁶⁴ · 10¹², so the sum fits.
        let pico: u128 = pico.iter().map(|&(tokens, rate)| u128::from(tokens) * u128::from(rate)).sum();
        let micro = (pico + PICO_PER_MICRO / 2) / PICO_PER_MICRO;
        MicroUsd(i64::try_from(micro).unwrap_or(i64::MAX))
    }

    /// The cost of a call of this size if nothing is cached. The output is capped at what the model can generate.
    pub fn estimate(&self, input_tokens: u64, output_tokens: u64) -> MicroUsd {
        let output = output_tokens.min(self.max_output_tokens.unwrap_or(u64::MAX));
        self.cost(&Usage { input: input_tokens, output, ..Usage::default() })
    }

    /// The rates of a request with an input of this length.
    pub fn rates_for(&self, input_tokens: u64) -> &Rates {
        let reached = self.above.iter().rev().find(|(above, _)| input_tokens > *above);
        reached.map_or(&self.rates, |(_, rates)| rates)
    }
}

const PICO_PER_MICRO: u128 = 1_000_000;
/// One dollar per token. Arbitrary: a thousand times the most expensive model of 2026.
pub(super) const RATE_MAX: u64 = 1_000_000_000_000;

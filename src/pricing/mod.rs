//! What tokens cost: a table of prices by model, and estimates before a call.
//! The table is immutable and part of the plan; what a shard learned of its models is its own. Never does I/O: who has a
//! price file hands over its text.
//!
//! *Invariant:* money is exact. Prices are whole pico-dollars, read from their decimal text; a cost is rounded once, at
//! its end.

mod decimal; // exact numbers
mod learned; // estimates
mod parse; // LiteLLM's shape
mod table; // which price a model has

#[cfg(test)]
mod tests;

pub use decimal::Flaw;
pub use learned::{Estimate, Learned};
pub use parse::PriceError;
pub use table::{PriceId, Prices};

use crate::llm::Usage;
use crate::units::MicroUsd;

/// Pico-dollars per token: 2.5e-06 dollars are 2,500,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    /// Of tokens that the provider had in its cache; at `input` where the table says nothing.
    pub cached_input: Option<u64>,
    /// Of tokens spent on reasoning; at `output` where the table says nothing.
    pub reasoning: Option<u64>,
}

impl Rates {
    /// One figure for both directions, to tell cheap from dear. Arbitrary, but usual: three tokens read for one made.
    fn blend(&self) -> u64 {
        3 * self.input + self.output
    }
}

/// The price of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub rates: Rates,
    /// Rates of whole requests whose prompt has *more* tokens than this, the smallest first.
    above: Box<[(u64, Rates)]>,
    /// The longest answer, as far as the table knows.
    pub max_output_tokens: Option<u64>,
}

impl Price {
    /// What an answer cost, rounded half up to a millionth of a dollar. It saturates.
    pub fn cost(&self, usage: &Usage) -> MicroUsd {
        let rates = self.rates_for(usage.input);
        // The usage keeps parts within their wholes; where it did not, this would still be no negative price.
        let cached = usage.cache_read.min(usage.input);
        let reasoning = usage.reasoning.min(usage.output);
        let pico = [
            (usage.input - cached, rates.input),
            (cached, rates.cached_input.unwrap_or(rates.input)),
            (usage.output - reasoning, rates.output),
            (reasoning, rates.reasoning.unwrap_or(rates.output)),
        ];
        // Each product is below 2⁶⁴ · 10¹², so the sum fits.
        let pico: u128 = pico.iter().map(|&(tokens, rate)| u128::from(tokens) * u128::from(rate)).sum();
        let micro = (pico + PICO_PER_MICRO / 2) / PICO_PER_MICRO;
        MicroUsd(i64::try_from(micro).unwrap_or(i64::MAX))
    }

    /// What a call of this size would cost, nothing of it being cached. An answer is not longer than the model can make.
    pub fn estimate(&self, input_tokens: u64, output_tokens: u64) -> MicroUsd {
        let output = output_tokens.min(self.max_output_tokens.unwrap_or(u64::MAX));
        self.cost(&Usage { input: input_tokens, output, ..Usage::default() })
    }

    /// The rates of a request with a prompt of this length.
    pub fn rates_for(&self, prompt_tokens: u64) -> &Rates {
        let reached = self.above.iter().rev().find(|(above, _)| prompt_tokens > *above);
        reached.map_or(&self.rates, |(_, rates)| rates)
    }
}

const PICO_PER_MICRO: u128 = 1_000_000;
/// A dollar a token. Arbitrary: a thousand times the dearest model of 2026.
const RATE_MAX: u64 = 1_000_000_000_000;

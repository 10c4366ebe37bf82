//! Prices of tokens: a table by model, the cost of an answer, and estimates before a call.
//! The table is immutable and part of the plan; what a shard learns about its models belongs to that shard. Never does
//! I/O: whoever reads a price file passes its text in.
//!
//! *Invariant:* money is exact. Prices are whole pico-dollars, read from their decimal text. A cost is rounded once, at
//! the end.

// Exact decimal numbers.
mod decimal;

// Rates and the cost of an answer.
mod price;

// Reads LiteLLM's table format.
mod parse;

// Finds the price of a model by its names.
mod table;

// Estimates of a request's size before it is sent.
mod learned;

#[cfg(test)]
mod tests;

pub use decimal::Flaw;
pub use learned::{Estimate, Learned};
pub use parse::PriceError;
pub use price::{Price, Rates};
pub use table::{PriceId, Prices};

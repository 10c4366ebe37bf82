//! Policies: what an operator wrote in CEL, checked once and judged for every request.
//! Checked and compiled by the coordinator (on a thread of its own with a large stack), judged on every shard.
//! Never does I/O, never reads a clock, and no expression, however hostile, makes it panic.
//!
//! ```text
//! text → syntax (size, characters, nesting; then cel's parser) → check (types, allow-list, constants) → Compiled → judge
//! ```
//!
//! *Invariant:* what runs was checked. [`Compiled`] is the only way to a runnable policy, and only `check` makes one, so
//! that an expression reaches cel's interpreter only in the shapes that are known not to panic and to be cheap.
//!
//! # What an expression may say
//!
//! Comparison, arithmetic, `!`, `&&`, `||`, `? :`, `in`, lists, strings in one pair of quotes, `size`, `contains`,
//! `startsWith`, `endsWith`, `matches` with a literal pattern, conversions (`int`, `uint`, `double`, `string`, `bool`),
//! `timestamp("…")` and `duration("…")` of literals, the `get…` accessors, and `all`, `exists`, `exists_one`, `map`,
//! `filter` over a list written on the spot. No maps, messages, bytes, null, fields, indexing or `type`.
//!
//! *Beyond CEL:* int and double mix in arithmetic and in `? :` (`cost_usd / request_count > 0.1`); the int is converted.
//! Comparison across number types is CEL's own.

mod draft; // what the REST API carries
mod method; // what an expression may call on a value
mod variable; // what an expression may read

mod check; // from a syntax tree to a checked one
mod functions; // which functions, with which arguments
mod operators; // which operators, between which types
mod syntax; // from text to a syntax tree
mod types;

mod compiled; // the policies of a plan
mod judge; // what a request meets
mod scope; // a request's variables as CEL values
mod values; // values and functions that cel lacks

#[cfg(test)]
mod tests;

pub use check::Checked;
pub use compiled::{Compiled, Failed, Runnable, check_expression};
pub use draft::{Action, Draft, FieldError, Mode, Policy};
pub use judge::{Downgrades, Evaluator, FaultKind, Match, Note, PolicyFault, Repriced, Verdict};
pub use method::{METHODS, PolicyMethod};
pub use scope::Inputs;
pub use syntax::{ExpressionError, Position};
pub use types::CelType;
pub use variable::{Variable, Variables};

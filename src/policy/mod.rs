//! Policies: CEL expressions that an operator wrote, checked once and judged for every request.
//! The coordinator checks and compiles them (on a separate thread with a large stack); every shard judges them.
//! Never does I/O, never reads a clock, and no expression, however hostile, makes it panic.
//!
//! ```text
//! text → syntax (size, characters, nesting; then cel's parser) → check (types, allow-list, constants) → Compiled → judge
//! ```
//!
//! *Invariant:* only checked expressions run. [`Compiled`] is the only way to get a runnable policy, and only `check` makes
//! one, so an expression reaches cel's interpreter only in shapes that are known not to panic and to be cheap.
//!
//! # Supported expressions
//!
//! Comparison, arithmetic, `!`, `&&`, `||`, `? :`, `in`, lists, strings in one pair of quotes, `size`, `contains`,
//! `startsWith`, `endsWith`, `matches` with a literal pattern, conversions (`int`, `uint`, `double`, `string`, `bool`),
//! `timestamp("…")` and `duration("…")` of literals, the `get…` accessors, and `all`, `exists`, `exists_one`, `map`,
//! `filter` over a list written in place. No maps, messages, bytes, null, fields, indexing or `type`.
//!
//! *Beyond CEL:* int and double mix in arithmetic and in `? :` (`cost_usd / request_count > 0.1`); the int is converted.
//! Comparison across number types is standard CEL.

// Policies and drafts in the REST API and in the store.
mod draft;

// The functions that an expression may call on a value.
mod method;

// The variables that an expression may read.
mod variable;

// The static check: turns a syntax tree into a checked one.
mod check;

// The functions that the check allows, with their argument types.
mod functions;

// The operators that the check allows, with their operand types.
mod operators;

// Parses text into a syntax tree.
mod syntax;

// The types that the check knows.
mod types;

// The compiled policies of a plan.
mod compiled;

// Judges a request by the policies.
mod judge;

// A request's variables as CEL values.
mod scope;

// Values and functions that cel lacks.
mod values;

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

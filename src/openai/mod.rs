//! The OpenAI API's shapes: pure functions from bytes to values and back.
//! Used on every shard. No I/O, no clock, no state beyond what one request or answer needs.

pub mod answer; // what an answer says beyond its usage
pub mod error; // the shape of an error
pub mod facts; // what a request says: model, stream, …
pub mod json; // a strict walker over a JSON text, and how strings are written
pub mod models;
pub mod splice; // changes to a request's body that leave its other bytes alone
pub mod stream; // what an event of a stream says, and the event that says it failed
pub mod usage; // what an answer says it used // the shape of a model list

#[cfg(test)]
pub(crate) mod seeded;

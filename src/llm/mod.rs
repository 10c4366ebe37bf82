//! The neutral vocabulary of a model call: its operation, the facts of its request, the tokens of its answer.
//! Plain values without I/O, shared by every thread. No vendor's field name or path appears here: those belong to
//! `dialect`.

// The operations that luner governs.
mod operation;

// The facts of a request.
mod facts;

// The tokens of an answer.
mod usage;

// One event of a streamed answer.
mod chunk;

pub use chunk::Chunk;
pub use facts::{FactLimits, Facts, MODEL_BYTES_MAX};
pub use operation::Operation;
pub use usage::{Counting, LaterReport, PartCounting, Usage, UsageReport, UsageReports};

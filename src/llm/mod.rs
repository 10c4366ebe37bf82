//! The neutral vocabulary of a model call: the operation, what the request asks for, what the answer used.
//! Plain values without I/O, shared by every thread. No vendor's field name or path appears here: those belong to
//! `dialect`.

// The operations that luner governs.
mod operation;

// What a request asks for.
mod facts;

// What an answer used.
mod usage;

// What one event of a streamed answer means.
mod chunk;

pub use chunk::Chunk;
pub use facts::{FactLimits, Facts, MODEL_BYTES_MAX};
pub use operation::Operation;
pub use usage::{Counting, LaterReport, PartCounting, Usage, UsageReport, UsageReports};

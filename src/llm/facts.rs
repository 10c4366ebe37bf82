//! The facts of a request: the values on which policies, limits, routing, the cache and estimates depend.
//! A dialect reads them from a body. They are independent of how that body is written.

use std::borrow::Cow;

use super::Operation;
use crate::json::DEPTH_MAX_DEFAULT;

/// The facts of one request.
#[derive(Clone, Debug)]
pub struct Facts<'b> {
    pub operation: Operation,
    /// Length of the whole body, from which its tokens are estimated.
    pub body_bytes: usize,
    /// 1 to [`MODEL_BYTES_MAX`] bytes without control characters, otherwise as the caller wrote it.
    pub model: Cow<'b, str>,
    /// The caller wants the answer as a stream of events.
    pub stream: bool,
    /// Finite. `-0` is kept, and equals 0.
    pub temperature: Option<f64>,
    /// The longest answer that the caller accepts, in tokens; at most 2⁵³.
    pub output_tokens_max: Option<u64>,
    /// How many alternative answers the caller wants; at most 2⁵³.
    pub answers: Option<u64>,
}

/// Limits on what a reader of facts accepts.
#[derive(Clone, Copy, Debug)]
pub struct FactLimits {
    /// Containers that may be open at once, the body itself included.
    pub depth: usize,
}

impl Default for FactLimits {
    fn default() -> Self {
        FactLimits { depth: DEPTH_MAX_DEFAULT }
    }
}

/// Longest model name in bytes. Arbitrary; the longest published names have about 100.
pub const MODEL_BYTES_MAX: usize = 256;

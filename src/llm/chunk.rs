//! The meaning of one event of a streamed answer for the gateway.
//! A dialect reads it from the event, which itself passes through unchanged.

use super::UsageReport;

/// One event of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The usage that the event reports.
    pub usage: Option<UsageReport>,
    /// The event carries usage and nothing else, so a caller who did not ask for usage can do without it.
    pub only_usage: bool,
    /// The answer ends with this event, whether it succeeded or not.
    pub done: bool,
    /// The provider reports that it failed.
    pub failed: bool,
    /// Characters of generated text, from which tokens are estimated if usage never comes.
    pub generated_chars: usize,
    /// The event's own number, in dialects that number their events.
    pub sequence: Option<u64>,
}

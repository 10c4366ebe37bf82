//! Ranges of time, and how a range is divided into the steps of a series. Pure.

use super::super::layout::bounded;
use crate::link::usage::MINUTE_MS;

/// Points of one series; a range with more gets longer steps. Arbitrary: more than a wide screen has columns.
pub const POINTS_MAX: u64 = 2_000;

/// A half-open range of time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub from_ms: u64,
    /// The first millisecond after the range.
    pub to_ms: u64,
}

impl TimeRange {
    /// The minutes of the range as values to bind: the first, and the first after the range.
    pub(super) fn minutes(self) -> [i64; 2] {
        [bounded(self.from_ms / MINUTE_MS), bounded(self.to_ms.div_ceil(MINUTE_MS))]
    }
}

/// A range divided into steps of whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    first_minute: u64,
    minutes: u64,
    count: u64,
}

impl Steps {
    /// Steps of `step_ms`, or longer ones where there would be more than [`POINTS_MAX`].
    pub fn of(range: TimeRange, step_ms: u64) -> Steps {
        let first_minute = range.from_ms / MINUTE_MS;
        let all = range.to_ms.div_ceil(MINUTE_MS).saturating_sub(first_minute);
        let minutes = (step_ms / MINUTE_MS).max(1).max(all.div_ceil(POINTS_MAX));
        Steps { first_minute, minutes, count: all.div_ceil(minutes) }
    }

    /// When each step begins, in milliseconds.
    pub fn starts_ms(&self) -> impl Iterator<Item = u64> {
        let Steps { first_minute, minutes, count } = *self;
        (0..count).map(move |step| first_minute.saturating_add(step * minutes).saturating_mul(MINUTE_MS))
    }

    /// The step that contains a minute.
    pub fn index(&self, minute: u64) -> usize {
        usize::try_from(minute.saturating_sub(self.first_minute) / self.minutes).unwrap_or(usize::MAX)
    }
}

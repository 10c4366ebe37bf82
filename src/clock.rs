//! The only place that reads the time. A [`Now`] is taken once per event and passed down, so that the judging code depends
//! on its arguments only and a test can use a clock of its own.
//! Any thread may own a [`Clock`].
//! Never sleeps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

/// One reading of both clocks. Limits and windows use `mono_ns`; records use `wall_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on the monotonic clock since [`Clock::start`].
    pub mono_ns: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

impl Now {
    /// Milliseconds on the monotonic clock.
    pub fn mono_ms(self) -> u64 {
        self.mono_ns / 1_000_000
    }

    /// The time since an earlier reading, or zero if `earlier` is in fact later.
    pub fn since(self, earlier: Now) -> Duration {
        Duration::from_nanos(self.mono_ns.saturating_sub(earlier.mono_ns))
    }
}

/// Formats a wall-clock time for users: RFC 3339 in UTC with milliseconds, such as `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(wall_ms: u64) -> String {
    let time = i64::try_from(wall_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The source of [`Now`]. Every thread has a copy of the same clock, so that their monotonic readings can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// Starts the monotonic clock at zero.
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the clocks")]
    pub fn start() -> Self {
        Clock { epoch: Instant::now() }
    }

    /// Microseconds on the monotonic clock since the system started. The same in every process, so processes can compare it.
    pub fn since_boot_us() -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
    }

    /// Reads both clocks.
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the clocks")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_ns: u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_formats_as_utc_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_769_860_800_007), "2026-01-31T12:00:00.007Z");
        // A time beyond the calendar's range must not panic.
        assert_eq!(rfc3339(u64::MAX), "1970-01-01T00:00:00.000Z");
    }
}

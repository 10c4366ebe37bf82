//! Tokens that have flowed into a limit since it was made, as a function of time: a straight line that bends where the rate
//! changed. Pure arithmetic on values; belongs to no thread.

use std::time::Duration;

use crate::clock::Now;

/// A straight line from the last change of the rate on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inflow {
    /// Time of the last change.
    pub(super) since_ns: u64,
    /// What had flowed in until then, in fractions of a unit, so that changes lose nothing.
    pub(super) before: u128,
    /// The rate, in fractions of a unit. Zero if nothing flows in.
    pub(super) per_ns: u64,
}

impl Inflow {
    /// Goes on at another rate from `now`.
    pub(super) fn at_rate(self, qps: f64, now: Now) -> Inflow {
        // As in the configuration, at most six decimals count; a NaN is taken for the smallest rate.
        let micro_qps = (qps.clamp(QPS_MIN, QPS_MAX) * 1e6).round() as u128;
        // Rounded up, so that a token is there after exactly the time that it takes: too much by a 10,000th in decades.
        let per_ns = (micro_qps.max(MICRO_QPS_MIN) * u128::from(TOKEN) * FRACTION).div_ceil(1_000_000_000_000_000);
        Inflow { since_ns: now.mono_ns, before: self.fractions_at(now), per_ns: per_ns as u64 }
    }

    /// Stops at `now`, at whole units: charges and give-backs of whole tokens then leave no remainder.
    pub(super) fn stopped(self, now: Now) -> Inflow {
        let before = u128::from(self.at(now)) << FRACTION_BITS;
        Inflow { since_ns: now.mono_ns, before, per_ns: 0 }
    }

    /// Whole units that have flowed in, rounded down.
    #[inline]
    pub(super) fn at(self, now: Now) -> u64 {
        u64::try_from(self.fractions_at(now) >> FRACTION_BITS).unwrap_or(u64::MAX)
    }

    /// Whole units that have flowed in, rounded up.
    pub(super) fn at_most(self, now: Now) -> u64 {
        u64::try_from(self.fractions_at(now).div_ceil(FRACTION)).unwrap_or(u64::MAX)
    }

    /// Time until that many units have flowed in; zero if they have, `None` if they never will.
    pub(super) fn until(self, units: u64, now: Now) -> Option<Duration> {
        let missing = (u128::from(units) << FRACTION_BITS).saturating_sub(self.before);
        if missing == 0 {
            return Some(Duration::ZERO);
        }
        let after_ns = missing.div_ceil(match self.per_ns {
            0 => return None,
            per_ns => u128::from(per_ns),
        });
        let at_ns = u64::try_from(after_ns).unwrap_or(u64::MAX).saturating_add(self.since_ns);
        Some(Duration::from_nanos(at_ns.saturating_sub(now.mono_ns)))
    }

    fn fractions_at(self, now: Now) -> u128 {
        let passed_ns = now.mono_ns.saturating_sub(self.since_ns);
        self.before + u128::from(passed_ns) * u128::from(self.per_ns)
    }
}

/// One request, in units of the level: at 1,000,000 requests a second a u64 lasts for 35 years.
pub(super) const TOKEN: u64 = 1 << 14;
/// A unit, in the fractions that the inflow is kept in. The fastest flow has 2⁶² of them in a nanosecond, the slowest 2³².
const FRACTION: u128 = 1 << FRACTION_BITS;
const FRACTION_BITS: u32 = 58;
/// The bounds of `rate_limit.providers[].qps`, which `config` enforces.
const QPS_MIN: f64 = 0.001;
const QPS_MAX: f64 = 1_000_000.0;
const MICRO_QPS_MIN: u128 = 1_000;

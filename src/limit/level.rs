//! One provider's limit: a generic cell rate algorithm (ITU-T I.371) whose clock counts tokens, not time.
//! The limit is immutable and part of a plan; its level is shared by all shards and by all plans that limit this provider.
//! It never loops without somebody making progress, and writes nothing when it refuses.
//!
//! The *flow* is what has flowed in since the start, in tokens: it grows by `qps` a second. The *level* is the flow up to
//! which requests are charged: a request takes the level (or the flow, where that is higher: a full bucket does not fill
//! further) one token up, if it is not more than `burst` ahead of the flow then. A change of `qps` is a bend in the flow, and
//! the level, being in tokens, stays what it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Now;

/// What a provider may be sent.
#[derive(Clone, Debug)]
pub struct Limit {
    level: Arc<Level>,
    qps: f64,
    burst: u32,
    flow: Flow,
    /// In units.
    burst_units: u64,
}

/// In units. Alone on its cache line and on the one that some processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Level(AtomicU64);

/// Evidence that a request was charged to its provider's limit, which only [`Limit::try_take`] makes.
#[must_use = "what is charged should be sent"]
#[derive(Debug)]
pub struct Charged(());

/// The limit has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Until there is room for one request, if nobody takes it before. Never zero.
    pub retry_after: Duration,
    /// For the answer's headers.
    pub standing: Standing,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests that may come at once.
    pub limit: u32,
    /// Those that still may.
    pub remaining: u32,
    /// Until all of them may again.
    pub reset: Duration,
}

impl Limit {
    /// A full bucket. `qps` from 0.001 to 1,000,000, `burst` from 1 to 1,000,000; beyond is taken for the nearest.
    pub fn new(qps: f64, burst: u32, now: Now) -> Limit {
        let start = Flow { since_ns: now.mono_ns, before: 0, per_ns: 0 };
        Limit::on(Arc::default(), start, qps, burst, now)
    }

    /// The same provider's limit in the next plan: other figures, and the level that there is. Who still holds this one goes
    /// on with its figures and the same level.
    pub fn successor(&self, qps: f64, burst: u32, now: Now) -> Limit {
        if (self.qps, self.burst) == (qps, burst) {
            return self.clone();
        }
        Limit::on(Arc::clone(&self.level), self.flow, qps, burst, now)
    }

    fn on(level: Arc<Level>, flow: Flow, qps: f64, burst: u32, now: Now) -> Limit {
        let burst_units = u64::from(burst.clamp(1, BURST_MAX)) * TOKEN;
        Limit { level, qps, burst, flow: flow.bend(qps, now), burst_units }
    }

    /// Charges one request.
    ///
    /// # Errors
    /// There is no room for it; nothing was changed then.
    #[inline]
    pub fn try_take(&self, now: Now) -> Result<Charged, Limited> {
        let flow = self.flow.at(now);
        let level = &self.level.0;
        // Relaxed: nothing else is published by it.
        let mut found = level.load(Ordering::Relaxed);
        loop {
            let after = found.max(flow).saturating_add(TOKEN);
            if after > flow.saturating_add(self.burst_units) {
                return Err(self.limited(found, now));
            }
            match level.compare_exchange_weak(found, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(Charged(())),
                Err(newer) => found = newer,
            }
        }
    }

    /// How it stands now.
    pub fn standing(&self, now: Now) -> Standing {
        self.standing_at(self.level.0.load(Ordering::Relaxed), now)
    }

    #[cold]
    fn limited(&self, level: u64, now: Now) -> Limited {
        let room_at = level.saturating_add(TOKEN).saturating_sub(self.burst_units);
        // At least a nanosecond: the level has been looked at just now, and there was no room.
        let retry_after = self.flow.until(room_at, now).max(Duration::from_nanos(1));
        Limited { retry_after, standing: self.standing_at(level, now) }
    }

    fn standing_at(&self, level: u64, now: Now) -> Standing {
        let free = self.burst_units.saturating_sub(level.saturating_sub(self.flow.at(now)));
        Standing {
            limit: (self.burst_units / TOKEN) as u32,
            remaining: (free / TOKEN) as u32,
            reset: self.flow.until(level, now),
        }
    }
}

/// What has flowed in, as a function of time: a line that bends where `qps` changed.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// The last bend.
    since_ns: u64,
    /// What had flowed in until then; in fractions of a unit, so that bends lose nothing.
    before: u128,
    /// In fractions of a unit.
    per_ns: u64,
}

impl Flow {
    fn bend(self, qps: f64, now: Now) -> Flow {
        // As the configuration has them at most six decimals count; a NaN is the smallest.
        let micro_qps = (qps.clamp(QPS_MIN, QPS_MAX) * 1e6).round() as u128;
        // Rounded up, so that a token is there after exactly the time that it takes: too much by a 10,000th in decades.
        let per_ns = (micro_qps.max(MICRO_QPS_MIN) * u128::from(TOKEN) * FRACTION).div_ceil(1_000_000_000_000_000);
        Flow { since_ns: now.mono_ns, before: self.fractions_at(now), per_ns: per_ns as u64 }
    }

    fn fractions_at(self, now: Now) -> u128 {
        let passed_ns = now.mono_ns.saturating_sub(self.since_ns);
        self.before + u128::from(passed_ns) * u128::from(self.per_ns)
    }

    /// In units.
    #[inline]
    fn at(self, now: Now) -> u64 {
        u64::try_from(self.fractions_at(now) >> FRACTION_BITS).unwrap_or(u64::MAX)
    }

    /// The time until so many units have flowed in.
    fn until(self, units: u64, now: Now) -> Duration {
        let missing = (u128::from(units) << FRACTION_BITS).saturating_sub(self.before);
        let after_ns = missing.div_ceil(u128::from(self.per_ns.max(1)));
        let at_ns = u64::try_from(after_ns).unwrap_or(u64::MAX).saturating_add(self.since_ns);
        Duration::from_nanos(at_ns.saturating_sub(now.mono_ns))
    }
}

/// A token in units of the level: at 1,000,000 requests a second a u64 lasts for 35 years.
const TOKEN: u64 = 1 << 14;
/// A unit in the fractions that the flow is kept in. The fastest flow has 2⁶² of them in a nanosecond, the slowest 2³².
const FRACTION: u128 = 1 << FRACTION_BITS;
const FRACTION_BITS: u32 = 58;
/// As the configuration's check has it.
const QPS_MIN: f64 = 0.001;
const QPS_MAX: f64 = 1_000_000.0;
const MICRO_QPS_MIN: u128 = 1_000;
const BURST_MAX: u32 = 1_000_000;

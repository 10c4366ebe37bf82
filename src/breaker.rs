//! A provider's circuit breaker: after some failures in a row no request waits for the provider any more, and one request at a
//! time probes whether it is back. The state is one word, shared by all shards. No locks, no clock and no randomness of its own.
//! A request that succeeds writes nothing while there are no failures to forget, and no request can leave the breaker in a state
//! from which time alone does not free it.
//!
//! ```text
//!   Closed ── `failures` failures in a row ──► Open ── the pause is over and a request comes ──► Probing
//!     ▲                                          ▲                                                  │
//!     └────────── the probe succeeded ───────────┼────────── it failed: twice the pause ────────────┤
//!                                                └────── its caller left, or it takes too long ─────┘
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Now;

#[cfg(test)]
mod tests;

/// State of one provider's breaker; the default is closed. Alone on its cache line and on the one that some processors fetch
/// with it: every request reads it, and another provider's failures must not slow that down.
#[derive(Debug)]
#[repr(align(128))]
pub struct Breaker {
    /// A [`Phase`], packed.
    word: AtomicU64,
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row that open it. Zero counts as one.
    pub failures: u16,
    /// The first pause. Each pause is shortened at random, by up to half, so that several gateways do not come back together.
    pub pause: Duration,
    /// The pause doubles with each failed probe, up to this.
    pub pause_max: Duration,
    /// A probe without a result after this time is given up for lost, and another may go. Should be longer than the provider's
    /// timeout, or the second probe goes while the first still waits.
    pub probe_max: Duration,
}

impl Default for BreakerRules {
    /// Arbitrary, within bounds: the first pause is shorter than a caller's patience, and after the longest one traffic returns
    /// soon enough for a person who watches.
    fn default() -> Self {
        BreakerRules {
            failures: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            probe_max: Duration::from_secs(60),
        }
    }
}

/// The outcome of a request, as far as it concerns the provider's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The provider works: it answered with any status below 500, 429 included.
    Success,
    /// Unreachable, no answer in time, a broken answer, a status of 500 or more.
    Failure,
    /// Nothing: the caller left, a kept connection was stale, or the request was never sent.
    Unknown,
}

impl CallResult {
    /// The result of an answer with this status.
    pub fn of_status(status: u16) -> CallResult {
        if status >= 500 { CallResult::Failure } else { CallResult::Success }
    }
}

/// A breaker's state, for health and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed {
        /// Failures in a row so far.
        failures: u16,
    },
    /// Requests are refused.
    Open {
        /// Time until a probe may go.
        left: Duration,
    },
    /// A probe is under way, or the next request will be one.
    HalfOpen,
}

impl BreakerState {
    /// The names of all states.
    pub const NAMES: [&str; 3] = ["closed", "open", "half_open"];

    /// The state's name in the REST API and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed { .. } => "closed",
            BreakerState::Open { .. } => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// The breaker is open: nothing may be sent to the provider now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOpen {
    /// Time until a probe may go; zero while one is under way.
    pub retry_after: Duration,
}

/// Permission to send one request to the provider. Ended by [`Permit::end`]. A permit that is dropped says nothing about the
/// provider; if it was the probe's, the next request may be the probe.
#[must_use = "a dropped permit counts as a request that never was"]
#[derive(Debug)]
pub struct Permit<'b> {
    breaker: &'b Breaker,
    rules: &'b BreakerRules,
    /// Set for the probe: the word that stands for it.
    probe: Option<u64>,
}

impl Permit<'_> {
    /// Whether the request probes if the provider is back.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Tells the breaker how the request ended. Best called as soon as the answer's head is in, because a stream may last.
    /// `jitter` is random.
    pub fn end(mut self, result: CallResult, now: Now, jitter: u32) {
        match (self.probe.take(), result) {
            (Some(word), CallResult::Unknown) => self.breaker.release(word),
            (Some(word), result) => self.breaker.conclude(word, result, self.rules, now, jitter),
            (None, CallResult::Success) => self.breaker.succeeded(),
            (None, CallResult::Failure) => self.breaker.failed(self.rules, now, jitter),
            (None, CallResult::Unknown) => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(word) = self.probe.take() {
            self.breaker.release(word);
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { word: AtomicU64::new(Phase::CLOSED.pack()) }
    }
}

impl Breaker {
    /// Closes it and forgets all failures. Only for a breaker that nobody else uses at the moment.
    pub fn restart(&self) {
        self.word.store(Phase::CLOSED.pack(), Ordering::Relaxed);
    }

    /// Asks for permission to send a request to the provider.
    ///
    /// # Errors
    /// The breaker is open, and no probe is due.
    #[inline]
    pub fn ask<'b>(&'b self, rules: &'b BreakerRules, now: Now) -> Result<Permit<'b>, BreakerOpen> {
        let word = self.word.load(Ordering::Relaxed);
        match Phase::unpack(word) {
            Phase::Closed { .. } => Ok(Permit { breaker: self, rules, probe: None }),
            phase => self.ask_to_probe(word, phase, rules, now),
        }
    }

    /// The state as of now.
    pub fn state(&self, now: Now) -> BreakerState {
        match Phase::unpack(self.word.load(Ordering::Relaxed)) {
            Phase::Closed { failures } => BreakerState::Closed { failures },
            Phase::Open { until_ms, .. } if now.mono_ms() < until_ms => {
                BreakerState::Open { left: Duration::from_millis(until_ms - now.mono_ms()) }
            }
            Phase::Open { .. } | Phase::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    #[cold]
    fn ask_to_probe<'b>(
        &'b self,
        word: u64,
        phase: Phase,
        rules: &'b BreakerRules,
        now: Now,
    ) -> Result<Permit<'b>, BreakerOpen> {
        let (Phase::Open { until_ms, opened } | Phase::Probing { until_ms, opened }) = phase else {
            return Ok(Permit { breaker: self, rules, probe: None });
        };
        if now.mono_ms() < until_ms {
            let left = if let Phase::Open { .. } = phase { until_ms - now.mono_ms() } else { 0 };
            return Err(BreakerOpen { retry_after: Duration::from_millis(left) });
        }
        // Later than the deadline of any probe that is still out, so that no two have the same word.
        let until_ms = now.mono_ms().saturating_add(millis(rules.probe_max).max(1));
        let probing = Phase::Probing { until_ms, opened }.pack();
        match self.exchange(word, probing) {
            true => Ok(Permit { breaker: self, rules, probe: Some(probing) }),
            // Another shard's request is the probe.
            false => Err(BreakerOpen { retry_after: Duration::ZERO }),
        }
    }

    /// Ends a probe that succeeded or failed. Changes nothing if another probe has taken its place.
    fn conclude(&self, word: u64, result: CallResult, rules: &BreakerRules, now: Now, jitter: u32) {
        let Phase::Probing { opened, .. } = Phase::unpack(word) else { return };
        let next = match result {
            CallResult::Failure => rules.open(opened.saturating_add(1), now, jitter),
            _ => Phase::CLOSED,
        };
        self.exchange(word, next.pack());
    }

    /// Ends a probe without a result: the next may go at once.
    fn release(&self, word: u64) {
        if let Phase::Probing { opened, .. } = Phase::unpack(word) {
            self.exchange(word, Phase::Open { until_ms: 0, opened }.pack());
        }
    }

    /// Ends a request that was not a probe. It left while the breaker was closed, so its result says nothing about a later phase.
    fn succeeded(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if let Phase::Closed { failures: 1.. } = Phase::unpack(word) {
            // If another request ended at the same time, its change may stand: either order is true.
            self.exchange(word, Phase::CLOSED.pack());
        }
    }

    /// Ends a request that was not a probe, like [`Breaker::succeeded`].
    fn failed(&self, rules: &BreakerRules, now: Now, jitter: u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        while let Phase::Closed { failures } = Phase::unpack(word) {
            let failures = failures.saturating_add(1);
            let next = match failures >= rules.failures {
                true => rules.open(0, now, jitter),
                false => Phase::Closed { failures },
            };
            match self.word.compare_exchange_weak(word, next.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl BreakerRules {
    /// The phase that begins now, after `opened` failed probes.
    fn open(&self, opened: u8, now: Now, jitter: u32) -> Phase {
        let full = self.pause.saturating_mul(1 << opened.min(16)).min(self.pause_max);
        let jittered = full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        // A millisecond more, because the clock's current one may be nearly over.
        let until_ms = now.mono_ms().saturating_add(millis(jittered)).saturating_add(1);
        Phase::Open { until_ms, opened }
    }
}

/// The word, unpacked. Times are in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// After this many failures in a row.
    Closed { failures: u16 },
    /// Until a probe may go; `opened` counts the failed probes.
    Open { until_ms: u64, opened: u8 },
    /// Until the probe is given up for lost.
    Probing { until_ms: u64, opened: u8 },
}

impl Phase {
    const CLOSED: Phase = Phase::Closed { failures: 0 };

    /// The kind stands in the two lowest bits, above it eight bits of `opened` or sixteen of `failures`, above those the time.
    fn pack(self) -> u64 {
        let timed = |kind: u64, until_ms: u64, opened: u8| kind | u64::from(opened) << 2 | until_ms.min(TIME_MAX) << 10;
        match self {
            Phase::Closed { failures } => u64::from(failures) << 2,
            Phase::Open { until_ms, opened } => timed(OPEN, until_ms, opened),
            Phase::Probing { until_ms, opened } => timed(PROBING, until_ms, opened),
        }
    }

    fn unpack(word: u64) -> Phase {
        let (until_ms, opened) = (word >> 10, (word >> 2) as u8);
        match word & 3 {
            OPEN => Phase::Open { until_ms, opened },
            PROBING => Phase::Probing { until_ms, opened },
            _ => Phase::Closed { failures: (word >> 2) as u16 },
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const OPEN: u64 = 1;
const PROBING: u64 = 2;
/// The highest time that 54 bits hold: half a million years.
const TIME_MAX: u64 = u64::MAX >> 10;

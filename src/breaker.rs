//! A provider's circuit breaker: after some failures in a row nobody waits for it, and one request at a time tries whether
//! it is back. One word, shared by all shards; no locks, no clock and no randomness of its own. A request that goes well
//! writes nothing, and none ever leaves the breaker in a state from which time alone does not free it.
//!
//! ```text
//!   Closed ── as many failures in a row as the rules say ──► Open ── the pause is over, someone asks ──► Probing
//!     ▲                                                        ▲                                            │
//!     └──────────────────── the probe went well ───────────────┼──────────── it failed: twice the pause ────┤
//!                                                              └── its caller left, or it takes too long ───┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Now;

#[cfg(test)]
mod tests;

/// One provider's, for all shards; it outlives plans.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    /// A [`Phase`], packed.
    word: AtomicU64,
}

/// When to open, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open it; at least 1.
    pub failures: u16,
    /// The first pause; between half of it and all of it, so that several gateways do not come back together.
    pub pause: Duration,
    /// Doubled from probe to probe up to this.
    pub pause_max: Duration,
    /// A probe of which nothing was heard for so long is taken for lost, and another may go. It should be longer than the
    /// provider's timeout, or the second goes while the first still waits.
    pub probe_max: Duration,
}

impl Default for Rules {
    /// Arbitrary, but for the order of things: a pause that is shorter than a caller's patience, and a longest one after
    /// which traffic returns soon enough for a person who watches.
    fn default() -> Self {
        Rules {
            failures: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            probe_max: Duration::from_secs(60),
        }
    }
}

/// How a request to the provider ended, as far as it says something about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers: any status below 500, 429 too.
    Sound,
    /// Unreachable, no answer in time, a broken answer, a status of 500 or more.
    Failed,
    /// The caller left, a kept connection was stale, the request was never sent.
    Nothing,
}

impl Verdict {
    pub fn of_status(status: u16) -> Verdict {
        if status >= 500 { Verdict::Failed } else { Verdict::Sound }
    }
}

/// For health and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed {
        /// In a row, until now.
        failures: u16,
    },
    Open {
        /// Until a probe may go.
        left: Duration,
    },
    /// A probe is under way, or the next request will be one.
    HalfOpen,
}

impl State {
    /// Of all states.
    pub const NAMES: [&str; 3] = ["closed", "open", "half_open"];

    pub fn name(self) -> &'static str {
        match self {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen => "half_open",
        }
    }
}

/// The breaker is open: the provider is not to be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Until a probe may go; zero while one is under way.
    pub retry_after: Duration,
}

/// Leave to ask the provider once. Ended by [`Permit::end`]; dropped, it says nothing about the provider, and if it was the
/// probe, the next request may be one.
#[must_use = "dropped, it counts as a request that never was"]
#[derive(Debug)]
pub struct Permit {
    /// Set when it is the probe: the breaker, and the word that says so. Others need no reference, and share no count.
    probe: Option<(Arc<Breaker>, u64)>,
}

impl Permit {
    /// It tries whether the provider is back.
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// How the request ended; best said as soon as the answer's head is in, because a stream may last. `breaker` is the one that gave the permit; `jitter` is random.
    pub fn end(mut self, breaker: &Breaker, verdict: Verdict, now: Now, jitter: u32) {
        match (self.probe.take(), verdict) {
            (Some((breaker, word)), Verdict::Nothing) => breaker.release(word),
            (Some((breaker, word)), verdict) => breaker.conclude(word, verdict, now, jitter),
            (None, Verdict::Sound) => breaker.succeeded(),
            (None, Verdict::Failed) => breaker.failed(now, jitter),
            (None, Verdict::Nothing) => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((breaker, word)) = self.probe.take() {
            breaker.release(word);
        }
    }
}

impl Breaker {
    pub fn new(rules: Rules) -> Arc<Breaker> {
        Arc::new(Breaker { rules, word: AtomicU64::new(Phase::Closed { failures: 0 }.pack()) })
    }

    /// Leave to ask the provider.
    ///
    /// # Errors
    /// It is not to be asked now.
    #[inline]
    pub fn ask(self: &Arc<Self>, now: Now) -> Result<Permit, Refused> {
        let word = self.word.load(Ordering::Relaxed);
        match Phase::unpack(word) {
            Phase::Closed { .. } => Ok(Permit { probe: None }),
            phase => self.ask_for_probe(word, phase, now),
        }
    }

    /// By which it opens.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// As of now.
    pub fn state(&self, now: Now) -> State {
        match Phase::unpack(self.word.load(Ordering::Relaxed)) {
            Phase::Closed { failures } => State::Closed { failures },
            Phase::Open { until_ms, .. } if now.mono_ms() < until_ms => {
                State::Open { left: Duration::from_millis(until_ms - now.mono_ms()) }
            }
            Phase::Open { .. } | Phase::Probing { .. } => State::HalfOpen,
        }
    }

    #[cold]
    fn ask_for_probe(self: &Arc<Self>, word: u64, phase: Phase, now: Now) -> Result<Permit, Refused> {
        let (Phase::Open { until_ms, opened } | Phase::Probing { until_ms, opened }) = phase else {
            return Ok(Permit { probe: None });
        };
        if now.mono_ms() < until_ms {
            let left = if let Phase::Open { .. } = phase { until_ms - now.mono_ms() } else { 0 };
            return Err(Refused { retry_after: Duration::from_millis(left) });
        }
        // Later than that of any probe that is still out, so that no two have the same word.
        let until_ms = now.mono_ms().saturating_add(millis(self.rules.probe_max).max(1));
        let probing = Phase::Probing { until_ms, opened }.pack();
        match self.exchange(word, probing) {
            true => Ok(Permit { probe: Some((Arc::clone(self), probing)) }),
            // Another shard's request is the probe.
            false => Err(Refused { retry_after: Duration::ZERO }),
        }
    }

    /// What the probe found out; nothing if another has taken its place.
    fn conclude(&self, word: u64, verdict: Verdict, now: Now, jitter: u32) {
        let Phase::Probing { opened, .. } = Phase::unpack(word) else { return };
        let next = match verdict {
            Verdict::Failed => self.open(opened.saturating_add(1), now, jitter),
            _ => Phase::Closed { failures: 0 },
        };
        self.exchange(word, next.pack());
    }

    /// The probe says nothing; the next may go at once.
    fn release(&self, word: u64) {
        if let Phase::Probing { opened, .. } = Phase::unpack(word) {
            self.exchange(word, Phase::Open { until_ms: 0, opened }.pack());
        }
    }

    /// A request that was no probe: one that went out while the breaker was closed says nothing about a later phase.
    fn succeeded(&self) {
        let word = self.word.load(Ordering::Relaxed);
        if let Phase::Closed { failures: 1.. } = Phase::unpack(word) {
            // Lost against another request that ended at the same time: either order is true.
            self.exchange(word, Phase::Closed { failures: 0 }.pack());
        }
    }

    fn failed(&self, now: Now, jitter: u32) {
        let mut word = self.word.load(Ordering::Relaxed);
        while let Phase::Closed { failures } = Phase::unpack(word) {
            let failures = failures.saturating_add(1);
            let next =
                if failures >= self.rules.failures { self.open(0, now, jitter) } else { Phase::Closed { failures } };
            match self.word.compare_exchange_weak(word, next.pack(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => word = newer,
            }
        }
    }

    /// Open for the pause after `opened` probes that failed.
    fn open(&self, opened: u8, now: Now, jitter: u32) -> Phase {
        let Rules { pause, pause_max, .. } = self.rules;
        let full = pause.saturating_mul(1 << opened.min(16)).min(pause_max);
        let jittered = full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        // A millisecond more: the clock's own may be nearly over.
        let until_ms = now.mono_ms().saturating_add(millis(jittered)).saturating_add(1);
        Phase::Open { until_ms, opened }
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What the word says. Times are in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed { failures: u16 },
    Open { until_ms: u64, opened: u8 },
    Probing { until_ms: u64, opened: u8 },
}

impl Phase {
    /// Kind in the two lowest bits, then eight for `opened` or sixteen for `failures`, then the time.
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
/// What 54 bits hold: half a million years.
const TIME_MAX: u64 = u64::MAX >> 10;

//! How much a limit lets through, published so that shards read it without a lock while its owner changes it. One writer at a
//! time; readers never wait for it and only try again when a change came in between.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::inflow::{Inflow, TOKEN};
use crate::clock::Now;

/// How much may be charged to a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ceiling {
    /// A number of requests a second.
    Flow {
        /// Requests a second: from 0.001 to 1,000,000; values outside are taken for the nearest.
        qps: f64,
        /// Requests that may come at once: from 1 to 1,000,000; values outside are taken for the nearest.
        burst: u32,
    },
    /// A number of requests in all. Nothing flows in: only its owner raises and lowers it.
    Grant {
        /// Requests, those already charged included. If it is below those, nothing is charged until enough was given back.
        units: u32,
    },
}

/// A ceiling, laid out for the arithmetic of charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) inflow: Inflow,
    /// How far the level may be ahead of the inflow, in units of the level.
    pub(super) ahead_max: u64,
}

impl Figures {
    fn new(ceiling: Ceiling, inflow: Inflow, now: Now) -> Figures {
        match ceiling {
            Ceiling::Flow { qps, burst } => {
                Figures { inflow: inflow.at_rate(qps, now), ahead_max: u64::from(burst.clamp(1, BURST_MAX)) * TOKEN }
            }
            Ceiling::Grant { units } => Figures { inflow: inflow.stopped(now), ahead_max: u64::from(units) * TOKEN },
        }
    }
}

/// The figures in force. Alone on its cache line and on the one that some processors fetch with it, so that charges, which
/// write the level, do not take it away from other cores.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct PublishedCeiling {
    /// Counts the changes. Readers use the copy that its lowest bit names, the writer fills the other one.
    version: AtomicU64,
    copies: [AtomicFigures; 2],
    /// What was published last, for the next change.
    last: LastChange,
}

#[allow(clippy::disallowed_types, reason = "taken by those who change a ceiling, never by a shard")]
type LastChange = std::sync::Mutex<(Option<Ceiling>, Figures)>;

impl PublishedCeiling {
    /// The ceiling in force, and the version that [`PublishedCeiling::is_current`] takes.
    #[inline]
    pub(super) fn read(&self) -> (u64, Figures) {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let figures = self.copies[(version & 1) as usize].load();
            // A reader that found a part of a newer change finds its version, too.
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == version {
                return (version, figures);
            }
        }
    }

    /// Whether this version is still the last. Sequentially consistent, for [`super::Limit::set_ceiling`].
    #[inline]
    pub(super) fn is_current(&self, version: u64) -> bool {
        self.version.load(Ordering::SeqCst) == version
    }

    /// Publishes another ceiling, with the same inflow until now, and returns its figures. Changes nothing if that ceiling is
    /// in force already.
    pub(super) fn change(&self, ceiling: Ceiling, now: Now) -> Figures {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != Some(ceiling) {
            *last = (Some(ceiling), Figures::new(ceiling, last.1.inflow, now));
            self.publish(last.1);
        }
        last.1
    }

    /// Publishes a ceiling into which nothing has flowed yet.
    pub(super) fn start(&self, ceiling: Ceiling, now: Now) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (Some(ceiling), Figures::new(ceiling, Inflow::default(), now));
        self.publish(last.1);
    }

    /// For one writer at a time.
    fn publish(&self, figures: Figures) {
        let next = self.version.load(Ordering::Relaxed).wrapping_add(1);
        // A slow reader may be at this copy, which was published two changes ago. If it finds one of the stores below, it also
        // finds that the version has changed.
        fence(Ordering::Release);
        self.copies[(next & 1) as usize].store(figures);
        self.version.store(next, Ordering::SeqCst);
    }
}

/// Figures in words that can be read while they are written; the version tells whether they belong together.
#[derive(Debug, Default)]
struct AtomicFigures {
    since_ns: AtomicU64,
    before_high: AtomicU64,
    before_low: AtomicU64,
    per_ns: AtomicU64,
    ahead_max: AtomicU64,
}

impl AtomicFigures {
    #[inline]
    fn load(&self) -> Figures {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let before = u128::from(word(&self.before_high)) << 64 | u128::from(word(&self.before_low));
        let inflow = Inflow { since_ns: word(&self.since_ns), before, per_ns: word(&self.per_ns) };
        Figures { inflow, ahead_max: word(&self.ahead_max) }
    }

    fn store(&self, figures: Figures) {
        let Figures { inflow: Inflow { since_ns, before, per_ns }, ahead_max } = figures;
        self.since_ns.store(since_ns, Ordering::Relaxed);
        self.before_high.store((before >> 64) as u64, Ordering::Relaxed);
        self.before_low.store(before as u64, Ordering::Relaxed);
        self.per_ns.store(per_ns, Ordering::Relaxed);
        self.ahead_max.store(ahead_max, Ordering::Relaxed);
    }
}

/// The bound of `rate_limit.providers[].burst`, which `config` enforces.
const BURST_MAX: u32 = 1_000_000;

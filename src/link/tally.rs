//! The counts of a shard since its last report: plain additive numbers, so that two tallies merge into one, and a report that
//! found its channel full merges back. Written by one shard, then owned by the coordinator; never shared.

use std::marker::PhantomData;

use hashbrown::HashMap;

use crate::cache::Evictions;
use crate::llm::Usage;
use crate::plan::LabelId;
use crate::policy::{Action, Mode};
use crate::units::MicroUsd;

/// Number of bounds of a histogram.
const BOUNDS: usize = 16;

/// Upper bounds of a histogram's buckets, each two to two and a half times the one before, as Prometheus advises.
pub trait Bounds {
    /// Bounds in seconds, in rising order.
    const SECONDS: [f64; BOUNDS];
}

/// Bounds from a cache hit to a long completion.
#[derive(Clone, Debug, Default)]
pub struct Durations;

impl Bounds for Durations {
    const SECONDS: [f64; BOUNDS] =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
}

/// Bounds from the overhead on a quiet core to what nobody should see.
#[derive(Clone, Debug, Default)]
pub struct Overheads;

impl Bounds for Overheads {
    const SECONDS: [f64; BOUNDS] = [
        0.000005, 0.00001, 0.00002, 0.00004, 0.00008, 0.00015, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
        0.05, 0.1, 0.5,
    ];
}

/// Additive counts of one shard.
#[derive(Debug, Default)]
pub struct Tally {
    /// By provider, model and status.
    pub requests: HashMap<(LabelId, LabelId, u16), u64>,
    /// By provider and model.
    pub by_model: HashMap<(LabelId, LabelId), LabelTotals>,
    /// By whose fault and which code.
    pub refusals: HashMap<(&'static str, &'static str), u64>,
    /// By provider and outcome.
    pub attempts: HashMap<(LabelId, AttemptOutcome), u64>,
    /// By the policy's name, its action and mode.
    pub policy_matches: HashMap<(LabelId, Action, Mode), u64>,
    /// By the policy's name.
    pub policy_errors: HashMap<LabelId, u64>,
    /// Requests answered from the cache.
    pub cache_hits: u64,
    /// Requests that the cache could have answered.
    pub cache_misses: u64,
    /// Cost that the hits saved.
    pub saved: MicroUsd,
    /// The gateway's own share of each request: from its last byte until it goes to a provider, or until the answer if it goes
    /// to none. A request that waited for another request's flight is not counted.
    pub overhead: Histogram<Overheads>,
    /// Traces dropped because the channel to the coordinator was full.
    pub traces_dropped: u64,
    /// Entries that left the cache, expired or evicted.
    pub evicted: Evictions,
    /// Entries in the cache at the time of the report. A level: merging keeps it out of the sum.
    pub cache_items: u64,
    /// Requests in flight at the time of the report. A level: merging keeps it out of the sum.
    pub in_flight: u64,
}

/// Totals of one pair of labels, provider and model.
#[derive(Clone, Debug, Default)]
pub struct LabelTotals {
    /// Time from the request's first byte to the answer's last.
    pub duration: Histogram,
    /// Time from the request's first byte to the first byte of the provider's answer, if there was one.
    pub first_byte: Histogram,
    /// Tokens as counted by the provider, or estimated if it did not report them.
    pub usage: Usage,
    /// Cost of the tokens.
    pub cost: MicroUsd,
}

/// Counts by duration, not cumulative. The last count is beyond every bound.
#[derive(Clone, Debug, Default)]
pub struct Histogram<B: Bounds = Durations> {
    /// One more than there are bounds.
    pub counts: [u64; BOUNDS + 1],
    /// Sum of all durations in nanoseconds.
    pub sum_ns: u64,
    bounds: PhantomData<B>,
}

/// How one attempt at a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// An answer was forwarded, whatever its status.
    Answered,
    /// The connection could not be opened.
    Unreachable,
    /// A deadline passed.
    TimedOut,
    /// The connection or the answer broke.
    Broken,
    /// An error status that led, or should have led, to a retry.
    ServerError,
    /// The provider had closed a pooled connection.
    Stale,
    /// The caller left first.
    Abandoned,
}

impl AttemptOutcome {
    /// The value of the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            AttemptOutcome::Answered => "answered",
            AttemptOutcome::Unreachable => "unreachable",
            AttemptOutcome::TimedOut => "timeout",
            AttemptOutcome::Broken => "broken",
            AttemptOutcome::ServerError => "server_error",
            AttemptOutcome::Stale => "stale",
            AttemptOutcome::Abandoned => "abandoned",
        }
    }
}

impl<B: Bounds> Histogram<B> {
    /// Counts one duration.
    pub fn observe(&mut self, duration_ns: u64) {
        let seconds = duration_ns as f64 / 1e9;
        let bucket = B::SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS);
        self.counts[bucket] += 1;
        self.sum_ns = self.sum_ns.saturating_add(duration_ns);
    }

    /// Each bound in seconds, and the number of durations that do not exceed it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.into_iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        B::SECONDS.into_iter().zip(counts)
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn merge(&mut self, other: &Histogram<B>) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

impl Tally {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.refusals.is_empty()
            && self.attempts.is_empty()
            && self.evicted == Evictions::default()
            && self.traces_dropped == 0
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Tally) {
        for (key, count) in &other.requests {
            *self.requests.entry(*key).or_default() += count;
        }
        for (key, cell) in &other.by_model {
            let mine = self.by_model.entry(*key).or_default();
            mine.duration.merge(&cell.duration);
            mine.first_byte.merge(&cell.first_byte);
            mine.usage.add(&cell.usage);
            mine.cost = mine.cost.saturating_add(cell.cost);
        }
        for (key, count) in &other.refusals {
            *self.refusals.entry(*key).or_default() += count;
        }
        for (key, count) in &other.attempts {
            *self.attempts.entry(*key).or_default() += count;
        }
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.saved = self.saved.saturating_add(other.saved);
        self.overhead.merge(&other.overhead);
        self.traces_dropped += other.traces_dropped;
        self.evicted.ttl += other.evicted.ttl;
        self.evicted.capacity += other.evicted.capacity;
        for (key, count) in &other.policy_matches {
            *self.policy_matches.entry(*key).or_default() += count;
        }
        for (key, count) in &other.policy_errors {
            *self.policy_errors.entry(*key).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(requests: u64, prompt: u64) -> Tally {
        let mut tally = Tally::default();
        tally.requests.insert((LabelId(1), LabelId(1), 200), requests);
        let cell = tally.by_model.entry((LabelId(1), LabelId(1))).or_default();
        cell.usage = Usage { input: prompt, total: prompt, ..Usage::default() };
        cell.duration.observe(3_000_000);
        cell.first_byte.observe(2_000_000);
        tally.overhead.observe(30_000);
        tally.traces_dropped = 1;
        tally
    }

    #[test]
    fn merge_adds_every_count() {
        let mut sum = tally(2, 10);
        sum.merge(&tally(3, 5));
        assert_eq!(sum.requests[&(LabelId(1), LabelId(1), 200)], 5);
        let cell = &sum.by_model[&(LabelId(1), LabelId(1))];
        assert_eq!(cell.usage.input, 15);
        assert_eq!(cell.duration.counts.iter().sum::<u64>(), 2);
        assert_eq!((cell.duration.sum_ns, cell.first_byte.sum_ns), (6_000_000, 4_000_000));
        assert_eq!((sum.overhead.count(), sum.overhead.sum_ns), (2, 60_000));
        assert_eq!(sum.traces_dropped, 2);
    }

    #[test]
    fn duration_on_a_bound_falls_into_its_bucket() {
        let mut histogram = Histogram::<Durations>::default();
        histogram.observe(1_000_000);
        histogram.observe(1_000_001);
        histogram.observe(61_000_000_000);
        assert_eq!(histogram.counts[1], 1);
        assert_eq!(histogram.counts[2], 1);
        assert_eq!(histogram.counts[BOUNDS], 1);
        assert_eq!(
            histogram.cumulative().last(),
            Some((60.0, 2)),
            "durations beyond every bound are in no cumulative count"
        );
        assert_eq!(histogram.count(), 3);
    }

    #[test]
    fn bounds_are_in_rising_order() {
        assert!(Durations::SECONDS.is_sorted_by(|a, b| a < b));
        assert!(Overheads::SECONDS.is_sorted_by(|a, b| a < b));
    }
}

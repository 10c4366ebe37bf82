//! The counts of all shards since the process started. Owned by the coordinator's thread. It forgets nothing; the labels that
//! configurations name bound its size.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::clock::Now;
use crate::link::Tally;
use crate::plan::Labels;

/// The sum of all tallies.
#[derive(Default)]
pub(super) struct TallyTotals {
    total: Tally,
    requests: u64,
    /// Time and number of requests so far, once a second.
    marks: VecDeque<(u64, u64)>,
}

/// How often a policy matched and failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PolicyCounts {
    pub matches: u64,
    pub errors: u64,
}

/// Seconds over which requests per second are averaged. Arbitrary: steady enough to read, quick enough to believe.
const RATE_SECONDS: usize = 10;

impl TallyTotals {
    /// Adds a shard's report.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.total.merge(tally);
        self.requests += tally.requests.values().sum::<u64>();
    }

    /// The sum.
    pub(super) fn total(&self) -> &Tally {
        &self.total
    }

    /// Remembers the number of requests for [`TallyTotals::requests_per_second`]. Called about ten times a second.
    pub(super) fn mark(&mut self, now: Now) {
        let now_ms = now.mono_ms();
        if self.marks.back().is_none_or(|(at_ms, _)| now_ms >= at_ms + 1_000) {
            self.marks.push_back((now_ms, self.requests));
        }
        if self.marks.len() > RATE_SECONDS {
            self.marks.pop_front();
        }
    }

    /// Requests per second over the last [`RATE_SECONDS`], or since the first mark.
    pub(super) fn requests_per_second(&self, now: Now) -> f64 {
        // Before the first mark: since the clock's zero, when there were none.
        let (since_ms, requests) = self.marks.front().unwrap_or(&(0, 0));
        // At least a second, so that a first request does not count as a thousand per second.
        let seconds = (now.mono_ms().saturating_sub(*since_ms) as f64 / 1e3).max(1.0);
        (self.requests - requests) as f64 / seconds
    }

    /// Counts by the name of the policy.
    pub(super) fn by_policy<'l>(&self, labels: &'l Labels) -> HashMap<&'l str, PolicyCounts> {
        let mut counts: HashMap<&str, PolicyCounts> = HashMap::new();
        for ((label, _, _), matches) in &self.total.policy_matches {
            counts.entry(labels.text(*label)).or_default().matches += matches;
        }
        for (label, errors) in &self.total.policy_errors {
            counts.entry(labels.text(*label)).or_default().errors += errors;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LabelId;
    use crate::policy::{Action, Mode};

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
    }

    fn requests(count: u64) -> Tally {
        let mut tally = Tally::default();
        tally.requests.insert((LabelId::NONE, LabelId::OTHER, 200), count);
        tally
    }

    #[test]
    fn rate_covers_the_last_seconds() {
        let mut totals = TallyTotals::default();
        assert_eq!(totals.requests_per_second(at(0)), 0.0);
        for tenth in 0..600 {
            totals.mark(at(tenth * 100));
            totals.add(&requests(5));
        }
        let rate = totals.requests_per_second(at(60_000));
        assert!((49.0..=51.0).contains(&rate), "{rate}");
        for tenth in 600..800 {
            totals.mark(at(tenth * 100));
        }
        assert_eq!(totals.requests_per_second(at(80_000)), 0.0);
        assert!(totals.marks.len() <= RATE_SECONDS);
    }

    #[test]
    fn first_request_counts_as_one_per_second() {
        let mut totals = TallyTotals::default();
        totals.add(&requests(1));
        assert_eq!(totals.requests_per_second(at(1)), 1.0);
    }

    #[test]
    fn policy_counts_include_all_actions_and_modes() {
        let mut labels = Labels::default();
        let label = labels.intern("costs");
        let mut tally = Tally::default();
        tally.policy_matches.insert((label, Action::Block, Mode::Enforce), 2);
        tally.policy_matches.insert((label, Action::Alert, Mode::Shadow), 3);
        tally.policy_errors.insert(label, 4);
        let mut totals = TallyTotals::default();
        totals.add(&tally);
        totals.add(&tally);
        let counts = totals.by_policy(&labels);
        assert_eq!((counts["costs"].matches, counts["costs"].errors), (10, 8));
        assert_eq!(counts.len(), 1);
    }
}

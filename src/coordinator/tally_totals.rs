//! The merged counts of all shards since the process started. Owned by the coordinator alone. It never forgets: what it holds
//! is bounded by the labels that configurations name.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::clock::Now;
use crate::link::Tally;
use crate::plan::Labels;

/// What all shards have counted.
#[derive(Default)]
pub(super) struct Ledger {
    total: Tally,
    requests: u64,
    /// Requests so far, by when that was, one a second.
    marks: VecDeque<(u64, u64)>,
}

/// How often one policy matched and failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PolicyCounts {
    pub matches: u64,
    pub errors: u64,
}

/// Requests per second are told of so many seconds. Arbitrary: steady enough to read, quick enough to believe.
const RATE_SECONDS: usize = 10;

impl Ledger {
    /// Adds one shard's report.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.total.merge(tally);
        self.requests += tally.requests.values().sum::<u64>();
    }

    /// The sum.
    pub(super) fn total(&self) -> &Tally {
        &self.total
    }

    /// To be called about ten times a second, for [`Ledger::requests_per_second`].
    pub(super) fn mark(&mut self, now: Now) {
        let now_ms = now.mono_ms();
        if self.marks.back().is_none_or(|(at_ms, _)| now_ms >= at_ms + 1_000) {
            self.marks.push_back((now_ms, self.requests));
        }
        if self.marks.len() > RATE_SECONDS {
            self.marks.pop_front();
        }
    }

    /// Over the last seconds, as far as they were marked.
    pub(super) fn requests_per_second(&self, now: Now) -> f64 {
        // Before the first mark, since the clock's zero, when there was none.
        let (since_ms, requests) = self.marks.front().unwrap_or(&(0, 0));
        // At least a second, so that a first request is no thousand a second.
        let seconds = (now.mono_ms().saturating_sub(*since_ms) as f64 / 1e3).max(1.0);
        (self.requests - requests) as f64 / seconds
    }

    /// By the name of the policy.
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
    fn the_rate_is_that_of_the_last_seconds() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.requests_per_second(at(0)), 0.0);
        for tenth in 0..600 {
            ledger.mark(at(tenth * 100));
            ledger.add(&requests(5));
        }
        let rate = ledger.requests_per_second(at(60_000));
        assert!((49.0..=51.0).contains(&rate), "{rate}");
        for tenth in 600..800 {
            ledger.mark(at(tenth * 100));
        }
        assert_eq!(ledger.requests_per_second(at(80_000)), 0.0);
        assert!(ledger.marks.len() <= RATE_SECONDS);
    }

    #[test]
    fn a_first_request_is_no_thousand_a_second() {
        let mut ledger = Ledger::default();
        ledger.add(&requests(1));
        assert_eq!(ledger.requests_per_second(at(1)), 1.0);
    }

    #[test]
    fn a_policy_is_counted_over_its_actions_and_modes() {
        let mut labels = Labels::default();
        let label = labels.intern("costs");
        let mut tally = Tally::default();
        tally.policy_matches.insert((label, Action::Block, Mode::Enforce), 2);
        tally.policy_matches.insert((label, Action::Alert, Mode::Shadow), 3);
        tally.policy_errors.insert(label, 4);
        let mut ledger = Ledger::default();
        ledger.add(&tally);
        ledger.add(&tally);
        let counts = ledger.by_policy(&labels);
        assert_eq!((counts["costs"].matches, counts["costs"].errors), (10, 8));
        assert_eq!(counts.len(), 1);
    }
}

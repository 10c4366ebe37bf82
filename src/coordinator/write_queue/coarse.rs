//! Usage totals with fewer keys, for a store that takes nothing for long: the sums stay exact, and what they are told apart by
//! becomes coarser, in the order in which the store itself would do it. Pure; owned by the recorder.

use super::UsageTotals;
use crate::link::usage::{PolicyKey, UsageKey};
use crate::names;
use crate::who::Who;

/// How much coarser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// All of an identity but its broadest part becomes `other`.
    Callers,
    /// The whole identity and the model become `other`.
    Models,
    /// And minutes are the first of their hour. What is left is bounded by what the configuration names, each hour.
    Hours,
}

/// How much is told apart.
pub(super) fn keys(totals: &UsageTotals) -> usize {
    totals.usage.len() + totals.policies.len() + totals.latency.len()
}

/// Makes them coarser, where there are more than `keys_max` keys, until there are fewer than half as many.
pub(super) fn bound(totals: &mut UsageTotals, keys_max: usize) {
    if keys(totals) <= keys_max {
        return;
    }
    for step in [Step::Callers, Step::Models, Step::Hours] {
        *totals = coarser(std::mem::take(totals), step);
        if keys(totals) <= keys_max / 2 {
            return;
        }
    }
}

fn coarser(totals: UsageTotals, step: Step) -> UsageTotals {
    let mut sums = UsageTotals::default();
    let other = || Box::<str>::from(names::OTHER);
    let minute = |minute: u64| if step == Step::Hours { minute - minute % 60 } else { minute };
    for (key, count) in totals.usage {
        let key = match step {
            Step::Callers => UsageKey { who: key.who.with_narrower_as(other), ..key },
            Step::Models => UsageKey { who: Who::from_fn(|_| other()), model: other(), ..key },
            Step::Hours => UsageKey { minute: minute(key.minute), ..key },
        };
        sums.usage.entry(key).or_default().add(&count);
    }
    for (at, latency) in totals.latency {
        sums.latency.entry(minute(at)).or_default().merge(&latency);
    }
    for (key, count) in totals.policies {
        sums.policies.entry(PolicyKey { minute: minute(key.minute), ..key }).or_default().add(&count);
    }
    sums
}

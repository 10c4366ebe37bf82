//! Merges keys of usage totals when the store refuses writes for long: the sums stay exact, and the keys become coarser in
//! the order in which the store itself would do it. Pure; owned by the write queue.

use super::UsageTotals;
use crate::link::usage::{PolicyKey, UsageKey};
use crate::names;
use crate::who::Who;

/// One step towards coarser keys; the steps are applied in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Every part of an identity except the broadest becomes `other`.
    Callers,
    /// The whole identity and the model become `other`.
    Models,
    /// Each minute also becomes the first of its hour. The names in the configuration then bound the keys of each hour.
    Hours,
}

/// Returns the number of keys.
pub(super) fn keys(totals: &UsageTotals) -> usize {
    totals.usage.len() + totals.policies.len() + totals.latency.len()
}

/// Makes the keys coarser, if there are more than `keys_max`, until at most half of `keys_max` are left or no step remains.
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

//! Tests the windows against a naive model under a virtual clock, with real threads, and at their limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ring::{BUCKETS, PERIOD_NS, Ring};
use super::*;
use crate::clock::Now;
use crate::seeded::Seeded;
use crate::units::MicroUsd;
use crate::who::Who;

mod bounds;
mod simulation;

const SECOND: u64 = 1_000_000_000;

fn at(mono_ns: u64) -> Now {
    Now { mono_ns, wall_ms: 0 }
}

fn one_shard() -> LocalWindows {
    LocalWindows::new(Registry::new(1), 0)
}

fn totals(requests: u64, tokens: u64, cost: i64) -> Totals {
    Totals { requests, tokens, cost: MicroUsd(cost) }
}

#[test]
fn request_counts_itself_but_not_its_own_estimate() {
    let mut windows = one_shard();
    let first = windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(30));
    assert_eq!(first.totals(at(0)), totals(1, 0, 0));
    let second = windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(7));
    assert_eq!(second.totals(at(0)), totals(2, 0, 30));
    assert_eq!(first.totals(at(0)), totals(2, 0, 7));
    let other = windows.enter(Who::of_user("", "acmeann"), at(0), MicroUsd(0));
    assert_eq!(other.totals(at(0)), totals(1, 0, 0));
    first.settle(at(0), 100, MicroUsd(40));
    assert_eq!(second.totals(at(0)), totals(2, 100, 40));
    second.refuse();
    assert_eq!(windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(5)).totals(at(0)), totals(2, 100, 40));
}

#[test]
fn dropped_entry_counts_as_refused() {
    let mut windows = one_shard();
    drop(windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(9)));
    windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(9)).refuse();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _entry = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(9));
        std::panic::resume_unwind(Box::new("the request failed"));
    }));
    assert!(panicked.is_err());
    assert_eq!(windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(9)).totals(at(0)), totals(1, 0, 0));
}

#[test]
fn new_estimate_replaces_the_old_one() {
    let mut windows = one_shard();
    let mut entry = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(100));
    let witness = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(0));
    entry.reestimate(MicroUsd(8));
    assert_eq!((entry.estimate(), witness.totals(at(0)).cost), (MicroUsd(8), MicroUsd(8)));
    entry.settle(at(0), 1, MicroUsd(3));
    assert_eq!(witness.totals(at(0)), totals(2, 1, 3));
}

#[test]
fn usage_counts_for_60_to_65_seconds() {
    for (counted_at, last_ns) in
        [(0, 65 * SECOND - 1), (5 * SECOND - 1, 65 * SECOND - 1), (7 * SECOND, 70 * SECOND - 1)]
    {
        let mut windows = one_shard();
        windows.enter(Who::of_user("t", "u"), at(counted_at), MicroUsd(1)).settle(at(counted_at), 10, MicroUsd(20));
        let entry = windows.enter(Who::of_user("t", "u"), at(last_ns), MicroUsd(1));
        assert_eq!(entry.totals(at(last_ns)), totals(2, 10, 20), "{counted_at}");
        assert_eq!(entry.totals(at(last_ns + 1)), totals(1, 0, 0), "{counted_at}");
    }
}

#[test]
fn estimate_counts_until_settled_however_long_that_takes() {
    let mut windows = one_shard();
    let slow = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(50));
    let later = at(3_600 * SECOND);
    assert_eq!(windows.enter(Who::of_user("t", "u"), later, MicroUsd(0)).totals(later), totals(1, 0, 50));
    slow.settle(later, 5, MicroUsd(60));
    assert_eq!(windows.enter(Who::of_user("t", "u"), later, MicroUsd(0)).totals(later), totals(1, 5, 60));
}

#[test]
fn refused_request_removes_only_its_own_count() {
    let mut windows = one_shard();
    let old = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(1));
    // The same bucket, one turn of the ring later.
    let now = at(BUCKETS as u64 * PERIOD_NS);
    let new = windows.enter(Who::of_user("t", "u"), now, MicroUsd(1));
    old.refuse();
    assert_eq!(new.totals(now), totals(1, 0, 0));
}

#[test]
fn a_ring_keeps_its_count_when_the_clock_stands_lags_or_leaps() {
    let ring = Ring::<40>::default();
    assert_eq!((ring.add(100, 5), ring.add(100, 5), ring.sum(100)), (100, 100, 10));
    // Another shard's clock may be a period behind or ahead.
    assert_eq!((ring.sum(99), ring.sum(101), ring.sum(112), ring.sum(113)), (10, 10, 10, 0));
    // A late event from the previous turn of the ring is counted in the newer period.
    assert_eq!((ring.add(87, 1), ring.sum(100)), (100, 11));
    ring.take(100, 4);
    assert_eq!(ring.sum(100), 7);
    ring.take(87, 4);
    assert_eq!(ring.sum(100), 7);
    for leap in [1 << 20, 1 << 30, u64::MAX / PERIOD_NS] {
        assert_eq!((ring.sum(leap), ring.add(leap, 2), ring.sum(leap)), (0, leap, 2), "{leap}");
    }
}

#[test]
fn bucket_saturates_instead_of_overflowing() {
    let ring = Ring::<40>::default();
    ring.add(7, u64::MAX);
    ring.add(7, 1);
    assert_eq!(ring.sum(7), (1 << 40) - 1);
    let requests = Ring::<32>::default();
    requests.add(7, u64::from(u32::MAX));
    requests.add(7, 1);
    assert_eq!(requests.sum(7), u64::from(u32::MAX));
    let mut windows = one_shard();
    let all = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(i64::MAX));
    let none = windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(i64::MIN));
    assert_eq!((all.estimate(), none.estimate()), (MicroUsd(i64::from(u32::MAX)), MicroUsd(0)));
    all.settle(at(0), u64::MAX, MicroUsd(i64::MAX));
    none.settle(at(0), u64::MAX, MicroUsd(-5));
    let most = (1 << 40) - 1;
    assert_eq!(windows.enter(Who::of_user("t", "u"), at(0), MicroUsd(0)).totals(at(0)), totals(3, most, most as i64));
}

#[test]
#[should_panic(expected = "has windows already")]
fn second_windows_of_a_shard_panic() {
    let registry = Registry::new(1);
    let _first = LocalWindows::new(Arc::clone(&registry), 0);
    LocalWindows::new(registry, 0);
}

/// Lets each thread ask `asks` times, all at the same moment of a stopped clock.
fn hammer(threads: usize, asks: usize, limit: u64) -> (u64, Arc<Registry>) {
    let registry = Registry::new(threads + 1);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for shard in 0..threads {
            let (registry, admitted) = (Arc::clone(&registry), &admitted);
            scope.spawn(move || {
                let mut windows = LocalWindows::new(registry, shard);
                for _ in 0..asks {
                    let entry = windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(3));
                    if entry.totals(at(0)).requests > limit {
                        entry.refuse();
                    } else {
                        admitted.fetch_add(1, Ordering::Relaxed);
                        entry.settle(at(0), 10, MicroUsd(2));
                    }
                }
            });
        }
    });
    (admitted.into_inner(), registry)
}

#[test]
fn racing_threads_never_exceed_the_limit() {
    for round in 0..60 {
        let limit = 1 + round % 7 * 50;
        let (admitted, registry) = hammer(4, 400, limit);
        assert!(admitted <= limit, "{admitted} of {limit}");
        // Asked one at a time, exactly the rest of the limit is admitted.
        let mut windows = LocalWindows::new(registry, 4);
        let mut one_by_one = 0;
        for _ in 0..limit + 10 {
            let entry = windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(3));
            if entry.totals(at(0)).requests <= limit {
                one_by_one += 1;
                entry.settle(at(0), 10, MicroUsd(2));
            }
        }
        assert_eq!(admitted + one_by_one, limit);
        let last = windows.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(0)).totals(at(0));
        assert_eq!(last, totals(limit + 1, 10 * limit, 2 * limit as i64));
    }
}

#[test]
fn racing_threads_never_spend_more_than_the_budget() {
    let (threads, budget) = (4, 1_000);
    for _ in 0..60 {
        let registry = Registry::new(threads);
        let spent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for shard in 0..threads {
                let (registry, spent) = (Arc::clone(&registry), &spent);
                scope.spawn(move || {
                    let mut windows = LocalWindows::new(registry, shard);
                    for _ in 0..400 {
                        let entry = windows.enter(Who::of_user("", "ann"), at(0), MicroUsd(7));
                        if entry.totals(at(0)).cost.0 + entry.estimate().0 <= budget {
                            spent.fetch_add(7, Ordering::Relaxed);
                            entry.settle(at(0), 1, MicroUsd(7));
                        }
                    }
                });
            }
        });
        assert!(spent.into_inner() <= budget as u64);
    }
}

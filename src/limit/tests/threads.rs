//! Real threads at one limit: never one request too many or too few.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::*;
use crate::seeded::Seeded;

const THREADS: usize = 4;

/// Threads charge all they can while the clock moves.
#[test]
fn threads_together_are_charged_exactly_the_flow() {
    let limit = flow(1_000_000.0, 20_000, at(0));
    let clock = AtomicU64::new(0);
    let (charged, start, drained) = (AtomicU64::new(0), Barrier::new(THREADS), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                let mut mine = u64::from(drain(&limit, at(0)));
                drained.wait();
                // No more than the burst flows in, so that nothing overflows while no thread is scheduled.
                loop {
                    let now = clock.load(Ordering::Acquire);
                    mine += u64::from(drain(&limit, at(now)));
                    if now == 20_000_001 {
                        break;
                    }
                }
                charged.fetch_add(mine, Ordering::Relaxed);
            });
        }
        drained.wait();
        for ns in (0..=20_000_001).step_by(101).chain([20_000_001]) {
            clock.store(ns, Ordering::Release);
        }
    });
    assert_eq!(charged.into_inner(), 40_000);
    assert_eq!(limit.standing(at(20_000_001)).remaining, 0);
}

#[test]
fn no_more_than_the_grant_is_out_while_threads_give_back() {
    const UNITS: u32 = 3;
    let limit = Limit::new(Ceiling::Grant { units: UNITS }, at(0));
    let (out, start) = (AtomicI64::new(0), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for seed in 1..=THREADS as u64 {
            let (limit, out, start) = (&limit, &out, &start);
            scope.spawn(move || {
                let (mut seeded, mut held) = (Seeded::new(seed), Vec::new());
                start.wait();
                for _ in 0..50_000 {
                    if seeded.one_in(2) {
                        if let Ok(charge) = limit.charge(at(0)) {
                            assert!(out.fetch_add(1, Ordering::SeqCst) < i64::from(UNITS));
                            held.push(charge);
                        }
                    } else if let Some(charge) = held.pop() {
                        out.fetch_sub(1, Ordering::SeqCst);
                        charge.give_back(at(0));
                    }
                }
                out.fetch_sub(held.len() as i64, Ordering::SeqCst);
                held.into_iter().for_each(|charge| charge.give_back(at(0)));
            });
        }
    });
    assert_eq!(drain(&limit, at(0)), UNITS, "all of it was given back");
}

/// One thread charges limit after limit, another lowers the ceiling of the one at hand: nothing is charged beyond what the owner
/// is told.
#[test]
fn nothing_is_charged_by_a_ceiling_that_was_lowered() {
    const LIMITS: usize = 20_000;
    let limits: Vec<_> = (0..LIMITS).map(|_| Limit::new(Ceiling::Grant { units: 500 }, at(0))).collect();
    let at_hand = AtomicUsize::new(0);
    let mut used = vec![u64::MAX; LIMITS];
    let charged: Vec<u64> = std::thread::scope(|scope| {
        let (limits, at_hand) = (&limits, &at_hand);
        let charging = scope.spawn(move || {
            let charged = limits.iter().enumerate().map(|(index, limit)| {
                at_hand.store(index, Ordering::Release);
                u64::from(drain(limit, at(0)))
            });
            let charged = charged.collect();
            at_hand.store(LIMITS, Ordering::Release);
            charged
        });
        while let index @ ..LIMITS = at_hand.load(Ordering::Acquire) {
            if used[index] == u64::MAX {
                used[index] = limits[index].set_ceiling(Ceiling::Grant { units: 0 }, at(0));
            }
        }
        charging.join().expect("it charges to the end")
    });
    for (charged, used) in charged.into_iter().zip(used) {
        assert!(charged <= used, "{charged} were charged and the owner was told of {used}");
    }
}

/// An owner takes units that are not in use from one limit and adds them to another, again and again, while threads charge both:
/// no unit is used twice, and none is lost.
#[test]
fn units_that_move_between_limits_are_charged_exactly_once() {
    const UNITS: u32 = 200_000;
    let limits = [UNITS, 0].map(|units| Limit::new(Ceiling::Grant { units }, at(0)));
    let (charged, moved) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (limit, charged, moved) = (&limits[thread % 2], &charged, &moved);
            scope.spawn(move || {
                loop {
                    let is_last = moved.load(Ordering::Acquire);
                    charged.fetch_add(u64::from(drain(limit, at(0))), Ordering::Relaxed);
                    if is_last {
                        break;
                    }
                }
            });
        }
        let mut seeded = Seeded::new(7);
        let mut granted = [UNITS, 0];
        for n in 0..20_000 {
            let (from, to) = if n % 2 == 0 { (0, 1) } else { (1, 0) };
            let lowered = granted[from].saturating_sub(seeded.next() as u32 % 1_000);
            let used = limits[from].set_ceiling(Ceiling::Grant { units: lowered }, at(0));
            let kept = lowered.max(used as u32);
            granted[to] += granted[from] - kept;
            granted[from] = kept;
            limits[to].set_ceiling(Ceiling::Grant { units: granted[to] }, at(0));
        }
        for (limit, units) in limits.iter().zip(granted) {
            limit.set_ceiling(Ceiling::Grant { units }, at(0));
        }
        moved.store(true, Ordering::Release);
    });
    assert_eq!(charged.into_inner(), u64::from(UNITS));
}

//! Limits under a virtual clock: named cases, a seeded simulation over several shards against exact arithmetic, and real
//! threads.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::clock::Now;
use crate::seeded::Seeded;

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 86_400 * SECOND;

fn at(ns: u64) -> Now {
    Now { mono_ns: ns, wall_ms: 0 }
}

/// How many are charged at this moment, one after the other.
fn drain(limit: &Limit, now: Now) -> u32 {
    (0..).take_while(|_| limit.try_take(now).is_ok()).count() as u32
}

fn refused(limit: &Limit, now: Now) -> Limited {
    limit.try_take(now).expect_err("no room")
}

#[test]
fn a_burst_passes_at_once_and_then_one_by_one() {
    let limit = Limit::new(50.0, 10, at(7));
    assert_eq!(drain(&limit, at(7)), 10);
    assert_eq!(drain(&limit, at(7 + SECOND / 50 - 1)), 0);
    assert_eq!(drain(&limit, at(8 + SECOND / 50)), 1);
    assert_eq!(drain(&limit, at(8 + SECOND / 50)), 0);
    assert_eq!(drain(&limit, at(8 + SECOND / 50 + SECOND / 10)), 5);
    assert_eq!(drain(&limit, at(YEAR)), 10, "a full bucket does not fill further");
}

#[test]
fn who_comes_back_when_told_is_let_through_and_not_before() {
    for (qps, burst) in [(0.001, 1), (0.37, 3), (1.0, 1), (50.0, 10), (3_333.3, 1), (1_000_000.0, 1), (1e6, 1_000_000)]
    {
        let limit = Limit::new(qps, burst, at(0));
        let mut now = 12_345;
        drain(&limit, at(now));
        for _ in 0..20 {
            let wait = refused(&limit, at(now)).retry_after.as_nanos() as u64;
            assert!(wait > 0 && wait as f64 <= 1e9 / qps * 1.001 + 1.0, "{wait} at {qps}");
            let earlier = at(now + wait - 1);
            assert!(wait == 1 || limit.try_take(earlier).is_err(), "{qps}: a nanosecond early");
            now += wait;
            assert_eq!(drain(&limit, at(now)), 1, "{qps}");
        }
    }
}

#[test]
fn headers_tell_how_the_limit_stands() {
    let limit = Limit::new(2.0, 4, at(0));
    let seconds = Duration::from_secs;
    assert_eq!(limit.standing(at(0)), Standing { limit: 4, remaining: 4, reset: Duration::ZERO });
    let _ = limit.try_take(at(0)).expect("room");
    assert_eq!(limit.standing(at(0)), Standing { limit: 4, remaining: 3, reset: Duration::from_millis(500) });
    drain(&limit, at(0));
    let limited = refused(&limit, at(0));
    assert_eq!(limited.retry_after, Duration::from_millis(500));
    assert_eq!(limited.standing, Standing { limit: 4, remaining: 0, reset: seconds(2) });
    assert_eq!(limit.standing(at(SECOND)), Standing { limit: 4, remaining: 2, reset: seconds(1) });
    assert_eq!(limit.standing(at(9 * SECOND)), Standing { limit: 4, remaining: 4, reset: seconds(0) });
}

#[test]
fn a_change_keeps_the_level() {
    let slow = Limit::new(1.0, 10, at(0));
    assert_eq!(drain(&slow, at(0)), 10);
    // Three have flowed in until the change; then a thousand a second do.
    let fast = slow.successor(1_000.0, 10, at(3 * SECOND));
    assert_eq!(fast.standing(at(3 * SECOND)).remaining, 3);
    assert_eq!(drain(&fast, at(3 * SECOND + SECOND / 1_000)), 4);
    let slow = fast.successor(0.5, 10, at(3 * SECOND + SECOND / 1_000));
    assert_eq!(drain(&slow, at(5 * SECOND)), 0);
    assert_eq!(drain(&slow, at(6 * SECOND)), 1);
    // A smaller burst is not given again what was used of the larger one, a larger one has what it is larger by.
    let narrow = slow.successor(0.5, 2, at(6 * SECOND));
    assert_eq!((narrow.standing(at(6 * SECOND)).remaining, drain(&narrow, at(6 * SECOND))), (0, 0));
    let wide = narrow.successor(0.5, 15, at(6 * SECOND));
    assert_eq!(drain(&wide, at(6 * SECOND)), 5);
    // Who still has the old figures uses the same level.
    assert_eq!(drain(&slow, at(6 * SECOND)), 0);
}

#[test]
fn a_thousand_changes_lose_nothing_of_a_slow_flow() {
    let mut limit = Limit::new(0.001, 1, at(0));
    assert_eq!(drain(&limit, at(0)), 1);
    // Sixty a second for 1,000 seconds, by turns to another figure and to the same one.
    for n in 1..=60_000_u64 {
        limit = limit.successor(if n.is_multiple_of(3) { 0.001_000_1 } else { 0.001 }, 1, at(n * SECOND / 60));
    }
    assert_eq!(drain(&limit, at(1_000 * SECOND)), 1);
}

#[test]
fn figures_out_of_range_are_taken_for_the_nearest() {
    assert_eq!(drain(&Limit::new(1.0, 0, at(0)), at(0)), 1);
    assert_eq!(drain(&Limit::new(f64::NAN, 1, at(0)), at(YEAR)), 1);
    let absurd = Limit::new(f64::INFINITY, u32::MAX, at(0));
    assert_eq!(absurd.standing(at(0)).limit, 1_000_000);
    let none = Limit::new(-1.0, 1, at(0));
    drain(&none, at(0));
    assert_eq!(refused(&none, at(0)).retry_after.as_secs_f64().round(), 1_000.0);
}

#[test]
fn decades_of_uptime_change_nothing() {
    for years in [1, 10, 34] {
        let start = years * YEAR;
        for since in [0, start] {
            let limit = Limit::new(1_000_000.0, 1_000, at(since));
            assert_eq!(drain(&limit, at(start)), 1_000, "after {years} years");
            assert_eq!(drain(&limit, at(start + 100_001)), 100);
            let slow = Limit::new(0.001, 2, at(since));
            assert_eq!(drain(&slow, at(start)), 2);
            assert_eq!(drain(&slow, at(start + 1_001 * SECOND)), 1);
        }
    }
}

#[test]
fn an_older_reading_of_the_clock_is_stricter_and_does_no_harm() {
    let limit = Limit::new(1.0, 2, at(0));
    assert_eq!(drain(&limit, at(10 * SECOND)), 2);
    assert_eq!(drain(&limit, at(0)), 0);
    assert_eq!(refused(&limit, at(9 * SECOND)).retry_after, Duration::from_secs(2));
    assert_eq!(drain(&limit, at(11 * SECOND)), 1);
}

/// A bucket in exact arithmetic: contents in billionths of a request.
struct Model {
    qps: u64,
    burst: u64,
    contents: i128,
    last: u64,
}

const ONE: i128 = 1_000_000_000;
/// Two units of the level, one at each end of a span.
const GRAIN: i128 = ONE / 8_192;

impl Model {
    fn new(qps: u64, burst: u64) -> Model {
        Model { qps, burst, contents: i128::from(burst) * ONE, last: 0 }
    }

    fn contents(&mut self, now: u64) -> i128 {
        let inflow = i128::from(now - self.last) * i128::from(self.qps);
        self.contents = (self.contents + inflow).min(i128::from(self.burst) * ONE);
        self.last = now;
        self.contents
    }

    fn take(&mut self, now: u64) {
        assert!(self.contents(now) + GRAIN >= ONE, "too many: {} a second, burst {}", self.qps, self.burst);
        self.contents -= ONE;
    }
}

struct Simulation {
    seeded: Seeded,
    qps: u64,
    burst: u64,
    /// What each shard has read of the clock last.
    read: Vec<u64>,
    now: u64,
}

impl Simulation {
    fn new(seed: u64, shards: usize) -> Simulation {
        let mut seeded = Seeded::new(seed);
        let qps = 1 + seeded.next() % [3, 100, 50_000, 1_000_000][seeded.below(4)];
        let burst = 1 + seeded.next() % [2, 20, 5_000][seeded.below(3)];
        Simulation { seeded, qps, burst, read: vec![0; shards], now: 0 }
    }

    fn limit(&self) -> Limit {
        Limit::new(self.qps as f64, self.burst as u32, at(0))
    }

    /// Some time passes, and some shard has a request.
    fn pass(&mut self) -> &mut u64 {
        let step = SECOND / self.qps * [0, 1, 2, 20][self.seeded.below(4)] / 2;
        self.now += self.seeded.next() % (step + 1);
        let shard = self.seeded.below(self.read.len());
        &mut self.read[shard]
    }
}

#[test]
fn shards_together_are_charged_what_a_bucket_in_exact_arithmetic_holds() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed, 4);
        let limit = simulation.limit();
        let mut model = Model::new(simulation.qps, simulation.burst);
        for _ in 0..4_000 {
            simulation.pass();
            let now = simulation.now;
            match limit.try_take(at(now)) {
                Ok(_) => model.take(now),
                Err(_) => assert!(model.contents(now) < ONE + GRAIN, "too few: {}, {}", model.qps, model.burst),
            }
        }
    }
}

/// Each request is charged as of its shard's reading of the clock, whatever the others have read meanwhile.
#[test]
fn readings_of_the_clock_that_lag_behind_do_not_widen_the_limit() {
    for (seed, shards) in (0..200).zip([2, 3, 16].into_iter().cycle()) {
        let mut simulation = Simulation::new(seed, shards);
        let limit = simulation.limit();
        let mut charged = Vec::new();
        for _ in 0..4_000 {
            let lags = simulation.seeded.one_in(3);
            let now = simulation.now;
            let read = simulation.pass();
            if !lags {
                *read = now.max(*read);
            }
            if limit.try_take(at(*read)).is_ok() {
                charged.push(*read);
            }
        }
        charged.sort_unstable();
        let mut model = Model::new(simulation.qps, simulation.burst);
        charged.into_iter().for_each(|read| model.take(read));
    }
}

/// Threads that take all they can while the clock moves under them: exactly the limit, not one more or less.
#[test]
fn threads_together_are_charged_exactly_the_limit() {
    const THREADS: usize = 4;
    let limit = Limit::new(1_000_000.0, 20_000, at(0));
    let clock = AtomicU64::new(0);
    let (charged, start, drained) = (AtomicU64::new(0), Barrier::new(THREADS), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                let mut mine = u64::from(drain(&limit, at(0)));
                drained.wait();
                // Not more than the burst flows in, so that nothing of it runs over while nobody is scheduled.
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

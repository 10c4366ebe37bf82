//! Breakers under a virtual clock, over several shards, and with real threads.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::seeded::Seeded;

const RULES: BreakerRules = BreakerRules {
    failures: 3,
    pause: Duration::from_millis(1_000),
    pause_max: Duration::from_millis(5_000),
    probe_max: Duration::from_millis(10_000),
};

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
}

/// A request that ends as soon as it began; returns whether it was permitted.
fn request(breaker: &Breaker, result: CallResult, ms: u64) -> bool {
    request_by(&RULES, breaker, result, ms)
}

fn request_by(rules: &BreakerRules, breaker: &Breaker, result: CallResult, ms: u64) -> bool {
    match breaker.ask(rules, at(ms)) {
        Ok(permit) => {
            // The longest pauses, for round numbers; there is a millisecond on top.
            permit.end(result, at(ms), u32::MAX);
            true
        }
        Err(_) => false,
    }
}

fn open(breaker: &Breaker, ms: u64) {
    (0..RULES.failures).for_each(|_| assert!(request(breaker, CallResult::Failure, ms)));
}

fn probe(breaker: &Breaker, ms: u64) -> Permit<'_> {
    let permit = breaker.ask(&RULES, at(ms)).expect("the pause is over");
    assert!(permit.is_probe());
    permit
}

#[test]
fn failures_in_a_row_open_the_breaker() {
    let breaker = Breaker::default();
    use CallResult::{Failure, Success, Unknown};
    for result in [Failure, Failure, Success, Failure, Unknown] {
        assert!(request(&breaker, result, 0));
    }
    assert_eq!(breaker.state(at(0)), BreakerState::Closed { failures: 1 });
    assert!(request(&breaker, CallResult::Failure, 0));
    assert!(request(&breaker, CallResult::Failure, 0));
    assert_eq!(breaker.state(at(1)), BreakerState::Open { left: Duration::from_millis(1_000) });
    assert_eq!(breaker.ask(&RULES, at(501)).expect_err("open").retry_after, Duration::from_millis(500));
}

#[test]
fn status_below_500_counts_as_success() {
    for status in [200, 404, 429, 499] {
        assert_eq!(CallResult::of_status(status), CallResult::Success, "{status}");
    }
    for status in [500, 502, 503, 529, 599] {
        assert_eq!(CallResult::of_status(status), CallResult::Failure, "{status}");
    }
}

#[test]
fn successful_probe_closes_the_breaker() {
    let breaker = Breaker::default();
    open(&breaker, 0);
    assert!(breaker.ask(&RULES, at(1_000)).is_err());
    assert_eq!(breaker.state(at(1_001)), BreakerState::HalfOpen);
    let permit = probe(&breaker, 1_001);
    assert_eq!(breaker.ask(&RULES, at(1_002)).expect_err("one probe only").retry_after, Duration::ZERO);
    assert_eq!(breaker.state(at(1_002)).name(), "half_open");
    permit.end(CallResult::Success, at(1_500), 0);
    assert_eq!(breaker.state(at(1_500)), BreakerState::Closed { failures: 0 });
    assert!(!breaker.ask(&RULES, at(1_500)).expect("closed").is_probe());
}

#[test]
fn pause_doubles_up_to_its_maximum_and_starts_over_once_closed() {
    let breaker = Breaker::default();
    open(&breaker, 0);
    let mut now = 0;
    for pause in [1_000, 2_000, 4_000, 5_000, 5_000] {
        assert_eq!(breaker.state(at(now)), BreakerState::Open { left: Duration::from_millis(pause + 1) });
        now += pause + 1;
        assert!(request(&breaker, CallResult::Failure, now), "the probe");
    }
    now += 5_001;
    assert!(request(&breaker, CallResult::Success, now));
    open(&breaker, now);
    assert_eq!(breaker.state(at(now)), BreakerState::Open { left: Duration::from_millis(1_001) });
}

#[test]
fn hundreds_of_failed_probes_overflow_nothing() {
    let rules = BreakerRules { pause_max: Duration::MAX, ..RULES };
    let (breaker, mut now) = (Breaker::default(), 0);
    open(&breaker, now);
    for n in 0..300 {
        let BreakerState::Open { left } = breaker.state(at(now)) else { panic!("open") };
        now += left.as_millis() as u64;
        assert!(request_by(&rules, &breaker, CallResult::Failure, now), "probe {n}");
    }
}

#[test]
fn jitter_takes_up_to_half_of_the_pause() {
    for (jitter, expected) in [(0, 501), (u32::MAX / 2, 750), (u32::MAX, 1_001)] {
        let (breaker, rules) = (Breaker::default(), BreakerRules { failures: 1, ..RULES });
        breaker.ask(&rules, at(0)).expect("closed").end(CallResult::Failure, at(0), jitter);
        let BreakerState::Open { left } = breaker.state(at(0)) else { panic!("open") };
        assert!(left.as_millis().abs_diff(expected) <= 1, "{left:?} for {jitter}");
    }
}

#[test]
fn probe_without_a_result_makes_room_for_the_next() {
    let breaker = Breaker::default();
    open(&breaker, 0);
    drop(probe(&breaker, 1_001));
    probe(&breaker, 1_001).end(CallResult::Unknown, at(1_002), 0);
    // The pause goes on doubling from where it was.
    probe(&breaker, 1_002).end(CallResult::Failure, at(1_002), u32::MAX);
    assert_eq!(breaker.state(at(1_002)), BreakerState::Open { left: Duration::from_millis(2_001) });
}

#[test]
fn lost_probe_is_replaced_and_its_late_result_ignored() {
    let breaker = Breaker::default();
    open(&breaker, 0);
    let lost = probe(&breaker, 1_001);
    assert!(breaker.ask(&RULES, at(11_000)).is_err());
    let second = probe(&breaker, 11_001);
    lost.end(CallResult::Success, at(11_002), 0);
    assert_eq!(breaker.state(at(11_002)), BreakerState::HalfOpen);
    second.end(CallResult::Failure, at(11_002), 0);
    assert_eq!(breaker.state(at(11_002)).name(), "open");
}

#[test]
fn probes_that_never_end_do_not_block_the_next() {
    let (breaker, rules) = (Breaker::default(), BreakerRules { probe_max: Duration::ZERO, ..RULES });
    open(&breaker, 0);
    for ms in [1_001, 1_002] {
        let probe = breaker.ask(&rules, at(ms)).expect("the one before is lost");
        assert!(probe.is_probe());
        std::mem::forget(probe);
    }
}

#[test]
fn requests_sent_before_it_opened_change_nothing_afterwards() {
    let breaker = Breaker::default();
    let early: Vec<_> = (0..4).map(|_| breaker.ask(&RULES, at(0)).expect("closed")).collect();
    open(&breaker, 0);
    let before = breaker.state(at(1));
    let mut early = early.into_iter();
    let mut end = |result| early.next().expect("four").end(result, at(1), 0);
    end(CallResult::Success);
    end(CallResult::Failure);
    assert_eq!(breaker.state(at(1)), before);
    let permit = probe(&breaker, 1_001);
    end(CallResult::Success);
    end(CallResult::Failure);
    assert_eq!(breaker.state(at(1_001)), BreakerState::HalfOpen);
    permit.end(CallResult::Success, at(1_001), 0);
    assert_eq!(breaker.state(at(1_001)), BreakerState::Closed { failures: 0 });
}

#[test]
fn zero_failures_in_the_rules_count_as_one() {
    for failures in [0, 1] {
        let (breaker, rules) = (Breaker::default(), BreakerRules { failures, ..RULES });
        assert!(request_by(&rules, &breaker, CallResult::Failure, 0));
        assert!(breaker.ask(&rules, at(0)).is_err());
    }
}

#[test]
fn restart_closes_an_open_breaker() {
    let breaker = Breaker::default();
    open(&breaker, 0);
    breaker.restart();
    assert_eq!(breaker.state(at(0)), BreakerState::Closed { failures: 0 });
}

/// Random requests that take their time, to a provider that dies and recovers: never two probes at once, never a request
/// while the breaker is open, and always a way back.
#[test]
fn random_requests_never_probe_twice_at_once_and_always_recover() {
    for seed in 1..=20 {
        let mut seeded = Seeded::new(seed);
        let breaker = Breaker::default();
        let mut under_way: Vec<Permit<'_>> = Vec::new();
        let mut now = 0;
        for _ in 0..5_000 {
            now += seeded.below(400) as u64;
            if seeded.one_in(2)
                && let Ok(permit) = breaker.ask(&RULES, at(now))
            {
                let closed = matches!(breaker.state(at(now)), BreakerState::Closed { .. });
                assert_eq!(permit.is_probe(), !closed);
                under_way.push(permit);
            }
            while seeded.one_in(2) && !under_way.is_empty() {
                let permit = under_way.swap_remove(seeded.below(under_way.len()));
                let results = [CallResult::Failure, CallResult::Failure, CallResult::Success, CallResult::Unknown];
                permit.end(results[seeded.below(4)], at(now), seeded.next() as u32);
            }
        }
        drop(under_way);
        now += 20_000;
        assert!(request(&breaker, CallResult::Success, now) && request(&breaker, CallResult::Success, now));
        assert_eq!(breaker.state(at(now)), BreakerState::Closed { failures: 0 });
    }
}

#[test]
fn racing_threads_send_one_probe() {
    for _ in 0..200 {
        let breaker = Breaker::default();
        open(&breaker, 0);
        let (probes, start, asked) = (AtomicUsize::new(0), Barrier::new(4), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let permit = breaker.ask(&RULES, at(1_001));
                    probes.fetch_add(usize::from(permit.is_ok()), Ordering::Relaxed);
                    asked.wait();
                    drop(permit);
                });
            }
        });
        assert_eq!(probes.into_inner(), 1);
        probe(&breaker, 1_001).end(CallResult::Success, at(1_001), 0);
    }
}

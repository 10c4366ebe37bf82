//! Breakers under a virtual clock, over several shards, and with real threads.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::seeded::Seeded;

const RULES: Rules = Rules {
    failures: 3,
    pause: Duration::from_millis(1_000),
    pause_max: Duration::from_millis(5_000),
    probe_max: Duration::from_millis(10_000),
};

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, wall_ms: 0 }
}

/// A request that ends as soon as it began. The longest pauses, for round numbers; there is a millisecond on top.
fn request(breaker: &Arc<Breaker>, verdict: Verdict, ms: u64) -> bool {
    match breaker.ask(at(ms)) {
        Ok(permit) => {
            permit.end(breaker, verdict, at(ms), u32::MAX);
            true
        }
        Err(_) => false,
    }
}

fn open(breaker: &Arc<Breaker>, ms: u64) {
    (0..RULES.failures).for_each(|_| assert!(request(breaker, Verdict::Failed, ms)));
}

fn probe(breaker: &Arc<Breaker>, ms: u64) -> Permit {
    let permit = breaker.ask(at(ms)).expect("the pause is over");
    assert!(permit.is_probe());
    permit
}

#[test]
fn it_opens_after_failures_in_a_row_and_refuses_at_once() {
    let breaker = Breaker::new(RULES);
    for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Sound, Verdict::Failed, Verdict::Nothing] {
        assert!(request(&breaker, verdict, 0));
    }
    assert_eq!(breaker.state(at(0)), State::Closed { failures: 1 });
    assert!(request(&breaker, Verdict::Failed, 0));
    assert!(request(&breaker, Verdict::Failed, 0));
    assert_eq!(breaker.state(at(1)), State::Open { left: Duration::from_millis(1_000) });
    assert_eq!(breaker.ask(at(501)).expect_err("open").retry_after, Duration::from_millis(500));
}

#[test]
fn an_answer_below_500_is_a_sign_of_life() {
    for (status, verdict) in
        [(200, Verdict::Sound), (404, Verdict::Sound), (429, Verdict::Sound), (499, Verdict::Sound)]
    {
        assert_eq!(Verdict::of_status(status), verdict, "{status}");
    }
    for status in [500, 502, 503, 529, 599] {
        assert_eq!(Verdict::of_status(status), Verdict::Failed, "{status}");
    }
}

#[test]
fn after_the_pause_one_probe_goes_and_closes_it_if_it_goes_well() {
    let breaker = Breaker::new(RULES);
    open(&breaker, 0);
    assert!(breaker.ask(at(1_000)).is_err());
    assert_eq!(breaker.state(at(1_001)), State::HalfOpen);
    let permit = probe(&breaker, 1_001);
    assert_eq!(breaker.ask(at(1_002)).expect_err("one only").retry_after, Duration::ZERO);
    assert_eq!(breaker.state(at(1_002)).name(), "half_open");
    permit.end(&breaker, Verdict::Sound, at(1_500), 0);
    assert_eq!(breaker.state(at(1_500)), State::Closed { failures: 0 });
    assert!(!breaker.ask(at(1_500)).expect("closed").is_probe());
}

#[test]
fn the_pause_doubles_up_to_its_maximum_and_starts_anew_once_closed() {
    let breaker = Breaker::new(RULES);
    open(&breaker, 0);
    let mut now = 0;
    for pause in [1_000, 2_000, 4_000, 5_000, 5_000] {
        assert_eq!(breaker.state(at(now)), State::Open { left: Duration::from_millis(pause + 1) });
        now += pause + 1;
        assert!(request(&breaker, Verdict::Failed, now), "the probe");
    }
    now += 5_001;
    assert!(request(&breaker, Verdict::Sound, now));
    open(&breaker, now);
    assert_eq!(breaker.state(at(now)), State::Open { left: Duration::from_millis(1_001) });
    let many = Breaker::new(Rules { pause_max: Duration::MAX, ..RULES });
    open(&many, now);
    for n in 0..300 {
        let State::Open { left } = many.state(at(now)) else { panic!("open") };
        now += left.as_millis() as u64;
        assert!(request(&many, Verdict::Failed, now), "probe {n}");
    }
}

#[test]
fn the_jitter_takes_up_to_half_of_the_pause() {
    for (jitter, expected) in [(0, 501), (u32::MAX / 2, 750), (u32::MAX, 1_001)] {
        let breaker = Breaker::new(Rules { failures: 1, ..RULES });
        breaker.ask(at(0)).expect("closed").end(&breaker, Verdict::Failed, at(0), jitter);
        let State::Open { left } = breaker.state(at(0)) else { panic!("open") };
        assert!(left.as_millis().abs_diff(expected) <= 1, "{left:?} for {jitter}");
    }
}

#[test]
fn a_probe_whose_caller_left_makes_room_for_the_next() {
    let breaker = Breaker::new(RULES);
    open(&breaker, 0);
    drop(probe(&breaker, 1_001));
    probe(&breaker, 1_001).end(&breaker, Verdict::Nothing, at(1_002), 0);
    // And the pause goes on doubling from where it was.
    probe(&breaker, 1_002).end(&breaker, Verdict::Failed, at(1_002), u32::MAX);
    assert_eq!(breaker.state(at(1_002)), State::Open { left: Duration::from_millis(2_001) });
}

#[test]
fn a_probe_of_which_nothing_is_heard_is_replaced_and_its_late_word_ignored() {
    let breaker = Breaker::new(RULES);
    open(&breaker, 0);
    let lost = probe(&breaker, 1_001);
    assert!(breaker.ask(at(11_000)).is_err());
    let second = probe(&breaker, 11_001);
    lost.end(&breaker, Verdict::Sound, at(11_002), 0);
    assert_eq!(breaker.state(at(11_002)), State::HalfOpen);
    second.end(&breaker, Verdict::Failed, at(11_002), 0);
    assert_eq!(breaker.state(at(11_002)).name(), "open");
    let forgotten = Breaker::new(Rules { probe_max: Duration::ZERO, ..RULES });
    open(&forgotten, 0);
    std::mem::forget(probe(&forgotten, 1_001));
    std::mem::forget(probe(&forgotten, 1_002));
}

#[test]
fn what_was_sent_before_it_opened_changes_nothing_afterwards() {
    let breaker = Breaker::new(RULES);
    let early: Vec<_> = (0..4).map(|_| breaker.ask(at(0)).expect("closed")).collect();
    open(&breaker, 0);
    let before = breaker.state(at(1));
    let mut early = early.into_iter();
    let mut end = |verdict| early.next().expect("four").end(&breaker, verdict, at(1), 0);
    end(Verdict::Sound);
    end(Verdict::Failed);
    assert_eq!(breaker.state(at(1)), before);
    let permit = probe(&breaker, 1_001);
    end(Verdict::Sound);
    end(Verdict::Failed);
    assert_eq!(breaker.state(at(1_001)), State::HalfOpen);
    permit.end(&breaker, Verdict::Sound, at(1_001), 0);
    assert_eq!(breaker.state(at(1_001)), State::Closed { failures: 0 });
}

#[test]
fn one_failure_may_be_enough_and_none_counts_as_one() {
    for failures in [0, 1] {
        let breaker = Breaker::new(Rules { failures, ..RULES });
        assert!(request(&breaker, Verdict::Failed, 0));
        assert!(breaker.ask(at(0)).is_err());
    }
}

/// Random requests that take their time, on a provider that dies and recovers: never two probes at once, never a request
/// while it is open, and always a way back.
#[test]
fn whatever_happens_there_is_one_probe_at_most_and_a_way_back() {
    for seed in 1..=20 {
        let mut seeded = Seeded::new(seed);
        let breaker = Breaker::new(RULES);
        let mut under_way: Vec<Permit> = Vec::new();
        let mut now = 0;
        for _ in 0..5_000 {
            now += seeded.below(400) as u64;
            if seeded.one_in(2)
                && let Ok(permit) = breaker.ask(at(now))
            {
                let closed = matches!(breaker.state(at(now)), State::Closed { .. });
                assert_eq!(permit.is_probe(), !closed);
                under_way.push(permit);
            }
            while seeded.one_in(2) && !under_way.is_empty() {
                let permit = under_way.swap_remove(seeded.below(under_way.len()));
                let verdict = [Verdict::Failed, Verdict::Failed, Verdict::Sound, Verdict::Nothing][seeded.below(4)];
                permit.end(&breaker, verdict, at(now), seeded.next() as u32);
            }
        }
        drop(under_way);
        now += 20_000;
        assert!(request(&breaker, Verdict::Sound, now) && request(&breaker, Verdict::Sound, now));
        assert_eq!(breaker.state(at(now)), State::Closed { failures: 0 });
    }
}

#[test]
fn threads_together_send_one_probe() {
    for _ in 0..200 {
        let breaker = Breaker::new(RULES);
        open(&breaker, 0);
        let (probes, start, asked) = (AtomicUsize::new(0), Barrier::new(4), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let permit = breaker.ask(at(1_001));
                    probes.fetch_add(usize::from(permit.is_ok()), Ordering::Relaxed);
                    asked.wait();
                    drop(permit);
                });
            }
        });
        assert_eq!(probes.into_inner(), 1);
        probe(&breaker, 1_001).end(&breaker, Verdict::Sound, at(1_001), 0);
    }
}

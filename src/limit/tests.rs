//! Limits under a virtual clock: named cases. The modules below have random requests against exact arithmetic, and real threads.

// Random requests, give-backs and changes of the ceiling.
mod simulation;

// Real threads.
mod threads;

use std::time::Duration;

use super::*;
use crate::clock::Now;

const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 86_400 * SECOND;

fn at(ns: u64) -> Now {
    Now { mono_ns: ns, wall_ms: 0 }
}

fn flow(qps: f64, burst: u32, now: Now) -> Limit {
    Limit::new(Ceiling::Flow { qps, burst }, now)
}

/// Charges all that there is room for and returns how many that were.
fn drain(limit: &Limit, now: Now) -> u32 {
    (0..).take_while(|_| limit.charge(now).is_ok()).count() as u32
}

fn refused(limit: &Limit, now: Now) -> Limited {
    limit.charge(now).expect_err("no room")
}

#[test]
fn burst_passes_at_once_and_the_rest_one_by_one() {
    let limit = flow(50.0, 10, at(7));
    assert_eq!(drain(&limit, at(7)), 10);
    assert_eq!(drain(&limit, at(7 + SECOND / 50 - 1)), 0);
    assert_eq!(drain(&limit, at(8 + SECOND / 50)), 1);
    assert_eq!(drain(&limit, at(8 + SECOND / 50)), 0);
    assert_eq!(drain(&limit, at(8 + SECOND / 50 + SECOND / 10)), 5);
    assert_eq!(drain(&limit, at(YEAR)), 10, "a full bucket does not fill further");
}

#[test]
fn retry_after_is_exact_to_the_nanosecond() {
    for (qps, burst) in [(0.001, 1), (0.37, 3), (1.0, 1), (50.0, 10), (3_333.3, 1), (1_000_000.0, 1), (1e6, 1_000_000)]
    {
        let limit = flow(qps, burst, at(0));
        let mut now = 12_345;
        drain(&limit, at(now));
        for _ in 0..20 {
            let wait = refused(&limit, at(now)).retry_after.as_nanos() as u64;
            assert!(wait > 0 && wait as f64 <= 1e9 / qps * 1.001 + 1.0, "{wait} at {qps}");
            let earlier = at(now + wait - 1);
            assert!(wait == 1 || limit.charge(earlier).is_err(), "{qps}: a nanosecond early");
            now += wait;
            assert_eq!(drain(&limit, at(now)), 1, "{qps}");
        }
    }
}

#[test]
fn standing_counts_requests_and_the_time_until_it_is_full() {
    let limit = flow(2.0, 4, at(0));
    let seconds = Duration::from_secs;
    assert_eq!(limit.standing(at(0)), Standing { limit: 4, remaining: 4, reset: Duration::ZERO });
    let _charge = limit.charge(at(0)).expect("room");
    assert_eq!(limit.standing(at(0)), Standing { limit: 4, remaining: 3, reset: Duration::from_millis(500) });
    drain(&limit, at(0));
    let limited = refused(&limit, at(0));
    assert_eq!(limited.retry_after, Duration::from_millis(500));
    assert_eq!(limited.standing, Standing { limit: 4, remaining: 0, reset: seconds(2) });
    assert_eq!(limit.standing(at(SECOND)), Standing { limit: 4, remaining: 2, reset: seconds(1) });
    assert_eq!(limit.standing(at(9 * SECOND)), Standing { limit: 4, remaining: 4, reset: seconds(0) });
}

#[test]
fn change_of_the_ceiling_keeps_the_level() {
    let limit = flow(1.0, 10, at(0));
    let set = |qps, burst, now| limit.set_ceiling(Ceiling::Flow { qps, burst }, now);
    assert_eq!(drain(&limit, at(0)), 10);
    // Three have flowed in until the change; then a thousand a second do.
    assert_eq!(set(1_000.0, 10, at(3 * SECOND)), 7);
    assert_eq!(limit.standing(at(3 * SECOND)).remaining, 3);
    assert_eq!(drain(&limit, at(3 * SECOND + SECOND / 1_000)), 4);
    set(0.5, 10, at(3 * SECOND + SECOND / 1_000));
    assert_eq!(drain(&limit, at(5 * SECOND)), 0);
    assert_eq!(drain(&limit, at(6 * SECOND)), 1);
    // A smaller burst does not forget what was used of the larger one; a larger one adds its difference.
    assert_eq!(set(0.5, 2, at(6 * SECOND)), 10);
    assert_eq!((limit.standing(at(6 * SECOND)).remaining, drain(&limit, at(6 * SECOND))), (0, 0));
    set(0.5, 15, at(6 * SECOND));
    assert_eq!(drain(&limit, at(6 * SECOND)), 5);
}

#[test]
fn thousands_of_changes_lose_nothing_of_a_slow_flow() {
    let limit = flow(0.001, 1, at(0));
    assert_eq!(drain(&limit, at(0)), 1);
    // Sixty a second for 1,000 seconds, by turns to another rate and to the one in force.
    for n in 1..=60_000_u64 {
        let qps = if n.is_multiple_of(3) { 0.001_000_1 } else { 0.001 };
        limit.set_ceiling(Ceiling::Flow { qps, burst: 1 }, at(n * SECOND / 60));
    }
    assert_eq!(drain(&limit, at(1_000 * SECOND)), 1);
}

#[test]
fn grant_lets_its_units_through_and_nothing_flows_in() {
    let limit = Limit::new(Ceiling::Grant { units: 3 }, at(0));
    assert_eq!(drain(&limit, at(5)), 3);
    let limited = refused(&limit, at(YEAR));
    assert_eq!(limited.retry_after, GRANT_RETRY_AFTER);
    assert_eq!(limited.standing, Standing { limit: 3, remaining: 0, reset: GRANT_RETRY_AFTER });
    assert_eq!(limit.set_ceiling(Ceiling::Grant { units: 5 }, at(YEAR)), 3);
    assert_eq!(drain(&limit, at(YEAR)), 2);
    // Lowered below what is charged already, it waits until enough was given back.
    assert_eq!(limit.set_ceiling(Ceiling::Grant { units: 2 }, at(YEAR)), 5);
    assert_eq!((limit.standing(at(YEAR)).remaining, drain(&limit, at(YEAR))), (0, 0));
    assert_eq!(drain(&Limit::new(Ceiling::Grant { units: 0 }, at(0)), at(YEAR)), 0);
    assert_eq!(drain(&Limit::default(), at(YEAR)), 0, "without a ceiling nothing passes");
}

#[test]
fn grant_takes_back_whole_units_at_any_time() {
    let limit = Limit::new(Ceiling::Grant { units: 2 }, at(0));
    let (first, _second) = (limit.charge(at(0)).expect("room"), limit.charge(at(0)).expect("room"));
    first.give_back(at(YEAR));
    assert_eq!(drain(&limit, at(YEAR)), 1);
    limit.set_ceiling(Ceiling::Grant { units: 3 }, at(YEAR));
    let third = limit.charge(at(YEAR)).expect("room");
    // Three are charged and one of them is given back, which is still one too many for another.
    limit.set_ceiling(Ceiling::Grant { units: 2 }, at(YEAR));
    third.give_back(at(YEAR));
    assert_eq!(drain(&limit, at(YEAR)), 0);
}

#[test]
fn flow_becomes_a_grant_and_a_flow_again() {
    let limit = flow(0.3, 4, at(0));
    assert_eq!(drain(&limit, at(7)), 4);
    // A third of a request has flowed in.
    assert_eq!(limit.set_ceiling(Ceiling::Grant { units: 5 }, at(SECOND)), 4);
    let charge = limit.charge(at(SECOND)).expect("the fifth");
    assert_eq!(drain(&limit, at(YEAR)), 0);
    let _charge = (0..100_000).fold(charge, |charge, _| {
        charge.give_back(at(YEAR));
        limit.charge(at(YEAR)).expect("given back")
    });
    assert_eq!(drain(&limit, at(YEAR)), 0, "rounding does not add up");
    limit.set_ceiling(Ceiling::Flow { qps: 1.0, burst: 6 }, at(YEAR));
    assert_eq!((drain(&limit, at(YEAR)), drain(&limit, at(YEAR + SECOND))), (1, 1));
}

#[test]
fn flow_takes_back_what_has_not_flowed_in_since() {
    let limit = flow(1.0, 1, at(0));
    let charge = limit.charge(at(7)).expect("room");
    charge.give_back(at(SECOND / 2));
    let charge = limit.charge(at(SECOND / 2)).expect("given back");
    assert_eq!(refused(&limit, at(SECOND / 2)).retry_after.as_millis(), 1_000);
    // By now the flow has paid for it, so nothing is left to give back.
    charge.give_back(at(2 * SECOND));
    assert_eq!(drain(&limit, at(2 * SECOND)), 1);
}

#[test]
fn roundings_of_give_backs_do_not_add_up() {
    let limit = flow(1_000.0, 10, at(0));
    let _charged: Vec<_> = (0..9).map(|_| limit.charge(at(0)).expect("room")).collect();
    // A unit flows in within 61.035 ns. Each request is charged as one begins and given back as it ends.
    let begins = |unit: u64| (unit * 1_000_000).div_ceil(16_384);
    for unit in 0..3 * 16_384 {
        let charge = limit.charge(at(begins(unit))).expect("the one that is left");
        charge.give_back(at(begins(unit + 1) - 1));
    }
    assert_eq!(limit.standing(at(3_000_000)).remaining, 1);
}

/// If they could, the requests that come meanwhile would be let through on top of those that the flow paid for.
#[test]
fn late_give_backs_do_not_widen_a_busy_flow() {
    let limit = flow(10.0, 5, at(0));
    let charges: Vec<_> = (0..5).map(|_| limit.charge(at(0)).expect("room")).collect();
    assert_eq!(drain(&limit, at(SECOND)), 5);
    charges.into_iter().for_each(|charge| charge.give_back(at(SECOND)));
    assert_eq!(drain(&limit, at(SECOND)), 0);
}

#[test]
fn values_out_of_range_are_taken_for_the_nearest() {
    assert_eq!(drain(&flow(1.0, 0, at(0)), at(0)), 1);
    assert_eq!(drain(&flow(f64::NAN, 1, at(0)), at(YEAR)), 1);
    let absurd = flow(f64::INFINITY, u32::MAX, at(0));
    assert_eq!(absurd.standing(at(0)).limit, 1_000_000);
    let none = flow(-1.0, 1, at(0));
    drain(&none, at(0));
    assert_eq!(refused(&none, at(0)).retry_after.as_secs_f64().round(), 1_000.0);
}

#[test]
fn decades_of_uptime_change_nothing() {
    for years in [1, 10, 34] {
        let start = years * YEAR;
        for since in [0, start] {
            let limit = flow(1_000_000.0, 1_000, at(since));
            assert_eq!(drain(&limit, at(start)), 1_000, "after {years} years");
            assert_eq!(drain(&limit, at(start + 100_001)), 100);
            let slow = flow(0.001, 2, at(since));
            assert_eq!(drain(&slow, at(start)), 2);
            assert_eq!(drain(&slow, at(start + 1_001 * SECOND)), 1);
        }
    }
}

#[test]
fn older_reading_of_the_clock_is_stricter_and_does_no_harm() {
    let limit = flow(1.0, 2, at(0));
    assert_eq!(drain(&limit, at(10 * SECOND)), 2);
    assert_eq!(drain(&limit, at(0)), 0);
    assert_eq!(refused(&limit, at(9 * SECOND)).retry_after, Duration::from_secs(2));
    assert_eq!(drain(&limit, at(11 * SECOND)), 1);
}

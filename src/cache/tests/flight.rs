//! Tests single flight: named cases, and a seeded simulation against a model of plain queues.

use std::collections::VecDeque;

use super::*;
use crate::cache::flight::{FLIGHTS_MAX, Flights, LEAD_NS_MAX, SEATS_MAX};

fn key(number: u64) -> Key {
    Key::of_number(number)
}

fn lead(flights: &mut Flights<u32>, number: u64, asker: u32) -> Ticket {
    match flights.ask(key(number), asker, at(0)) {
        Role::Lead(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn wait(flights: &mut Flights<u32>, number: u64, asker: u32) -> Ticket {
    match flights.ask(key(number), asker, at(0)) {
        Role::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_of_500_askers_fetches_and_all_are_answered() {
    let mut flights = Flights::new();
    let leader = lead(&mut flights, 1, 0);
    for asker in 1..500 {
        wait(&mut flights, 1, asker);
    }
    assert_eq!(flights.land(leader), (1..500).collect::<Vec<_>>());
    assert!(flights.is_empty());
    assert_eq!(flights.land(leader), Vec::<u32>::new(), "once");
    lead(&mut flights, 1, 7);
}

#[test]
fn different_keys_have_separate_flights() {
    let mut flights = Flights::new();
    let first = lead(&mut flights, 1, 0);
    lead(&mut flights, 2, 1);
    assert_eq!((flights.land(first), flights.len()), (vec![], 1));
}

#[test]
fn next_waiter_leads_when_the_leader_leaves() {
    let mut flights = Flights::new();
    let first = lead(&mut flights, 1, 0);
    let second = wait(&mut flights, 1, 1);
    let third = wait(&mut flights, 1, 2);
    assert_eq!(flights.gone(first, at(1)), Some((1, second)));
    assert_eq!(flights.land(first), Vec::<u32>::new(), "it does not lead any more");
    assert_eq!(flights.gone(second, at(2)), Some((2, third)));
    wait(&mut flights, 1, 3);
    assert_eq!(flights.land(third), [3]);
}

#[test]
fn waiter_that_leaves_is_removed_from_the_flight() {
    let mut flights = Flights::new();
    let leader = lead(&mut flights, 1, 0);
    let tickets: Vec<_> = (1..5).map(|asker| wait(&mut flights, 1, asker)).collect();
    for ticket in [tickets[1], tickets[3], tickets[1]] {
        assert_eq!(flights.gone(ticket, at(1)), None);
    }
    assert_eq!(flights.land(leader), [1, 3]);
    assert_eq!(flights.gone(tickets[0], at(1)), None, "it was answered");
}

#[test]
fn last_asker_to_leave_ends_the_flight() {
    let mut flights = Flights::new();
    let first = lead(&mut flights, 1, 0);
    assert_eq!(flights.gone(first, at(1)), None);
    assert!(flights.is_empty());
    lead(&mut flights, 1, 1);
}

#[test]
fn first_failure_promotes_a_waiter_and_second_releases_all() {
    let mut flights = Flights::new();
    let first = lead(&mut flights, 1, 0);
    let second = wait(&mut flights, 1, 1);
    for asker in 2..5 {
        wait(&mut flights, 1, asker);
    }
    assert_eq!(flights.failed(first, at(1)), After::Leads(1, second));
    assert_eq!(flights.failed(first, at(1)), After::Nobody, "it does not lead any more");
    assert_eq!(flights.failed(second, at(2)), After::Released(vec![2, 3, 4]));
    assert!(flights.is_empty());
    let alone = lead(&mut flights, 1, 9);
    assert_eq!(flights.failed(alone, at(3)), After::Nobody);
    assert!(flights.is_empty());
}

#[test]
fn silent_leader_is_replaced() {
    let mut flights = Flights::new();
    let lost = lead(&mut flights, 1, 0);
    wait(&mut flights, 1, 1);
    let later = |ns: u64| Now { mono_ns: ns, wall_ms: 0 };
    assert!(matches!(flights.ask(key(1), 2, later(LEAD_NS_MAX)), Role::Wait(_)));
    let Role::Lead(heir) = flights.ask(key(1), 3, later(LEAD_NS_MAX + 1)) else { panic!("it leads") };
    assert_eq!(flights.land(lost), Vec::<u32>::new(), "too late");
    assert!(matches!(flights.ask(key(1), 4, later(LEAD_NS_MAX + 2)), Role::Wait(_)));
    assert_eq!(flights.land(heir), [1, 2, 4]);
}

#[test]
fn leader_timeout_starts_when_it_becomes_leader() {
    let mut flights = Flights::new();
    let first = lead(&mut flights, 1, 0);
    let second = wait(&mut flights, 1, 1);
    let later = |ns: u64| Now { mono_ns: ns, wall_ms: 0 };
    assert_eq!(flights.gone(first, later(LEAD_NS_MAX)), Some((1, second)));
    assert!(matches!(flights.ask(key(1), 2, later(LEAD_NS_MAX + 1)), Role::Wait(_)));
    assert_eq!(flights.land(second), [2]);
}

#[test]
fn flights_and_seats_are_bounded() {
    let mut flights = Flights::new();
    for number in 0..FLIGHTS_MAX as u64 {
        lead(&mut flights, number, 0);
    }
    assert_eq!(flights.ask(key(FLIGHTS_MAX as u64), 0, at(0)), Role::Alone);
    for asker in FLIGHTS_MAX..SEATS_MAX {
        wait(&mut flights, 3, asker as u32);
    }
    assert_eq!(flights.ask(key(3), 0, at(0)), Role::Alone);
    assert_eq!(flights.len(), FLIGHTS_MAX);
}

/// For each key, its askers in order of arrival and the number of failures.
type Queues = Vec<(VecDeque<u32>, u32)>;

struct Simulation {
    seeded: Seeded,
    flights: Flights<u32>,
    queues: Queues,
    /// Every asker that ever led or waited, with its ticket and the number of its key.
    tickets: Vec<(u32, Ticket, usize)>,
    askers: u32,
}

impl Simulation {
    fn ask(&mut self) {
        let number = self.seeded.below(self.queues.len());
        let asker = self.askers;
        self.askers += 1;
        let queue = &mut self.queues[number].0;
        queue.push_back(asker);
        let ticket = match self.flights.ask(key(number as u64), asker, at(1)) {
            Role::Lead(ticket) if queue.len() == 1 => ticket,
            Role::Wait(ticket) if queue.len() > 1 => ticket,
            other => panic!("{other:?} with {} in the queue", queue.len()),
        };
        self.tickets.push((asker, ticket, number));
    }

    /// Lets a random asker leave, land or fail; its ticket may have ended long ago.
    fn act(&mut self) {
        // A leader is the first of its queue and may have asked long ago, so recent tickets alone would rarely include one.
        let leading = self.seeded.below(self.queues.len());
        let leader = self.queues[leading].0.front().map(|&asker| asker as usize).filter(|_| self.seeded.one_in(3));
        let recent = self.tickets.len().checked_sub(1 + self.seeded.below(40));
        let Some(chosen) = leader.or(recent) else { return };
        let (asker, ticket, number) = self.tickets[chosen];
        let (queue, failures) = &mut self.queues[number];
        let leads = queue.front() == Some(&asker);
        let told = |next: Option<(u32, Ticket)>| next.map(|(asker, _)| asker);
        match self.seeded.below(3) {
            0 => {
                let next = told(self.flights.gone(ticket, at(1)));
                queue.retain(|&other| other != asker);
                assert_eq!(next, queue.front().copied().filter(|_| leads));
            }
            1 => {
                let released = self.flights.land(ticket);
                let expected = if leads { std::mem::take(queue).into_iter().skip(1).collect() } else { vec![] };
                assert_eq!(released, expected);
            }
            _ => match (self.flights.failed(ticket, at(1)), leads) {
                (After::Nobody, false) => {}
                (after, true) => {
                    queue.pop_front();
                    *failures += 1;
                    let expected = match queue.front() {
                        None => None,
                        Some(_) if *failures == 2 => Some(std::mem::take(queue).into_iter().collect()),
                        Some(&next) => Some(vec![next]),
                    };
                    let after = match after {
                        After::Leads(next, _) => Some(vec![next]),
                        After::Released(all) => Some(all),
                        After::Nobody => None,
                    };
                    assert_eq!(after, expected);
                }
                other => panic!("{other:?}"),
            },
        }
        if queue.is_empty() {
            *failures = 0;
        }
    }
}

#[test]
fn flights_match_a_model_of_queues() {
    for seed in 1..=4 {
        let queues = vec![Default::default(); 5];
        let mut simulation =
            Simulation { seeded: Seeded::new(seed), flights: Flights::new(), queues, tickets: vec![], askers: 0 };
        for _ in 0..50_000 {
            if simulation.seeded.one_in(2) {
                simulation.ask();
            } else {
                simulation.act();
            }
            let flying = simulation.queues.iter().filter(|queue| !queue.0.is_empty()).count();
            assert_eq!(simulation.flights.len(), flying);
        }
    }
}

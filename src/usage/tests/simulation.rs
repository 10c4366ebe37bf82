//! A seeded simulation: several shards, a virtual clock, and a model that keeps a list of all events.

use super::*;

/// All events, kept forever: the window consists of those that still count.
#[derive(Default)]
struct Model {
    /// Each event's period, requests, tokens and cost.
    events: Vec<(u64, u64, u64, i64)>,
    pending: i64,
}

impl Model {
    fn totals(&self, now: Now, own_estimate: i64) -> Totals {
        let period = now.mono_ns / PERIOD_NS;
        let counting = self.events.iter().filter(|event| period - event.0 < BUCKETS as u64);
        let start = totals(0, 0, self.pending - own_estimate);
        counting.fold(start, |sum, event| totals(sum.requests + event.1, sum.tokens + event.2, sum.cost.0 + event.3))
    }
}

struct InFlight {
    entry: WindowEntry,
    user: usize,
    entered: u64,
    estimate: i64,
}

struct Simulation {
    seeded: Seeded,
    registry: Arc<Registry>,
    shards: Vec<LocalWindows>,
    models: Vec<Model>,
    in_flight: Vec<InFlight>,
    now: u64,
}

const USERS: [(&str, &str); 7] = [("", ""), ("a", ""), ("", "a"), ("a", "b"), ("ab", ""), ("b", "a"), ("a", "bb")];

impl Simulation {
    fn new(seed: u64, shards: usize) -> Simulation {
        let registry = Registry::new(shards);
        Simulation {
            seeded: Seeded::new(seed),
            shards: (0..shards).map(|shard| LocalWindows::new(Arc::clone(&registry), shard)).collect(),
            models: USERS.iter().map(|_| Model::default()).collect(),
            in_flight: Vec::new(),
            now: 0,
            registry,
        }
    }

    fn step(&mut self) {
        match self.seeded.below(16) {
            0..6 => self.enter(),
            6..12 => self.end(),
            12 => self.reestimate(),
            13 => {
                let shard = self.seeded.below(self.shards.len());
                self.shards[shard].sweep(at(self.now));
                self.registry.sweep(at(self.now), 3);
            }
            _ if self.seeded.one_in(40) => self.now += (self.seeded.next() % 200) * SECOND,
            _ => self.now += self.seeded.next() % (3 * SECOND),
        }
        let period = self.now / PERIOD_NS;
        for model in &mut self.models {
            model.events.retain(|event| period - event.0 < BUCKETS as u64);
        }
    }

    fn enter(&mut self) {
        let (user, shard) = (self.seeded.below(USERS.len()), self.seeded.below(self.shards.len()));
        let estimate = (self.seeded.next() % 1_000) as i64;
        let who = Who::of_user(USERS[user].0, USERS[user].1);
        let entry = self.shards[shard].enter(who, at(self.now), MicroUsd(estimate));
        let model = &mut self.models[user];
        model.events.push((self.now / PERIOD_NS, 1, 0, 0));
        model.pending += estimate;
        assert_eq!(entry.totals(at(self.now)), model.totals(at(self.now), estimate), "at {}", self.now);
        self.in_flight.push(InFlight { entry, user, entered: self.now / PERIOD_NS, estimate });
    }

    fn end(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let InFlight { entry, user, entered, estimate } =
            self.in_flight.swap_remove(self.seeded.below(self.in_flight.len()));
        let model = &mut self.models[user];
        assert_eq!(entry.totals(at(self.now)), model.totals(at(self.now), estimate), "at {}", self.now);
        model.pending -= estimate;
        if self.seeded.one_in(3) {
            let own = model.events.iter().position(|event| event.0 == entered && event.1 == 1);
            own.map(|own| model.events.swap_remove(own));
            if self.seeded.one_in(2) { entry.refuse() } else { drop(entry) }
        } else {
            let (tokens, cost) = (self.seeded.next() % 5_000, (self.seeded.next() % 2_000) as i64);
            model.events.push((self.now / PERIOD_NS, 0, tokens, cost));
            entry.settle(at(self.now), tokens, MicroUsd(cost));
        }
    }

    fn reestimate(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let chosen = self.seeded.below(self.in_flight.len());
        let flight = &mut self.in_flight[chosen];
        let estimate = (self.seeded.next() % 1_000) as i64;
        self.models[flight.user].pending += estimate - flight.estimate;
        flight.estimate = estimate;
        flight.entry.reestimate(MicroUsd(estimate));
    }
}

#[test]
fn windows_match_a_list_of_all_events() {
    for (seed, shards) in [(1, 1), (2, 2), (3, 3), (4, 8)] {
        let mut simulation = Simulation::new(seed, shards);
        for _ in 0..100_000 {
            simulation.step();
        }
        while !simulation.in_flight.is_empty() {
            simulation.end();
        }
        assert!(simulation.models.iter().all(|model| model.pending == 0));
    }
}

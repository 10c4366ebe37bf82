//! Random requests over several shards, against buckets in exact arithmetic. The same seed takes the same steps.

use super::*;
use crate::seeded::Seeded;

const ONE: i128 = 1_000_000_000;
/// Two units of the level, one at each end of a span.
const GRAIN: i128 = ONE / 8_192;

/// A bucket in exact arithmetic, in billionths of a request.
struct Model {
    qps: u64,
    /// The burst, or the units of a grant.
    room: u64,
    /// All that has flowed in.
    inflow: i128,
    /// What is missing to a full bucket.
    used: i128,
    last: u64,
    /// By how much the limit may be stricter: each give-back and each change is rounded, until the bucket is full.
    slack: i128,
}

impl Model {
    fn new(qps: u64, room: u64) -> Model {
        Model { qps, room, inflow: 0, used: 0, last: 0, slack: GRAIN }
    }

    fn pass(&mut self, now: u64) {
        let inflow = i128::from(now - self.last) * i128::from(self.qps);
        self.inflow += inflow;
        self.used = (self.used - inflow).max(0);
        self.last = now;
        if self.used == 0 {
            self.slack = GRAIN;
        }
    }

    fn free(&self) -> i128 {
        i128::from(self.room) * ONE - self.used
    }

    /// A request was charged; returns what had flowed in.
    fn charge(&mut self, now: u64) -> i128 {
        self.pass(now);
        assert!(self.free() + GRAIN >= ONE, "too many: {} a second, {} at once", self.qps, self.room);
        self.used += ONE;
        self.inflow
    }

    fn refuse(&mut self, now: u64) {
        self.pass(now);
        assert!(self.free() < ONE + self.slack, "too few: {} a second, {} at once", self.qps, self.room);
    }

    fn give_back(&mut self, charged_at: i128, now: u64) {
        self.pass(now);
        let unused = ONE - (self.inflow - charged_at).min(ONE);
        self.used = (self.used - unused).max(0);
        self.slack += GRAIN;
    }

    fn change(&mut self, qps: u64, room: u64, now: u64) {
        self.pass(now);
        (self.qps, self.room) = (qps, room);
        self.slack += GRAIN;
    }
}

struct Simulation {
    seeded: Seeded,
    qps: u64,
    burst: u64,
    /// Each shard's last reading of the clock.
    read: Vec<u64>,
    now: u64,
}

impl Simulation {
    fn new(seed: u64, shards: usize) -> Simulation {
        let mut seeded = Seeded::new(seed);
        let (qps, burst) = (draw_qps(&mut seeded), draw_burst(&mut seeded));
        Simulation { seeded, qps, burst, read: vec![0; shards], now: 0 }
    }

    fn limit(&self) -> Limit {
        flow(self.qps as f64, self.burst as u32, at(0))
    }

    /// Lets some time pass, and picks the shard that has a request.
    fn pass(&mut self) -> &mut u64 {
        let step = SECOND / self.qps * [0, 1, 2, 20][self.seeded.below(4)] / 2;
        self.now += self.seeded.next() % (step + 1);
        let shard = self.seeded.below(self.read.len());
        &mut self.read[shard]
    }

    /// Another rate, another burst, or a grant.
    fn change(&mut self, limit: &Limit, model: &mut Model) {
        let room = draw_burst(&mut self.seeded);
        let used = if self.seeded.one_in(3) {
            model.change(0, room, self.now);
            limit.set_ceiling(Ceiling::Grant { units: room as u32 }, at(self.now))
        } else {
            self.qps = draw_qps(&mut self.seeded);
            model.change(self.qps, room, self.now);
            limit.set_ceiling(Ceiling::Flow { qps: self.qps as f64, burst: room as u32 }, at(self.now))
        };
        let too_many = i128::from(used) * ONE - model.used;
        assert!((-GRAIN..ONE + model.slack).contains(&too_many), "{used} for {}", model.used);
    }
}

fn draw_qps(seeded: &mut Seeded) -> u64 {
    1 + seeded.next() % [3, 100, 50_000, 1_000_000][seeded.below(4)]
}

fn draw_burst(seeded: &mut Seeded) -> u64 {
    1 + seeded.next() % [2, 20, 5_000][seeded.below(3)]
}

#[test]
fn shards_together_are_charged_what_an_exact_bucket_holds() {
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed, 4);
        let limit = simulation.limit();
        let mut model = Model::new(simulation.qps, simulation.burst);
        for _ in 0..4_000 {
            simulation.pass();
            let now = simulation.now;
            match limit.charge(at(now)) {
                Ok(_) => _ = model.charge(now),
                Err(_) => model.refuse(now),
            }
        }
    }
}

#[test]
fn give_backs_and_changes_of_the_ceiling_agree_with_an_exact_bucket() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed, 1);
        let limit = simulation.limit();
        let mut model = Model::new(simulation.qps, simulation.burst);
        let (mut charges, mut given_back) = (Vec::new(), 0);
        for _ in 0..4_000 {
            simulation.pass();
            let now = simulation.now;
            match simulation.seeded.below(10) {
                0..7 => match limit.charge(at(now)) {
                    Ok(charge) => charges.push((charge, model.charge(now))),
                    Err(_) => model.refuse(now),
                },
                7..9 if !charges.is_empty() => {
                    let (charge, charged_at) = charges.swap_remove(simulation.seeded.below(charges.len()));
                    charge.give_back(at(now));
                    model.give_back(charged_at, now);
                    given_back += 1;
                }
                _ if simulation.seeded.one_in(10) => simulation.change(&limit, &mut model),
                _ => {}
            }
        }
        assert!(given_back > 0, "seed {seed}");
    }
}

/// The provider sees only the requests that were not given back. They alone fit into a bucket that knows nothing of the others.
#[test]
fn requests_that_were_sent_fit_into_the_limit_by_themselves() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed, 1);
        let limit = simulation.limit();
        let (mut sent, mut undecided) = (Vec::new(), Vec::new());
        for _ in 0..4_000 {
            simulation.pass();
            let now = simulation.now;
            if let Ok(charge) = limit.charge(at(now)) {
                undecided.push((charge, now));
            }
            while undecided.len() > 30 || (!undecided.is_empty() && simulation.seeded.one_in(2)) {
                let (charge, charged_at) = undecided.swap_remove(simulation.seeded.below(undecided.len()));
                match simulation.seeded.one_in(2) {
                    true => charge.give_back(at(now)),
                    false => sent.push(charged_at),
                }
            }
        }
        sent.extend(undecided.into_iter().map(|(_, charged_at)| charged_at));
        sent.sort_unstable();
        let mut model = Model::new(simulation.qps, simulation.burst);
        sent.into_iter().for_each(|now| _ = model.charge(now));
    }
}

/// Each request is charged as of its shard's reading of the clock, whatever the others have read meanwhile.
#[test]
fn lagging_readings_of_the_clock_do_not_widen_the_limit() {
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
            if limit.charge(at(*read)).is_ok() {
                charged.push(*read);
            }
        }
        charged.sort_unstable();
        let mut model = Model::new(simulation.qps, simulation.burst);
        charged.into_iter().for_each(|read| _ = model.charge(read));
    }
}

//! A seeded simulation of judging and accounting: real requests as bytes, several shards, a virtual clock, policies that come
//! and go, and a naive model that keeps a list of everything that happened. Tests only. A seed always takes the same steps.

use std::sync::Arc;

use crate::cache::{Evictions, HashKey};
use crate::clock::Now;
use crate::http::head::{HeadLimits, request};
use crate::link::Tally;
use crate::link::usage::UsageTotals;
use crate::llm::Usage;
use crate::plan::{Plan, PlanInputs};
use crate::policy::{Action, Compiled, Mode, Policy};
use crate::pricing::Prices;
use crate::seeded::Seeded;
use crate::shard::account::Accounting;
use crate::shard::answer::head::Frame;
use crate::shard::answer::refusal::Refusal;
use crate::shard::ground::Date;
use crate::shard::judge::admit::{Governor, Setting};
use crate::shard::judge::cache::Cache;
use crate::shard::judge::flow::{self, AnswerLayout, Decision, Judge, WholeRequest};
use crate::shard::judge::record::{End, Record};
use crate::shared::Shared;
use crate::units::MicroUsd;
use crate::usage::{BUCKETS, LocalWindows, PERIOD_NS};
use crate::who::Who;

const SECOND: u64 = 1_000_000_000;
/// As in `usage`: an event counts in the five-second period in which it happens and in the twelve periods after it.
/// `request_count > 5` blocks.
const REQUESTS_MAX: u64 = 5;
/// `cost_usd + est_cost_usd > 0.02` blocks.
const BUDGET: i64 = 20_000;
/// `tokens_used > 3000` downgrades.
const TOKENS_MAX: u64 = 3_000;

const USERS: [Who<&str>; 5] = [
    Who::of_user("", ""),
    Who::of_user("t", "limited"),
    Who::of_user("t", "spender"),
    Who::of_user("", "limited"),
    Who::of_user("u", "reader"),
];
const MODELS: [&str; 3] = ["gpt-4o", "gpt-4o-mini", "local/llama"];

const CONFIG: &str = "
version: v1
providers:
  - { name: big, base_url: 'http://127.0.0.1:9/v1', models: [gpt-4o, gpt-4o-mini], downgrade: { gpt-4o: gpt-4o-mini } }
  - { name: local, base_url: 'http://127.0.0.1:10/v1', models: ['local/*'] }
storage: { backend: sqlite, sqlite: { path: unused.db } }
";
const PRICES: &str = r#"{
  "gpt-4o": { "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05 },
  "gpt-4o-mini": { "input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07 }
}"#;

fn policies() -> Vec<Policy> {
    let rules = [
        ("count", Action::Block, Mode::Enforce, "user_id == 'limited' && request_count > 5"),
        ("tokens", Action::Downgrade, Mode::Enforce, "model == 'gpt-4o' && tokens_used > 3000"),
        ("budget", Action::Block, Mode::Enforce, "user_id == 'spender' && cost_usd + est_cost_usd > 0.02"),
        ("watch", Action::Alert, Mode::Enforce, "request_count > 3"),
        ("shadow", Action::Block, Mode::Shadow, "user_id == 'reader'"),
    ];
    let policy = |(index, (name, action, mode, expression)): (usize, (&str, Action, Mode, &str))| Policy {
        id: name.into(),
        name: name.into(),
        description: String::new(),
        expression: expression.into(),
        action,
        target_model: None,
        message: None,
        priority: index as i64,
        enabled: true,
        mode,
        created_at: String::new(),
        updated_at: String::new(),
    };
    rules.into_iter().enumerate().map(policy).collect()
}

fn at(ns: u64) -> Now {
    Now { mono_ns: ns, wall_ms: ns / 1_000_000 }
}

/// Everything that a user did, except for refused requests.
#[derive(Default)]
struct History {
    /// Time, tokens and cost of each answer.
    events: Vec<(u64, u64, i64)>,
    requests: Vec<u64>,
    pending: i64,
}

impl History {
    fn used(&self, now: u64) -> (u64, u64, i64) {
        let counts = |then: u64| now / PERIOD_NS - then / PERIOD_NS < BUCKETS as u64;
        let requests = self.requests.iter().filter(|then| counts(**then)).count() as u64;
        let events = self.events.iter().filter(|event| counts(event.0));
        let (tokens, cost) = events.fold((0, 0), |sum, event| (sum.0 + event.1, sum.1 + event.2));
        (requests, tokens, cost + self.pending)
    }
}

/// The parts of a shard that judge and account.
struct SimulatedShard {
    governor: Governor,
    cache: Cache,
    accounting: Accounting,
    /// What the traces add up to, and what was sent so far.
    traced: UsageTotals,
    sent: UsageTotals,
}

impl SimulatedShard {
    /// Ends a request.
    fn settle(&mut self, record: Record<'_>, end: End<'_>) {
        let trace = record.trace(end);
        assert_eq!(record.importance(end), trace.importance());
        self.traced.count(&trace);
        self.accounting.settle(record, end);
    }

    /// Sends a batch to the coordinator, whose channel may be full.
    fn send(&mut self, accepted: bool) {
        let Some(batch) = self.accounting.take_batch() else { return };
        match accepted {
            true => self.sent.merge(batch.totals),
            false => self.accounting.take_back_batch(batch),
        }
    }
}

struct InFlight {
    record: Record<'static>,
    shard: usize,
    user: usize,
    model: &'static str,
    estimate: i64,
}

/// What should have been counted.
#[derive(Default, Debug, PartialEq)]
struct Sums {
    answered: u64,
    refused: u64,
    failed: u64,
    tokens: u64,
    cost: i64,
    matches: u64,
}

struct Simulation {
    seeded: Seeded,
    shared: Arc<Shared>,
    shards: Vec<SimulatedShard>,
    governed: &'static Plan,
    free: &'static Plan,
    governing: bool,
    histories: Vec<History>,
    in_flight: Vec<InFlight>,
    sums: Sums,
    now: u64,
}

impl Simulation {
    fn new(seed: u64, shards: usize) -> Simulation {
        let config = crate::config::parse(CONFIG, "simulation", &|_| None).unwrap();
        let shared = Shared::new(shards);
        let inputs = PlanInputs {
            config: &config,
            prices: Arc::new(Prices::parse(PRICES).unwrap()),
            policies: Arc::default(),
            created_s: 0,
            exports_spans: false,
            slots: shared.claim_slots([]),
            now: at(0),
        };
        let free = Plan::new(inputs, None).unwrap();
        let shard = |id| SimulatedShard {
            governor: Governor::new(LocalWindows::new(shared.windows.clone(), id)),
            cache: Cache::new(id, shards, HashKey::new([7; 32]), free.cache),
            accounting: Accounting::new(1, id),
            traced: UsageTotals::default(),
            sent: UsageTotals::default(),
        };
        // A record points into its plan. Leaking a few plans is harmless in a test.
        let governed = free.with_policies(Arc::new(Compiled::new(&policies()).unwrap()));
        Simulation {
            seeded: Seeded::new(seed),
            shards: (0..shards).map(shard).collect(),
            governed: Box::leak(Box::new(governed)),
            free: Box::leak(Box::new(free)),
            governing: true,
            histories: USERS.iter().map(|_| History::default()).collect(),
            in_flight: Vec::new(),
            sums: Sums::default(),
            now: SECOND,
            shared,
        }
    }

    fn step(&mut self) {
        match self.seeded.below(20) {
            0..8 => self.arrive(),
            8..15 => self.end(),
            15 => self.governing = self.seeded.below(4) > 0,
            16 => {
                let shard = self.seeded.below(self.shards.len());
                self.shards[shard].governor.windows.sweep(at(self.now));
                self.shared.windows.sweep(at(self.now), 5);
                let room = self.seeded.below(3) > 0;
                self.shards[shard].send(room);
            }
            17 if self.seeded.below(30) == 0 => self.now += self.seeded.next() % (150 * SECOND),
            _ => self.now += self.seeded.next() % SECOND,
        }
    }

    /// A request arrives at some shard. The decision must be the one that the model predicts.
    fn arrive(&mut self) {
        let (user, shard) = (self.seeded.below(USERS.len()), self.seeded.below(self.shards.len()));
        let asked = MODELS[self.seeded.below(MODELS.len())];
        let max_tokens = 1 + self.seeded.next() % 500;
        let body = format!(r#"{{"model":"{asked}","max_tokens":{max_tokens},"messages":[]}}"#);
        let identity: String =
            USERS[user].parts().map(|(part, value)| format!("{}: {value}\r\n", part.header())).collect();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{identity}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let expected = self.expect(user, shard, asked, body.len(), max_tokens);
        let head = request(head.as_bytes(), &HeadLimits { head_bytes: 4096, headers: 32 }).unwrap();
        let plan = if self.governing { self.governed } else { self.free };
        let mut record = Record::new(plan, at(self.now), 1);
        let SimulatedShard { governor, cache, accounting, .. } = &mut self.shards[shard];
        let learned = accounting.learned();
        let setting = Setting { plan, learned: &learned, now: at(self.now), draw: 0 };
        let judge = Judge { setting, governor, cache };
        let (frame, date) = (&Frame::closing(), &Date::default());
        let layout = AnswerLayout { frame, date, out: &mut Vec::new(), spare: &mut Vec::new() };
        let request = WholeRequest { head: &head, body: body.as_bytes() };
        let decision = flow::decide(judge, request, layout, &mut record);
        drop(learned);
        self.sums.matches += expected.matches;
        match (decision, expected.verdict) {
            (Decision::Forward(outgoing), Ok(model)) => {
                let sent = String::from_utf8_lossy(&outgoing.bytes);
                assert!(sent.contains(&format!("\"model\":\"{model}\"")), "{sent}");
                let estimate = record.window_entry.as_ref().expect("it was admitted").estimate().0;
                assert_eq!(estimate, expected.estimate);
                let history = &mut self.histories[user];
                history.requests.push(self.now);
                history.pending += estimate;
                self.in_flight.push(InFlight { record, shard, user, model, estimate });
                self.assert_within_limits(user);
            }
            (Decision::Refuse(refusal), Err(policy)) => {
                assert_eq!(refusal.policy(), Some(policy));
                self.sums.refused += 1;
                let end = End { now: at(self.now), status: 403, refusal: Some(&refusal) };
                self.shards[shard].settle(record, end);
            }
            (Decision::Refuse(refusal), Ok(_)) => panic!("refused: {}", refusal.message()),
            (_, expected) => panic!("the model predicts something else: {expected:?}"),
        }
    }

    /// What the policies should decide, worked out from the history alone.
    fn expect(&self, user: usize, shard: usize, asked: &'static str, bytes: usize, max_tokens: u64) -> Expected {
        let learned = self.shards[shard].accounting.learned();
        let estimate = |model: &str| {
            let size = learned.estimate(model, bytes, Some(max_tokens));
            let price = self.governed.prices.price(model);
            price.map_or(0, |price| price.estimate(size.input_tokens, size.output_tokens).0)
        };
        let free = Expected { verdict: Ok(asked), estimate: estimate(asked), matches: 0 };
        if !self.governing {
            return free;
        }
        let (before, tokens, cost) = self.histories[user].used(self.now);
        let requests = before + 1;
        let name = USERS[user].user;
        if name == "limited" && requests > REQUESTS_MAX {
            return Expected { verdict: Err("count"), matches: 1, ..free };
        }
        let downgraded = asked == "gpt-4o" && tokens > TOKENS_MAX;
        let model = if downgraded { "gpt-4o-mini" } else { asked };
        let matches = u64::from(downgraded);
        if name == "spender" && cost + estimate(model) > BUDGET {
            return Expected { verdict: Err("budget"), estimate: 0, matches: matches + 1 };
        }
        let matches = matches + u64::from(requests > 3) + u64::from(name == "reader");
        Expected { verdict: Ok(model), estimate: estimate(model), matches }
    }

    /// Whatever the windows do, no minute may contain more than the policies allow.
    fn assert_within_limits(&self, user: usize) {
        if !self.governing {
            return;
        }
        let history = &self.histories[user];
        let recent = |then: &u64| self.now - then < 60 * SECOND;
        if USERS[user].user == "limited" {
            let requests = history.requests.iter().filter(|then| recent(then)).count() as u64;
            assert!(requests <= REQUESTS_MAX, "{requests} requests in a minute");
        }
        if USERS[user].user == "spender" {
            let cost: i64 = history.events.iter().filter(|event| recent(&event.0)).map(|event| event.2).sum();
            assert!(cost + history.pending <= BUDGET, "{cost} and {} in flight", history.pending);
        }
    }

    /// A request in flight ends, one way or another.
    fn end(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        let InFlight { mut record, shard, user, model, estimate } =
            self.in_flight.swap_remove(self.seeded.below(self.in_flight.len()));
        let plan = record.plan;
        let history = &mut self.histories[user];
        history.pending -= estimate;
        if self.seeded.below(5) == 0 {
            let refusal = Refusal::UpstreamTimeout { provider: "big".into() };
            self.shards[shard].settle(record, End { now: at(self.now), status: 504, refusal: Some(&refusal) });
            self.sums.failed += 1;
            return;
        }
        let (input, output) = (1 + self.seeded.next() % 300, self.seeded.next() % 400);
        let usage = Usage { input, output, total: input + output, ..Usage::default() };
        record.set_usage(usage);
        let cost = plan.prices.price(model).map_or(MicroUsd(0), |price| price.cost(&usage));
        self.shards[shard].settle(record, End { now: at(self.now), status: 200, refusal: None });
        history.events.push((self.now, usage.total, cost.0));
        self.sums.answered += 1;
        self.sums.tokens += usage.total;
        self.sums.cost += cost.0;
    }

    /// What all shards counted.
    fn counted(&self) -> Sums {
        let mut total = Tally::default();
        self.shards.iter().for_each(|shard| total.merge(&shard.accounting.take_tally(Evictions::default(), 0)));
        let of_status = |status: u16| total.requests.iter().filter(|it| it.0.2 == status).map(|it| it.1).sum();
        Sums {
            answered: of_status(200),
            refused: of_status(403),
            failed: of_status(504),
            tokens: total.by_model.values().map(|cell| cell.usage.total).sum(),
            cost: total.by_model.values().map(|cell| cell.cost.0).sum(),
            matches: total.policy_matches.values().sum(),
        }
    }
}

/// What the model predicts for a request.
struct Expected {
    /// The effective model, or the policy that blocks.
    verdict: Result<&'static str, &'static str>,
    estimate: i64,
    matches: u64,
}

#[test]
fn judging_agrees_with_a_naive_model_and_enforces_every_limit() {
    let mut seen = Sums::default();
    for (seed, shards) in [(1, 1), (2, 2), (3, 3), (4, 8)] {
        let mut simulation = Simulation::new(seed, shards);
        for _ in 0..6_000 {
            simulation.step();
        }
        while !simulation.in_flight.is_empty() {
            simulation.end();
        }
        assert_eq!(simulation.counted(), simulation.sums, "seed {seed}");
        for shard in &mut simulation.shards {
            shard.send(true);
            assert_eq!(shard.sent, shard.traced, "seed {seed}");
        }
        // Once the window has slid on, ended requests no longer count.
        simulation.now += 2 * BUCKETS as u64 * PERIOD_NS;
        for who in USERS {
            let entry = simulation.shards[0].governor.windows.enter(who, at(simulation.now), MicroUsd(0));
            let totals = entry.totals(at(simulation.now));
            assert_eq!((totals.requests, totals.tokens, totals.cost), (1, 0, MicroUsd(0)));
        }
        let sums = simulation.sums;
        seen.refused += sums.refused;
        seen.failed += sums.failed;
        seen.answered += sums.answered;
    }
    assert!(
        seen.refused > 500 && seen.failed > 500 && seen.answered > 2_000,
        "the simulation hardly tested anything: {seen:?}"
    );
}

//! Measures what policies cost: counting a request in its user's window, reading the window, judging three policies
//! that read it. Also measures how long a shard takes to adopt a plan with a hundred policies. Prints nanoseconds and
//! asserts nothing.
//!
//! Run with `cargo bench --bench policy`. For instruction counts, run the binary that it names under
//! `valgrind --tool=callgrind`.

use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use luner::clock::{Clock, Now};
use luner::config;
use luner::plan::{Plan, PlanInputs};
use luner::policy::{Action, Compiled, Downgrades, Evaluator, Inputs, Mode, Policy, Repriced};
use luner::pricing::Prices;
use luner::shared::Shared;
use luner::units::MicroUsd;
use luner::usage::{LocalWindows, Registry};
use luner::who::Who;

const CONFIG: &str = "
version: v1
providers: [{ name: a, base_url: 'http://127.0.0.1:9/v1', models: [gpt-4o, gpt-4o-mini] }]
storage: { backend: none }
";
const ROUNDS: u64 = 200_000;

/// Downgrades that change nothing.
struct NoDowngrades;

impl Downgrades for NoDowngrades {
    fn target(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
    fn is_served(&self, _: &str) -> bool {
        true
    }
    fn reprice(&self, _: &str) -> Repriced<'_> {
        Repriced { provider: "a".into(), est_cost_usd: 0.0 }
    }
}

fn policy(index: usize, expression: &str) -> Policy {
    Policy {
        id: format!("pol_{index:016x}"),
        name: format!("policy {index}"),
        description: String::new(),
        expression: expression.into(),
        action: Action::Block,
        target_model: None,
        message: None,
        priority: 100,
        enabled: true,
        mode: Mode::Enforce,
        created_at: String::new(),
        updated_at: String::new(),
    }
}

/// The documented example policies that read usage.
fn three_policies() -> Compiled {
    let expressions = ["cost_usd > 10.0", "request_count > 1000000 && model == 'gpt-4o'", "tokens_used > 1000000000"];
    let policies: Vec<Policy> = expressions.iter().enumerate().map(|(at, text)| policy(at, text)).collect();
    Compiled::new(&policies).expect("they compile")
}

fn hundred_policies(seed: u64) -> Vec<Policy> {
    let text = |at: usize| format!("request_count > {} && user_id == 'u{seed}' && est_cost_usd > 0.5", at + 1_000);
    (0..100).map(|at| policy(at, &text(at))).collect()
}

fn main() {
    let clock = Clock::start();
    let time = |what: &str, rounds: u64, mut work: Box<dyn FnMut(Now) + '_>| {
        // The best of five rounds, because other programs only make a round slower.
        let best = (0..5).map(|_| {
            let started = clock.now();
            (0..rounds).for_each(|round| work(Now { mono_ns: started.mono_ns + round * 1_000, ..started }));
            clock.now().since(started).as_nanos() as f64 / rounds as f64
        });
        println!("{what:60} {:9.1} ns", best.fold(f64::INFINITY, f64::min));
    };
    let registry = Registry::new(2);
    let mut windows = LocalWindows::new(registry.clone(), 0);
    time("count in the window, settle", ROUNDS, {
        let windows = &mut windows;
        Box::new(move |now| windows.enter(Who::of_user("t", "u"), now, MicroUsd(5)).settle(now, 100, MicroUsd(5)))
    });
    let (three, none) = (three_policies(), Compiled::empty());
    let evaluator = Evaluator::new();
    for (what, compiled) in [("no policy", &none), ("three policies that read usage", &three)] {
        let (windows, evaluator) = (&mut windows, &evaluator);
        let judge = move |now: Now| {
            let entry = windows.enter(Who::of_user("t", "u"), now, MicroUsd(5));
            let used = entry.totals(now);
            let inputs = Inputs {
                model: "gpt-4o",
                who: Who::of_user("", "u"),
                request_count: used.requests as i64,
                cost_usd: used.cost.0 as f64 / 1e6,
                tokens_used: used.tokens as i64,
                now_ms: now.wall_ms,
                ..Inputs::default()
            };
            black_box(evaluator.judge(compiled, &inputs, &NoDowngrades));
            entry.settle(now, 100, MicroUsd(5));
        };
        time(&format!("count, read the window, judge {what}, settle"), ROUNDS, Box::new(judge));
    }
    time(
        "compile a hundred policies, off the shards",
        10,
        Box::new(|_| drop(black_box(Compiled::new(&hundred_policies(0))))),
    );
    adopt(&clock);
}

/// Reads the plan like a shard, once per request, while another thread publishes plans with a hundred new policies.
/// Like the coordinator, that thread keeps replaced plans until no shard holds them.
fn adopt(clock: &Clock) {
    let config = config::parse(CONFIG, "bench", &|_| None).expect("a valid config");
    let shared = Shared::new(1);
    let parts = PlanInputs {
        config: &config,
        prices: Prices::built_in(),
        policies: Arc::default(),
        created_s: 0,
        exports_spans: false,
        slots: shared.claim_slots([]),
        now: clock.now(),
    };
    let plan = Arc::new(ArcSwap::from_pointee(Plan::new(parts, None).expect("a plan")));
    const SWAPS: u64 = 200;
    let publisher = {
        let plan = plan.clone();
        thread::spawn(move || {
            let mut retired = Vec::new();
            for seed in 0..SWAPS {
                let next =
                    plan.load().with_policies(Arc::new(Compiled::new(&hundred_policies(seed)).expect("they compile")));
                retired.push(plan.swap(Arc::new(next)));
                retired.retain(|plan| Arc::strong_count(plan) > 1);
                thread::sleep(Duration::from_millis(2));
            }
        })
    };
    let evaluator = Evaluator::new();
    let mut shard = arc_swap::Cache::new(plan);
    let (mut version, mut durations) = (1, Vec::new());
    while version <= SWAPS {
        let before = clock.now();
        let plan = shard.load().clone();
        let loaded = clock.now();
        if plan.version != version {
            version = plan.version;
            black_box(evaluator.judge(&plan.policies, &Inputs::default(), &NoDowngrades));
            let judged = clock.now();
            durations.push((loaded.since(before).as_nanos(), judged.since(loaded).as_nanos()));
        }
    }
    publisher.join().expect("the publisher ends");
    let column = |of: fn(&(u128, u128)) -> u128| {
        let mut sorted: Vec<u128> = durations.iter().map(of).collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default();
        (at(50), at(99), sorted.last().copied().unwrap_or_default())
    };
    println!("{} plans of a hundred policies adopted by a busy shard; p50, p99, max in ns:", durations.len());
    println!("  loading the new plan             {:?}", column(|duration| duration.0));
    println!("  judging all hundred, first time  {:?}", column(|duration| duration.1));
}

//! Prints how long things take and asserts nothing: `cargo test --release --lib store::tests::measure -- --ignored --nocapture`.
//! LUNER_MEASURE_TRACES sets the number of requests; the default is 200,000.

use super::sample::{Seeded, Spread, batches, just, traces};
use super::*;
use crate::clock::Clock;
use crate::coordinator::store::reader::{Filter, Reader, TimeRange};
use crate::who::{Who, WhoPart};

const WEEK_MS: u64 = 7 * 86_400_000;

/// CPU time of this thread in milliseconds. Does not depend on how busy the machine is.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

fn report(clock: Clock, what: &str, mut work: impl FnMut() -> String) {
    let took = |work: &mut dyn FnMut() -> String| {
        let from = clock.now();
        let said = work();
        (clock.now().since(from).as_secs_f64() * 1e3, said)
    };
    let (first, said) = took(&mut work);
    let mut times: Vec<f64> = (0..5).map(|_| took(&mut work).0).collect();
    times.sort_by(f64::total_cmp);
    let cpu = cpu_ms();
    work();
    println!("{what:<40} {:>8.2} ms, cpu {:>8.2} ms, first {first:>8.2} ms   {said}", times[2], cpu_ms() - cpu);
}

#[test]
#[ignore = "prints times, checks nothing"]
fn writing_reading_and_pruning() {
    let n = std::env::var("LUNER_MEASURE_TRACES").map_or(200_000, |n| n.parse().unwrap());
    let clock = Clock::start();
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: NOW_MS, ms: WEEK_MS, users: 300, joins_one_in: 4 };
    let batches = batches(traces(&mut Seeded(1), spread, n), 5_000);
    let (from, cpu) = (clock.now(), cpu_ms());
    let mut slowest = 0.0_f64;
    for batch in &batches {
        let from = clock.now();
        store.record(std::slice::from_ref(batch), NOW_MS).unwrap();
        slowest = slowest.max(clock.now().since(from).as_secs_f64());
    }
    let took = clock.now().since(from).as_secs_f64();
    let bytes = fs::metadata(&path).unwrap().len();
    println!(
        "{n} requests over a week: {took:.2} s, {:.0}/s, {:.0} a second of CPU, slowest batch of 5,000 {:.0} ms, file {} MB",
        n as f64 / took,
        n as f64 * 1e3 / (cpu_ms() - cpu),
        slowest * 1e3,
        bytes >> 20
    );
    now_in_one_minute(clock, n);
    for table in [
        "name",
        "trace",
        "trace_id",
        "trace_also",
        "request",
        "request_trace",
        "request_request_id",
        "usage_minute",
        "total_minute",
        "usage_hour",
    ] {
        let bytes: i64 = store
            .connection
            .query_row("SELECT sum(pgsize) FROM dbstat WHERE name = ?1", [table], |row| row.get(0))
            .unwrap();
        println!("  {table:<20} {:>7} KB", bytes >> 10);
    }
    reads(clock, &path);
    prunes(clock, &mut store);
}

/// Records all requests within seconds, as under load.
fn now_in_one_minute(clock: Clock, n: u64) {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: NOW_MS, ms: 10_000, users: 300, joins_one_in: 4 };
    let mut all = traces(&mut Seeded(2), spread, n);
    for trace in &mut all {
        // Each user always comes with the same other names, each model with the same provider.
        let user = trace.who.user.clone();
        let digit = user.bytes().last().unwrap_or_default();
        trace.who = Who::from_fn(|part| match part {
            WhoPart::Tenant => if digit.is_multiple_of(2) { "acme" } else { "globex" }.into(),
            WhoPart::User => user.clone(),
            WhoPart::Agent => if digit.is_multiple_of(3) { "planner" } else { "coder" }.into(),
        });
        trace.provider = if trace.model.starts_with("gpt") { "openai-prod" } else { "local" }.into();
    }
    let batches = batches(all, 5_000);
    let (from, cpu) = (clock.now(), cpu_ms());
    for batch in &batches {
        store.record(std::slice::from_ref(batch), NOW_MS).unwrap();
    }
    let (took, cpu) = (clock.now().since(from).as_secs_f64(), cpu_ms() - cpu);
    println!("{n} requests in ten seconds: {:.0}/s, {:.0} a second of CPU", n as f64 / took, n as f64 * 1e3 / cpu);
}

fn reads(clock: Clock, path: &Path) {
    let reader = Reader::open(path, clock).unwrap();
    let all = TimeRange { from_ms: NOW_MS, to_ms: NOW_MS + WEEK_MS + 60_000 };
    let some = |text: &str| Some(text.to_owned());
    let none = Filter::default();
    let filters = [
        ("no filter", none.clone()),
        ("a day", Filter { from_ms: Some(NOW_MS + 86_400_000), to_ms: Some(NOW_MS + 2 * 86_400_000), ..none.clone() }),
        ("a user", Filter { who: just(WhoPart::User, "user-17"), ..none.clone() }),
        ("an agent", Filter { who: just(WhoPart::Agent, "coder"), ..none.clone() }),
        ("a model", Filter { model: some("gpt-4o"), ..none.clone() }),
        ("errors", Filter { status: Some("error".parse().unwrap()), ..none.clone() }),
        ("5xx", Filter { status: Some("5xx".parse().unwrap()), ..none.clone() }),
        ("429", Filter { status: Some("429".parse().unwrap()), ..none.clone() }),
        ("dear", Filter { min_cost: Some(crate::units::MicroUsd(20_000)), ..none.clone() }),
        (
            "user, agent, model, ok, slow",
            Filter {
                who: Who { agent: some("coder"), ..just(WhoPart::User, "user-17") },
                model: some("gpt-4o"),
                status: Some("ok".parse().unwrap()),
                min_ms: Some(1_000),
                ..none.clone()
            },
        ),
        ("q of a user", Filter { q: some("user-17"), ..none.clone() }),
        ("q of an error", Filter { q: some("status 500"), ..none.clone() }),
        ("q of every user", Filter { q: some("user"), ..none.clone() }),
        ("q of an id", Filter { q: some("4bf9"), ..none.clone() }),
        ("q of nothing", Filter { q: some("nobody of this name"), ..none.clone() }),
    ];
    for (what, filter) in filters {
        report(clock, &format!("traces: {what}"), || {
            let page = reader.traces(&filter, Paging { page: 1, page_size: 50 }).unwrap();
            format!("total {}", page.total)
        });
    }
    report(clock, "traces: page 1,000, no filter", || {
        let page = reader.traces(&Filter::default(), Paging { page: 1000, page_size: 100 }).unwrap();
        format!("{} items", page.items.len())
    });
    report(clock, "summary of the week", || format!("{:?}", reader.summary(all).unwrap().p95_ms));
    report(clock, "series of the week by hour", || format!("{}", reader.series(all, 3_600_000).unwrap().len()));
    for by in Dimension::ALL {
        report(clock, &format!("cost by {}", by.name()), || format!("{}", reader.cost(by, all, 100).unwrap().len()));
    }
    report(clock, "policy matches by hour", || format!("{}", reader.matches_over_time(all, 3_600_000).unwrap().len()));
    report(clock, "last 1,000 requests", || format!("{}", reader.newest_requests(1_000).unwrap().len()));
    let page = reader.traces(&Filter::default(), Paging { page: 100, page_size: 1 }).unwrap();
    let id = page.items[0].trace_id;
    report(clock, "one trace", || format!("{}", reader.trace(id).unwrap().unwrap().requests.len()));
    let filter = Filter { who: just(WhoPart::Agent, "coder"), ..Filter::default() };
    report(clock, "neighbours", || format!("{}", reader.neighbours(&filter, id).unwrap().newer.is_some()));
}

fn prunes(clock: Clock, store: &mut Store) {
    let later = NOW_MS + 12 * 86_400_000;
    let rules = Retention { trace_days: 8, bytes_max: u64::MAX, usage_days: USAGE_DAYS };
    let mut steps = Vec::new();
    loop {
        let (from, cpu) = (clock.now(), cpu_ms());
        let pruned = store.prune(&rules, later).unwrap();
        let wall = clock.now().since(from).as_secs_f64() * 1e3;
        steps.push((pruned, wall, cpu_ms() - cpu));
        if !pruned.more {
            break;
        }
    }
    for (what, of_pages) in [("rows", false), ("pages", true)] {
        let of = steps.iter().filter(|(pruned, ..)| (pruned.pages > 0) == of_pages);
        let (mut walls, mut count, mut cpu) = (Vec::new(), 0, 0.0);
        for (pruned, wall, step_cpu) in of {
            walls.push(*wall);
            count += pruned.rows + pruned.pages;
            cpu += step_cpu;
        }
        walls.sort_by(f64::total_cmp);
        let at = |share: usize| walls.get(walls.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
        println!(
            "prune {what}: {count} in {} steps of {:.2} ms of CPU; p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms",
            walls.len(),
            cpu / walls.len() as f64,
            at(50),
            at(99),
            at(100)
        );
    }
}

#[test]
#[ignore = "prints times, checks nothing"]
fn flushes_beside_checkpoints() {
    for helped in [false, true] {
        let clock = Clock::start();
        let (_folder, path) = folder();
        let mut store = open(&path);
        let checkpoints = helped.then(|| Checkpoints::start(&store).unwrap());
        let spread = Spread { from_ms: NOW_MS, ms: WEEK_MS, users: 300, joins_one_in: 4 };
        let mut times = Vec::new();
        for batch in batches(traces(&mut Seeded(1), spread, 200_000), 1_024) {
            let from = clock.now();
            store.record(std::slice::from_ref(&batch), NOW_MS).unwrap();
            times.push(clock.now().since(from).as_secs_f64() * 1e3);
            checkpoints.as_ref().map(Checkpoints::wake);
        }
        let wal = fs::metadata(files::beside(&path, "-wal")).unwrap().len() >> 20;
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "flushes of 1,024, helped {helped}: p50 {:.1} ms, p95 {:.1} ms, slowest {:.1} ms, -wal {wal} MB",
            at(0.5),
            at(0.95),
            at(1.0)
        );
    }
}

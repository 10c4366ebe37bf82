//! Measures what a rate limit costs a request, on one core and with all cores using the same atomic word. For
//! comparison, it measures the cheapest possible lease. Run with `cargo bench --bench limit`. Prints the median of
//! several rounds, because in the best round of several threads they hardly contend.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use luner::breaker::{Breaker, BreakerRules, CallResult};
use luner::clock::Now;
use luner::limit::{Ceiling, Limit};

/// Arbitrary, but odd, so that the median is one of the rounds.
const ROUNDS: usize = 15;
const REPEAT: u64 = 1_000_000;

/// Runs `run` [`REPEAT`] times on each thread and prints the median duration of one run.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn time<S: Sync>(name: &str, threads: u64, setup: impl Fn() -> S, run: impl Fn(&S, u64) + Sync) {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (state, start) = (setup(), Barrier::new(threads as usize));
        let elapsed = |thread: u64| {
            start.wait();
            let started = Instant::now();
            (0..REPEAT).for_each(|n| run(&state, n * threads + thread));
            started.elapsed()
        };
        let slowest = std::thread::scope(|scope| {
            let elapsed = &elapsed;
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || elapsed(thread))).collect();
            running.into_iter().map(|thread| thread.join().expect("the thread ends")).max().expect("a thread")
        });
        rounds.push(slowest);
    }
    rounds.sort_unstable();
    let median = rounds[ROUNDS / 2].as_nanos() as f64 / REPEAT as f64;
    println!("{name:<44} {threads:>2} threads {median:>8.1} ns");
}

fn at(mono_ns: u64) -> Now {
    Now { mono_ns, wall_ms: 0 }
}

fn flow(qps: f64, burst: u32) -> Limit {
    Limit::new(Ceiling::Flow { qps, burst }, at(0))
}

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    for threads in [1, cores] {
        let wide = || flow(1e6, 1_000_000);
        // A microsecond passes between requests, so that all are charged: a million a second per thread.
        time("charged", threads, wide, |limit, n| _ = black_box(limit.charge(at(n * 1_000))));
        time("charged and given back", threads, wide, |limit, n| {
            if let Ok(charge) = limit.charge(at(n * 1_000)) {
                charge.give_back(at(n * 1_000));
            }
        });
        let spent = || {
            let limit = flow(0.001, 1);
            _ = limit.charge(at(0));
            limit
        };
        time("refused", threads, spent, |limit, _| _ = black_box(limit.charge(black_box(at(1)))));
        // A hundred times more requests arrive than the limit allows.
        let narrow = || flow(1e6, 1);
        time("refused, 1 in 100 charged", threads, narrow, |limit, n| _ = black_box(limit.charge(at(n * 10))));
    }
    // The cheapest possible lease: a counter of the shard, and a comparison with the clock, because leases expire.
    time("a counter of the shard's own", 1, AtomicU64::default, |count, n| {
        count.store(count.load(Ordering::Relaxed) + u64::from(black_box(n) < REPEAT), Ordering::Relaxed);
    });
    let rules = BreakerRules::default();
    time("breaker: asked, then told of a success", cores, Breaker::default, |breaker, n| {
        let permit = breaker.ask(&rules, at(n)).expect("closed");
        permit.end(CallResult::Success, at(n), 0);
    });
}

//! Tests the queue against a real file; a lock held by another connection causes the faults.

use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::super::sample::{STARTED_MS, batch, trace};
use super::*;
use crate::link::trace::{CacheOutcome, Captured};
use crate::units::MicroUsd;

struct Rig {
    _folder: Option<tempfile::TempDir>,
    path: PathBuf,
    store: Store,
    queue: WriteQueue,
    /// Milliseconds on the monotonic clock.
    at_ms: u64,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("luner.db");
        Rig { _folder: Some(folder), ..Rig::at(&path) }
    }

    fn at(path: &Path) -> Rig {
        let store = Store::open(path, STARTED_MS).unwrap();
        Rig { _folder: None, path: path.to_owned(), store, queue: WriteQueue::default(), at_ms: 0 }
    }

    fn take(&mut self, batch: UsageBatch) {
        let refused = self.store.fault().is_some();
        self.queue.push(batch, refused);
    }

    /// Flushes one flush window later.
    fn flush(&mut self) -> bool {
        self.at_ms += FLUSH_MS;
        let now = Now { mono_ns: self.at_ms * 1_000_000, wall_ms: STARTED_MS + self.at_ms };
        self.queue.flush(&mut self.store, now)
    }

    fn lock(&self) -> Connection {
        let other = self.other();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    fn other(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    fn one(&self, sql: &str) -> u64 {
        self.other().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Returns the number of requests, their cost and the number of traces in the file.
    fn stored(&self) -> (u64, u64, u64) {
        let requests = self.one("SELECT ifnull(sum(requests), 0) FROM usage_minute");
        assert_eq!(requests, self.one("SELECT ifnull(sum(requests), 0) FROM total_minute"));
        let cost = self.one("SELECT ifnull(sum(cost), 0) FROM usage_minute");
        (requests, cost, self.one("SELECT count(*) FROM request"))
    }
}

fn traces(numbers: std::ops::Range<u64>) -> Vec<Trace> {
    numbers.map(trace).collect()
}

fn hit(number: u64) -> Trace {
    Trace { cache: CacheOutcome::Hit, cost: MicroUsd(0), saved: MicroUsd(34), ..trace(number) }
}

#[test]
fn reports_gather_for_a_window_and_are_written_together() {
    let mut rig = Rig::new();
    assert!(!rig.flush(), "there is nothing to write");
    rig.take(batch(1, traces(1..4)));
    rig.take(batch(2, traces(4..6)));
    assert_eq!(rig.queue.pending(), 5);
    let early = Now { mono_ns: (rig.at_ms + FLUSH_MS - 1) * 1_000_000, wall_ms: STARTED_MS };
    rig.queue.flushed_ms = rig.at_ms;
    assert!(!rig.queue.flush(&mut rig.store, early));
    assert!(rig.flush());
    assert_eq!(rig.stored(), (5, 5 * 34, 5));
    assert_eq!((rig.queue.pending(), rig.queue.load), (0, Load::default()));
    assert_eq!(rig.queue.dropped(), Dropped::default());
}

#[test]
fn many_traces_skip_the_window_and_take_several_transactions() {
    let mut rig = Rig::new();
    for n in 0..4 {
        rig.take(batch(n + 1, traces(n * 500..n * 500 + 500)));
    }
    let at_once = Now { mono_ns: 0, wall_ms: STARTED_MS };
    assert!(rig.queue.flush(&mut rig.store, at_once));
    assert_eq!(rig.stored().2, 1_500, "whole batches, up to the first that reaches the number");
    assert!(!rig.queue.flush(&mut rig.store, at_once), "the rest waits for its window");
    assert!(rig.flush());
    assert_eq!(rig.stored(), (2_000, 2_000 * 34, 2_000));
}

#[test]
fn reports_delayed_by_a_lock_are_written_after_its_release() {
    let mut rig = Rig::new();
    let lock = rig.lock();
    rig.take(batch(1, traces(0..3)));
    assert!(!rig.flush());
    assert_eq!(rig.store.fault(), Some(StoreFault::Busy));
    // Far more batches than are kept apart.
    let batches = 3 * BATCHES_MAX as u64;
    for n in 0..batches {
        rig.take(batch(n + 2, traces(n + 3..n + 4)));
        assert!(!rig.flush(), "the store is left alone until its check has found it whole");
    }
    assert!(rig.queue.queue.len() <= BATCHES_MAX);
    assert_eq!(rig.queue.pending(), batches + 3);
    lock.execute_batch("ROLLBACK").unwrap();
    rig.store.check();
    while rig.flush() {}
    assert_eq!(rig.stored(), (batches + 3, (batches + 3) * 34, batches + 3));
    assert_eq!((rig.queue.pending(), rig.queue.dropped()), (0, Dropped::default()));
}

#[test]
fn commit_that_reported_failure_but_succeeded_is_not_counted_twice() {
    let mut rig = Rig::new();
    let first = batch(1, traces(0..3));
    // Simulates a disk that fails to report success: the batch is in the file, and the queue does not know.
    rig.store.record(std::slice::from_ref(&first), STARTED_MS).unwrap();
    let lock = rig.lock();
    rig.take(first);
    assert!(!rig.flush());
    for n in 0..2 * BATCHES_MAX as u64 {
        rig.take(batch(n + 2, Vec::new()));
    }
    rig.take(batch(10_000, traces(3..5)));
    lock.execute_batch("ROLLBACK").unwrap();
    rig.store.check();
    while rig.flush() {}
    assert_eq!(rig.stored(), (5, 5 * 34, 5));
}

#[test]
fn sums_stay_exact_in_any_order_of_events() {
    let mut seed = 5_u64;
    let mut below = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % bound
    };
    let mut rig = Rig::new();
    let (mut sent, mut lock) = (0, None);
    for sequence in 1..=600 {
        let mut more = traces(sent..sent + below(4));
        more.iter_mut().for_each(|trace| trace.who.user = format!("user-{}", below(60)).into());
        sent += more.len() as u64;
        rig.take(batch(sequence, more));
        match below(12) {
            0 if lock.is_none() => lock = Some(rig.lock()),
            1 => lock = None,
            2 => _ = rig.store.check(),
            3..6 => _ = rig.flush(),
            _ => {}
        }
        assert_eq!(rig.queue.pending() + rig.stored().0, sent);
    }
    drop(lock);
    rig.store.check();
    let now = Now { mono_ns: 0, wall_ms: STARTED_MS };
    assert!(rig.queue.flush_all(&mut rig.store, now));
    assert_eq!(rig.stored(), (sent, sent * 34, sent));
}

#[test]
fn hits_are_dropped_first_and_errors_last() {
    let mut rig = Rig::new();
    let per_batch = TRACES_MAX as u64 / 4;
    let error = |number| Trace { status: 502, ..trace(number) };
    rig.take(batch(1, (0..per_batch).map(error).collect()));
    rig.take(batch(2, (0..per_batch).map(hit).collect()));
    rig.take(batch(3, (0..per_batch).map(trace).collect()));
    rig.take(batch(4, (0..per_batch).map(hit).collect()));
    assert_eq!(rig.queue.dropped(), Dropped::default());
    let of = |rig: &Rig, importance: Importance| {
        let traces = rig.queue.queue.iter().flat_map(|batch| &batch.traces);
        traces.filter(|trace| trace.importance() == importance).count() as u64
    };
    rig.take(batch(5, vec![trace(1)]));
    let hits = of(&rig, Importance::Hit);
    assert!(hits < 2 * per_batch, "{hits}");
    assert_eq!((of(&rig, Importance::Plain), of(&rig, Importance::Kept)), (per_batch + 1, per_batch));
    assert!(rig.queue.queue[1].traces.len() < per_batch as usize, "the oldest leave first");
    assert_eq!(rig.queue.queue[3].traces.len(), per_batch as usize);
    for n in 6..12 {
        rig.take(batch(n, (0..per_batch).map(error).collect()));
    }
    assert_eq!((of(&rig, Importance::Hit), of(&rig, Importance::Plain)), (0, 0));
    let dropped = rig.queue.dropped();
    assert_eq!((dropped.overload + rig.queue.load.traces as u64, dropped.storage), (10 * per_batch + 1, 0));
    assert!(rig.queue.load.traces <= TRACES_MAX);
    assert_eq!(rig.queue.pending(), 10 * per_batch + 1, "all of them are counted");
}

#[test]
fn captured_bodies_count_towards_the_byte_limit() {
    let mut rig = Rig::new();
    let heavy = |number| {
        let captured = Captured { request: vec![0; 1 << 20], answer: vec![0; 1 << 20], cut: false };
        Trace { captured: Some(captured), ..trace(number) }
    };
    rig.take(batch(1, (0..20).map(heavy).collect()));
    let Load { traces, bytes } = rig.queue.load;
    assert!(traces < 8 && bytes <= TRACES_BYTES_MAX, "{traces} {bytes}");
    assert_eq!(rig.queue.dropped().overload, 20 - traces as u64);
}

#[test]
fn merged_totals_become_coarser_and_stay_exact() {
    let mut totals = UsageTotals::default();
    let (mut cost, requests) = (0, 6_000);
    for number in 0..requests {
        let mut trace = trace(number);
        trace.started_ms += number * 1_000;
        trace.who.user = format!("user-{number}").into();
        trace.model = format!("model-{}", number % 50).into();
        cost += trace.cost.0;
        totals.count(&trace);
    }
    let sums = |totals: &UsageTotals| {
        let counts = totals.usage.values();
        let latencies: u64 = totals.latency.values().map(|latency| latency.requests()).sum();
        (
            counts.clone().map(|count| count.requests).sum::<u64>(),
            counts.map(|count| count.cost.0).sum::<i64>(),
            latencies,
        )
    };
    let whole = totals.clone();
    coarse::bound(&mut totals, 10_000);
    assert_eq!(totals, whole, "what fits is left as it is");
    for (keys_max, left) in [(6_000, 2), (1_000, 200), (150, 4)] {
        let mut bounded = whole.clone();
        coarse::bound(&mut bounded, keys_max);
        assert!(coarse::keys(&bounded) <= keys_max, "{keys_max}");
        assert!(coarse::keys(&bounded) >= left, "no coarser than needed: {keys_max}");
        assert_eq!(sums(&bounded), (requests, cost, requests));
    }
}

#[test]
fn queue_is_dropped_and_counted_when_there_is_no_store() {
    let mut rig = Rig::new();
    rig.take(batch(1, traces(0..3)));
    rig.queue.give_up();
    assert_eq!((rig.queue.pending(), rig.queue.dropped().storage), (0, 3));
    assert!(!rig.flush());
}

#[test]
fn last_flush_gives_up_when_the_file_is_gone() {
    let mut rig = Rig::new();
    rig.take(batch(1, traces(0..3)));
    std::fs::remove_file(&rig.path).unwrap();
    let now = Now { mono_ns: 0, wall_ms: STARTED_MS };
    assert!(!rig.queue.flush_all(&mut rig.store, now));
    assert_eq!(rig.queue.pending(), 3);
}

/// Environment variable that tells this test binary that a test started it; holds the folder to work in.
const CHILD: &str = "LUNER_RECORDER_CHILD";

/// Mounts its own filesystem and runs the rest of the test there, in another process.
#[test]
fn a_full_disk_costs_traces_and_no_accounts() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return fill_the_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=3m none \"$1\" || { echo no mounts here; exit 0; }; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", mount, "sh"]).arg(folder.path()).arg(std::env::current_exe().unwrap());
    let module = module_path!().split_once("::").expect("a test stands in a module").1;
    command.args([&format!("{module}::a_full_disk_costs_traces_and_no_accounts"), "--exact", "--test-threads=1"]);
    let output = command.env(CHILD, folder.path()).output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no unshare");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    if said.contains("no mounts here") || told.contains("unshare failed") {
        eprintln!("skipped: nothing may be mounted here: {told}");
        return;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}{told}");
}

fn fill_the_disk(folder: &Path) {
    let filler = folder.join("filler");
    std::fs::write(&filler, vec![7; 2 << 20]).unwrap();
    let mut rig = Rig::at(&folder.join("luner.db"));
    let (mut sent, mut sequence) = (0, 0);
    let mut take = |rig: &mut Rig| {
        sequence += 1;
        rig.take(batch(sequence, traces(sent..sent + 500)));
        sent += 500;
    };
    while rig.store.fault().is_none() {
        take(&mut rig);
        rig.flush();
    }
    assert_eq!(rig.store.fault(), Some(StoreFault::Full));
    for _ in 0..40 {
        take(&mut rig);
        rig.store.check();
        rig.flush();
    }
    let dropped = rig.queue.dropped();
    assert!(dropped.storage > 0 && rig.queue.load.traces <= TRACES_MAX, "{dropped:?}");
    assert_eq!(rig.queue.pending() + rig.stored().0, sent);

    std::fs::remove_file(&filler).unwrap();
    rig.store.check();
    assert_eq!(rig.store.fault(), None, "it recovers by itself");
    rig.flush();
    assert!(rig.stored().0 > 0);
    let now = Now { mono_ns: 0, wall_ms: STARTED_MS };
    rig.queue.flush_all(&mut rig.store, now);
    let (requests, cost, traces) = rig.stored();
    assert_eq!((requests, cost, rig.queue.pending()), (sent, sent * 34, 0), "to the micro-dollar");
    let Dropped { overload, storage } = rig.queue.dropped();
    assert_eq!(traces + overload + storage, sent, "each trace is stored or counted");
}

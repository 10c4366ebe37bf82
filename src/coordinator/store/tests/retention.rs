//! What the retention removes, in which order and in how small steps, and what stays.

use super::record::reader;
use super::sample::{Seeded, Spread, batches, just, traces};
use super::*;
use crate::coordinator::store::reader::{Filter, TimeRange};
use crate::coordinator::store::rollup::STEP_ROWS_MAX;
use crate::link::trace::{Captured, Trace};
use crate::link::usage::UsageBatch;
use crate::who::{Who, WhoPart};

const DAY_MS: u64 = 86_400_000;
const WEEK: Retention = Retention { trace_days: 7, bytes_max: u64::MAX, usage_days: USAGE_DAYS };
const ALL: TimeRange = TimeRange { from_ms: 0, to_ms: u64::MAX };

/// Prunes until nothing is left to do, and returns the sum of all steps. No step may be too large.
fn prune(store: &mut Store, retention: &Retention, now_ms: u64) -> Pruned {
    let mut sum = Pruned::default();
    for _ in 0..100_000 {
        let step = store.prune(retention, now_ms).unwrap();
        // A trace has a row besides those of its requests, and usage is in several tables.
        assert!(step.rows <= 4 * STEP_ROWS_MAX as u64, "{step:?}");
        sum.rows += step.rows;
        sum.pages += step.pages;
        if !step.more {
            return sum;
        }
    }
    panic!("pruning does not end");
}

fn rows(store: &Store, table: &str) -> u64 {
    store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Records a request every 20 minutes over `days`.
fn over_days(store: &mut Store, days: u64) -> Vec<Trace> {
    let spread = Spread { from_ms: NOW_MS, ms: days * DAY_MS, users: 10, joins_one_in: 3 };
    let all = traces(&mut Seeded(9), spread, days * 72);
    store.record(&batches(all.clone(), 500), NOW_MS).unwrap();
    all
}

#[test]
fn old_traces_are_removed_and_usage_stays() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let all = over_days(&mut store, 20);
    let now_ms = NOW_MS + 20 * DAY_MS;
    let before = reader(&path).summary(ALL).unwrap();
    prune(&mut store, &WEEK, now_ms);
    let reader = reader(&path);
    let page = reader.traces(&Filter::default(), Paging { page: 1, page_size: 1 }).unwrap();
    let oldest = reader.traces(&Filter::default(), Paging { page: page.total as u32, page_size: 1 }).unwrap();
    let earliest = oldest.items[0].started_ms;
    assert!((13 * DAY_MS - 5_000..13 * DAY_MS + 3_600_000).contains(&(earliest - NOW_MS)), "{earliest}");
    assert_eq!(rows(&store, "request"), page_requests(&store), "requests and traces are removed together");
    assert!(rows(&store, "request") < all.len() as u64 / 2);
    let orphans = "trace_also WHERE trace NOT IN (SELECT key FROM trace)";
    assert_eq!(rows(&store, orphans), 0);
    assert_eq!(rows(&store, "capture WHERE request NOT IN (SELECT key FROM request)"), 0);
    let after = reader.summary(ALL).unwrap();
    assert_eq!((after.total_requests, after.total_tokens), (before.total_requests, before.total_tokens));
    assert_eq!(prune(&mut store, &WEEK, now_ms), Pruned::default(), "nothing is left to do");
    let synchronous: u32 = store.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2, "changes of policies wait for the disk again");
}

fn page_requests(store: &Store) -> u64 {
    store.connection.query_row("SELECT sum(requests) FROM trace", [], |row| row.get(0)).unwrap()
}

#[test]
fn rolling_minutes_up_changes_no_sum() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: NOW_MS, ms: 2 * DAY_MS, users: 2, joins_one_in: 0 };
    let all = traces(&mut Seeded(3), spread, 3_000);
    let mut flushes = batches(all, 500);
    let late = [flushes.remove(1)];
    store.record(&flushes, NOW_MS).unwrap();
    let keep = Retention { trace_days: 1_000, ..WEEK };
    prune(&mut store, &keep, NOW_MS + 9 * DAY_MS + DAY_MS / 2);
    // A late batch is added to the hours.
    store.record(&late, NOW_MS).unwrap();
    let fine = (NOW_MS + DAY_MS + DAY_MS / 2) / 60_000;
    let minutes = format!("usage_minute WHERE minute % 60 <> 0 AND minute < {}", fine - fine % 60);
    assert_eq!(rows(&store, &minutes), 0);
    assert!(rows(&store, "usage_minute WHERE minute % 60 <> 0") > 0, "young minutes stay");
    let select = "SELECT sum(requests), sum(total), sum(cost), sum(duration_us) FROM";
    let sums = |store: &Store, table: &str| -> [i64; 4] {
        let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
        store.connection.query_row(&format!("{select} {table}"), [], row).unwrap()
    };
    assert_eq!(sums(&store, "usage_minute"), sums(&store, "total_minute"));
    let before = reader(&path).cost(Dimension::Model, ALL, 10).unwrap();
    prune(&mut store, &keep, NOW_MS + 30 * DAY_MS);
    assert_eq!(rows(&store, "usage_minute WHERE minute % 60 <> 0"), 0);
    assert_eq!(sums(&store, "usage_minute"), sums(&store, "total_minute"));
    assert_eq!(reader(&path).cost(Dimension::Model, ALL, 10).unwrap(), before);
}

#[test]
fn old_usage_is_removed_with_its_names() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    over_days(&mut store, 3);
    let recent =
        Trace { started_ms: NOW_MS + 600 * DAY_MS, who: Who::of_user("", "someone new").to_owned(), ..sample(9) };
    store.record(&[UsageBatch { boot: 8, ..batches(vec![recent], 1).remove(0) }], NOW_MS).unwrap();
    let now_ms = NOW_MS + 601 * DAY_MS;
    prune(&mut store, &WEEK, now_ms);
    for table in ["usage_minute", "total_minute", "trace", "request"] {
        assert_eq!(rows(&store, table), 1, "{table}");
    }
    assert_eq!(rows(&store, "usage_hour"), 5);
    let names: Vec<String> = {
        let mut statement =
            store.connection.prepare("SELECT text FROM name WHERE text LIKE 'user-%' OR text = 'someone new'").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!(names, ["someone new"]);
    // A name that was removed gets an id again.
    let back = Trace { started_ms: now_ms, who: Who::of_user("", "user-1").to_owned(), ..sample(10) };
    store.record(&[UsageBatch { boot: 8, sequence: 2, ..batches(vec![back], 1).remove(0) }], NOW_MS).unwrap();
    let filter = Filter { who: just(WhoPart::User, "user-1"), ..Filter::default() };
    assert_eq!(reader(&path).traces(&filter, Paging { page: 1, page_size: 1 }).unwrap().total, 1);
}

fn sample(id: u128) -> Trace {
    let spread = Spread { from_ms: NOW_MS, ms: 1, users: 1, joins_one_in: 0 };
    Trace { trace_id: id, matches: Vec::new(), ..traces(&mut Seeded(1), spread, 1).remove(0) }
}

#[test]
fn oldest_traces_are_removed_when_the_file_is_too_large() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let body = Captured { request: vec![b'x'; 20_000], answer: vec![b'y'; 20_000], cut: false };
    let all: Vec<Trace> = (1..=1_500)
        .map(|id| Trace { started_ms: NOW_MS + id as u64 * 1_000, captured: Some(body.clone()), ..sample(id) })
        .collect();
    store.record(&batches(all, 300), NOW_MS).unwrap();
    let bytes = |store: &Store| {
        store.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        fs::metadata(&path).unwrap().len()
    };
    let before = bytes(&store);
    let bytes_max = before * 4 / 5;
    let pruned = prune(&mut store, &Retention { bytes_max, ..WEEK }, NOW_MS + DAY_MS);
    let after = bytes(&store);
    assert!(after <= bytes_max, "{after} of {bytes_max}, {before} before");
    assert!(pruned.pages > 0);
    let page = reader(&path).traces(&Filter::default(), Paging { page: 1, page_size: 1 }).unwrap();
    assert_eq!(page.items[0].trace_id, 1_500, "the newest stay");
    assert!((1_000..1_300).contains(&page.total), "{}", page.total);
    assert_eq!(rows(&store, "capture"), page.total);
    assert_eq!(reader(&path).summary(ALL).unwrap().total_requests, 1_500);

    prune(&mut store, &Retention { bytes_max: 1, ..WEEK }, NOW_MS + DAY_MS);
    assert_eq!(rows(&store, "trace"), 1_000, "a bound that is too small does not empty the store");
    assert_eq!(reader(&path).summary(ALL).unwrap().total_requests, 1_500);
    assert_eq!(store.check(), StoreHealth::Ok);
}

#[test]
fn large_trace_is_removed_in_steps() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let many: Vec<Trace> = (0..3 * STEP_ROWS_MAX as u64)
        .map(|at| Trace {
            span_id: at,
            who: Who::of_user("", &format!("user-{at}")).to_owned(),
            started_ms: NOW_MS + at,
            ..sample(1)
        })
        .collect();
    store.record(&batches(many, 1_000), NOW_MS).unwrap();
    let step = store.prune(&WEEK, NOW_MS + 30 * DAY_MS).unwrap();
    assert!(step.more && rows(&store, "trace") == 1 && rows(&store, "request") > 0);
    prune(&mut store, &WEEK, NOW_MS + 30 * DAY_MS);
    for table in ["trace", "request", "trace_also"] {
        assert_eq!(rows(&store, table), 0, "{table}");
    }
}

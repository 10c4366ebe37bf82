//! Flushes are applied once each, whole or not at all, whatever they contain.

use super::sample::{Seeded, Spread, batches, just, traces};
use super::*;
use crate::clock::Clock;
use crate::coordinator::store::layout::NAME_BYTES_MAX;
use crate::coordinator::store::reader::{Filter, Reader, TimeRange, TraceRow};
use crate::dialect::openai::path;
use crate::link::trace::{Captured, Refused, Trace};
use crate::link::usage::UsageBatch;
use crate::who::{Who, WhoPart};

const SPREAD: Spread = Spread { from_ms: NOW_MS, ms: 3_600_000, users: 9, joins_one_in: 3 };
const ALL: TimeRange = TimeRange { from_ms: 0, to_ms: u64::MAX };

pub(super) fn reader(path: &Path) -> Reader {
    Reader::open(path, Clock::start()).unwrap()
}

fn plain(trace_id: u128) -> Trace {
    let mut trace = traces(&mut Seeded(5), SPREAD, 1).remove(0);
    trace.trace_id = trace_id;
    trace
}

fn batch(sequence: u64, traces: Vec<Trace>) -> UsageBatch {
    UsageBatch { sequence, ..batches(traces, usize::MAX).remove(0) }
}

fn list(reader: &Reader, filter: &Filter) -> Vec<TraceRow> {
    reader.traces(filter, Paging { page: 1, page_size: PAGE_SIZE_MAX }).unwrap().items
}

#[test]
fn batch_counts_once_in_any_order_and_repetition() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let batches: Vec<UsageBatch> = batches(traces(&mut Seeded(1), SPREAD, 50), 10);
    let mut applied = 0;
    for at in [2, 0, 1, 1, 2, 0, 4, 3, 4] {
        applied += store.record(&batches[at..=at], NOW_MS).unwrap().applied;
    }
    let repeated = store.record(&batches, NOW_MS).unwrap();
    assert_eq!((applied, repeated), (5, Recorded { applied: 0, replayed: 5, traces: 0 }));
    assert_eq!(reader(&path).summary(ALL).unwrap().total_requests, 50);
    let ranges = "SELECT first, last FROM flush";
    let range = store.connection.query_row(ranges, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(range, (1_i64, 5_i64), "a range without gaps is one row");
    drop(store);
    assert_eq!(open(&path).record(&batches, NOW_MS).unwrap().replayed, 5, "also after a restart");
}

#[test]
fn batches_are_numbered_per_shard_and_process() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for (boot, shard) in [(1, 0), (1, 1), (2, 0), (u128::MAX, 0)] {
        let one = UsageBatch { boot, shard, ..batch(1, vec![plain(1)]) };
        assert_eq!(store.record(&[one.clone(), one], NOW_MS).unwrap(), Recorded { applied: 1, replayed: 1, traces: 1 });
    }
    assert_eq!(reader(&path).summary(ALL).unwrap().total_requests, 4);
}

#[test]
fn recorded_requests_are_read_back() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let all = traces(&mut Seeded(3), Spread { joins_one_in: 0, ..SPREAD }, 200);
    all.chunks(70).zip(1..).for_each(|(traces, sequence)| {
        store.record(&[batch(sequence, traces.to_vec())], NOW_MS).unwrap();
    });
    let reader = reader(&path);
    for trace in &all {
        let found = reader.trace(trace.trace_id).unwrap().unwrap();
        let [row] = &found.requests[..] else { panic!("{found:?}") };
        assert_eq!((row.trace_id, row.span_id, row.parent_span_id), (trace.trace_id, trace.span_id, None));
        assert_eq!(
            (row.started_ms, row.duration_ns, row.first_byte_ns),
            (trace.started_ms, trace.duration_ns, trace.first_byte_ns)
        );
        assert_eq!(row.who.as_str(), trace.who.as_str());
        let names = [&row.provider, &row.model_asked, &row.model, &row.request_id];
        let recorded = [&trace.provider, &trace.model_asked, &trace.model, &trace.request_id];
        assert!(names.iter().zip(recorded).all(|(name, recorded)| ***name == **recorded), "{row:?}");
        assert_eq!(
            (row.endpoint.as_str(), row.status, row.cache),
            (trace.operation.map_or("", path::of), trace.status, trace.cache)
        );
        let refused = trace.refusal.as_ref();
        assert_eq!(row.code.as_deref(), refused.map(|refused| &*refused.code));
        assert_eq!(row.fault.as_deref(), refused.map(|refused| &*refused.fault));
        assert_eq!(row.error.as_deref(), refused.map(|refused| &*refused.message).or(trace.cut.as_deref()));
        assert_eq!((row.cut.as_deref(), row.marks), (trace.cut.as_deref(), trace.marks()));
        assert_eq!((row.usage, row.cost, row.saved), (trace.usage, trace.cost, trace.saved));
        assert_eq!((&row.detail.attempts, &row.detail.matches), (&trace.attempts, &trace.matches));
        assert_eq!((&row.detail.faults, &row.detail.inputs), (&trace.faults, &trace.inputs));
        assert_eq!(reader.captured(trace.trace_id, trace.span_id).unwrap(), trace.captured);
    }
    let newest: Vec<u128> = reader.newest_requests(7).unwrap().iter().map(|row| row.trace_id).collect();
    let expected: Vec<u128> = all.iter().rev().take(7).map(|trace| trace.trace_id).collect();
    assert_eq!(newest, expected);
    assert_eq!(reader.trace(42).unwrap(), None);
}

#[test]
fn requests_of_one_trace_are_summed() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut first = Trace { started_ms: NOW_MS + 1_000, duration_ns: 500_000_000, ..plain(9) };
    let mut second = Trace { started_ms: NOW_MS + 400, duration_ns: 100_000_000, status: 502, ..plain(9) };
    (first.who.agent, second.who.agent) = ("planner".into(), "coder".into());
    second.refusal = Some(Refused { code: "provider_error".into(), fault: "provider".into(), message: "broke".into() });
    let cost = first.cost.0 + second.cost.0;
    store.record(&[batch(1, vec![first]), batch(2, vec![second])], NOW_MS).unwrap();
    let reader = reader(&path);
    for agent in ["planner", "coder"] {
        let filter = Filter { who: just(WhoPart::Agent, agent), ..Filter::default() };
        let [row] = &list(&reader, &filter)[..] else { panic!() };
        assert_eq!((row.requests, row.status, row.cost.0), (2, 502, cost));
        assert_eq!((row.started_ms, row.duration_us), (NOW_MS + 400, 1_100_000));
        assert_eq!((row.who.agent.as_str(), row.error.as_deref()), ("planner", Some("broke")));
    }
    let starts: Vec<u64> = reader.trace(9).unwrap().unwrap().requests.iter().map(|row| row.started_ms).collect();
    assert_eq!(starts, [NOW_MS + 400, NOW_MS + 1_000]);
}

#[test]
fn hostile_names_are_stored_and_found_as_plain_text() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let long = "lång ".repeat(2_000);
    let names = [
        "'; DROP TABLE trace; --",
        "\"quoted\"",
        "100%",
        "50_50",
        "a\0b",
        "\u{202e}gnp.exe",
        "😀 emoji",
        "<img onerror=1>",
        "\\",
        "NULL",
        "0x41",
        "line\nbreak",
        "?1",
        ":key",
        long.as_str(),
    ];
    for (at, name) in names.into_iter().enumerate() {
        let mut trace = plain(at as u128 + 1);
        trace.who = Who::from_fn(|_| name.into());
        (trace.model_asked, trace.model) = (name.into(), name.into());
        (trace.provider, trace.request_id) = (name.into(), name.into());
        store.record(&[batch(at as u64 + 1, vec![trace])], NOW_MS).unwrap();
    }
    let reader = reader(&path);
    for (at, name) in names.into_iter().enumerate() {
        let some = || Some(name.to_owned());
        let none = Filter::default;
        let filters =
            [Filter { model: some(), ..none() }, Filter { provider: some(), ..none() }, Filter { q: some(), ..none() }];
        for filter in filters.into_iter().chain(WhoPart::ALL.map(|part| Filter { who: just(part, name), ..none() })) {
            let rows = list(&reader, &filter);
            let [row] = &rows[..] else { panic!("{filter:?}: {rows:?}") };
            assert_eq!(row.trace_id, at as u128 + 1, "{filter:?}");
            let user = &row.who.user;
            assert!(name.starts_with(user) && user.len() <= NAME_BYTES_MAX);
            assert!(user == name || user.len() > NAME_BYTES_MAX - 4);
        }
    }
    assert_eq!(list(&reader, &Filter { q: Some("%".into()), ..Filter::default() }).len(), 1);
    assert_eq!(reader.cost(Dimension::Who(WhoPart::User), ALL, 100).unwrap().len(), names.len());
    assert_eq!(store.check(), StoreHealth::Ok);
}

#[test]
fn captured_bodies_are_cut_at_the_maximum() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut trace = plain(1);
    let large = Captured { request: vec![1; CAPTURE_BYTES_MAX], answer: vec![2; CAPTURE_BYTES_MAX + 1], cut: false };
    trace.captured = Some(large);
    store.record(&[batch(1, vec![trace.clone()])], NOW_MS).unwrap();
    let kept = reader(&path).captured(1, trace.span_id).unwrap().unwrap();
    assert_eq!((kept.request.len(), kept.answer.len(), kept.cut), (CAPTURE_BYTES_MAX, CAPTURE_BYTES_MAX, true));
}

#[test]
fn processes_that_record_the_same_millisecond_do_not_collide() {
    let (_folder, path) = folder();
    let mut id = 0;
    for boot in 1..=4 {
        let same = (0..100).map(|_| {
            id += 1;
            Trace { started_ms: NOW_MS, ..plain(id) }
        });
        let batch = UsageBatch { boot, ..batch(1, same.collect()) };
        open(&path).record(&[batch], NOW_MS).unwrap();
    }
    let reader = reader(&path);
    assert_eq!(reader.traces(&Filter::default(), Paging { page: 1, page_size: 1 }).unwrap().total, 400);
    let requests = reader.newest_requests(1_000).unwrap();
    assert_eq!(requests.len(), 400);
    assert!(requests.iter().all(|request| request.started_ms == NOW_MS));
}

#[test]
fn times_of_any_size_are_recorded() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let odd = [0, 1, u64::MAX, u64::MAX / 2, 1 << 42].into_iter().zip(1..);
    let traces = odd.map(|(ms, id)| Trace { started_ms: ms, duration_ns: ms, ..plain(id) }).collect();
    store.record(&[batch(1, traces)], NOW_MS).unwrap();
    let reader = reader(&path);
    assert_eq!(list(&reader, &Filter::default()).len(), 5);
    assert_eq!(reader.summary(ALL).unwrap().total_traces, 5);
    assert!(reader.series(ALL, 1).unwrap().len() <= 2_000);
}

#[test]
fn full_disk_stores_a_flush_whole_or_not_at_all() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let batches = batches(traces(&mut Seeded(8), SPREAD, 4_000), 400);
    let pages: u32 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: u32| {
        store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(&store, pages + 150);
    let mut stored = 0;
    let error = loop {
        match store.record(&batches[stored..=stored], NOW_MS) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 0 && stored < batches.len());
    assert_eq!(error.fault(), Some(StoreFault::Full), "{error}");
    let reader = reader(&path);
    assert_eq!(reader.summary(ALL).unwrap().total_requests, stored as u64 * 400);
    assert_eq!(reader.newest_requests(10_000).unwrap().len(), stored * 400);

    limit(&store, 1_000_000);
    assert_eq!(store.record(&batches, NOW_MS).unwrap().replayed, stored as u64);
    assert_eq!(store.fault(), None);
    assert_eq!(reader.summary(ALL).unwrap().total_requests, 4_000);
    let nameless = "SELECT count(*) FROM trace WHERE user NOT IN (SELECT id FROM name)";
    assert_eq!(store.connection.query_row(nameless, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[test]
fn reader_cannot_write_and_gives_up_in_time() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.record(&[batch(1, vec![plain(1)])], NOW_MS).unwrap();
    let mut reader = reader(&path);
    assert!(reader.connection.execute("DELETE FROM trace", []).is_err());
    reader.timeout_ms = 0;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let error =
        reader.query("count to infinity", |connection| connection.query_row(endless, [], |_| Ok(()))).unwrap_err();
    assert!(matches!(error, StoreError::TooLong { .. }), "{error}");
    assert_eq!(error.fault(), None);
    reader.timeout_ms = u64::MAX;
    assert_eq!(reader.summary(ALL).unwrap().total_requests, 1, "the next query is answered");
}

#[test]
fn reader_refuses_another_schema() {
    let (_folder, path) = folder();
    drop(open(&path));
    bystander(&path).execute_batch("PRAGMA user_version = 1").unwrap();
    let error = Reader::open(&path, Clock::start()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 1, .. }), "{error}");
    assert!(Reader::open(&path.with_extension("none"), Clock::start()).is_err());
}

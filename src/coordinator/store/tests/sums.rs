//! Compares sums with a naive model, which adds up a vector of requests one by one.

use hashbrown::HashMap;

use super::record::reader;
use super::sample::{Seeded, Spread, batches, traces};
use super::*;
use crate::coordinator::store::reader::{Filter, Metric, TimeRange, UsagePoint};
use crate::coordinator::store::writer::{KEYS_MAX, OTHER_KEYS_MAX};
use crate::link::trace::Trace;
use crate::link::usage::{MINUTE_MS, UsageBatch, UsageCount, UsageKey, UsageTotals};
use crate::llm::Usage;
use crate::units::MicroUsd;
use crate::who::{Who, WhoPart};

const DAY_MS: u64 = 86_400_000;
/// A few seconds after a whole hour.
const FROM_MS: u64 = NOW_MS - NOW_MS % 3_600_000 + 7_000;

fn within(span: TimeRange, trace: &Trace) -> bool {
    let minute = trace.started_ms / MINUTE_MS;
    (span.from_ms / MINUTE_MS..span.to_ms.div_ceil(MINUTE_MS)).contains(&minute)
}

fn naive<'t>(traces: impl IntoIterator<Item = &'t Trace>) -> UsageCount {
    let mut sum = UsageCount::default();
    traces.into_iter().for_each(|trace| sum.add(&UsageCount::of(trace)));
    sum
}

/// Records all requests from several shards: out of order, some twice, some together.
fn recorded(store: &mut Store, all: &[Trace], seeded: &mut Seeded) {
    let mut flushes: Vec<UsageBatch> = Vec::new();
    for (shard, part) in all.chunks(all.len() / 3 + 1).enumerate() {
        let each = 1 + seeded.below(200) as usize;
        flushes
            .extend(batches(part.to_vec(), each).into_iter().map(|batch| UsageBatch { shard: shard as u16, ..batch }));
    }
    let replayed: Vec<UsageBatch> = flushes.iter().filter(|_| seeded.one_in(4)).cloned().collect();
    let new = flushes.len() as u64;
    let twice = replayed.len() as u64;
    flushes.extend(replayed);
    for at in (1..flushes.len()).rev() {
        flushes.swap(at, seeded.below(at as u64 + 1) as usize);
    }
    let mut sum = Recorded::default();
    while !flushes.is_empty() {
        let together = flushes.split_off(flushes.len().saturating_sub(1 + seeded.below(5) as usize));
        let recorded = store.record(&together, NOW_MS).unwrap();
        sum.applied += recorded.applied;
        sum.replayed += recorded.replayed;
    }
    assert_eq!((sum.applied, sum.replayed), (new, twice));
}

#[test]
fn every_sum_agrees_with_the_naive_model() {
    for seed in 1..=4 {
        let (_folder, path) = folder();
        let mut store = open(&path);
        let mut seeded = Seeded(seed);
        let spread =
            Spread { from_ms: FROM_MS, ms: [600_000, 5 * 3_600_000][seed as usize % 2], users: 12, joins_one_in: 3 };
        let all = traces(&mut seeded, spread, 1_500);
        recorded(&mut store, &all, &mut seeded);
        usage_rows_agree(&store, &all);
        let whole = TimeRange { from_ms: 0, to_ms: FROM_MS + DAY_MS };
        ranges_agree(&path, &all, whole);
        for _ in 0..15 {
            let from_ms = FROM_MS - MINUTE_MS + seeded.below(spread.ms);
            ranges_agree(&path, &all, TimeRange { from_ms, to_ms: from_ms + seeded.below(spread.ms) });
        }
    }
}

/// Compares `usage_minute` with the model, key by key.
fn usage_rows_agree(store: &Store, all: &[Trace]) {
    let mut totals = UsageTotals::default();
    all.iter().for_each(|trace| totals.count(trace));
    let named = ["provider", "model"].into_iter().chain(WhoPart::ALL.map(WhoPart::name));
    let texts: Vec<String> =
        named.map(|column| format!("(SELECT text FROM name WHERE id = {column}) AS {column}_text")).collect();
    let sql = format!("SELECT *, {} FROM usage_minute", texts.join(", "));
    let mut statement = store.connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| {
        let text = |column: &str| row.get::<_, String>(&*format!("{column}_text")).map(String::into_boxed_str);
        let key = UsageKey {
            minute: row.get("minute")?,
            who: Who::try_from_fn(|part| text(part.name()))?,
            provider: text("provider")?,
            model: text("model")?,
            status: row.get("status")?,
        };
        let count = UsageCount {
            requests: row.get("requests")?,
            spans: row.get("spans")?,
            input: row.get("prompt")?,
            output: row.get("completion")?,
            total: row.get("total")?,
            cache_read: row.get("cached")?,
            cache_write: row.get("cache_write")?,
            reasoning: row.get("reasoning")?,
            cost: MicroUsd(row.get("cost")?),
            saved: MicroUsd(row.get("saved")?),
            hits: row.get("hits")?,
            misses: row.get("misses")?,
            blocked: row.get("blocked")?,
            errors: row.get("errors")?,
            duration_us: row.get("duration_us")?,
        };
        Ok((key, count))
    });
    let rows: HashMap<UsageKey, UsageCount> = rows.unwrap().collect::<Result<_, _>>().unwrap();
    assert!(rows == totals.usage);
}

fn ranges_agree(path: &Path, all: &[Trace], span: TimeRange) {
    let reader = reader(path);
    let inside: Vec<&Trace> = all.iter().filter(|trace| within(span, trace)).collect();
    let sum = naive(inside.iter().copied());
    let found = reader.summary(span).unwrap();
    assert_eq!((found.total_requests, found.total_spans, found.total_tokens), (sum.requests, sum.spans, sum.total));
    assert_eq!(
        (found.tokens.input, found.tokens.output, found.tokens.cache_read, found.tokens.cache_write),
        (sum.input, sum.output, sum.cache_read, sum.cache_write)
    );
    assert_eq!((found.total_cost_usd, found.saved_usd), (sum.cost.usd(), sum.saved.usd()));
    assert_eq!(
        (found.errors, found.blocked, found.cache_hits, found.cache_misses),
        (sum.errors, sum.blocked, sum.hits, sum.misses)
    );
    let of_class = |class| inside.iter().filter(|trace| trace.status / 100 == class).count() as u64;
    assert_eq!([found.status_2xx, found.status_4xx, found.status_5xx], [2, 4, 5].map(of_class));
    percentiles_agree(&inside, [found.p50_ms, found.p95_ms, found.p99_ms]);

    for by in Dimension::ALL {
        let key = |trace: &Trace| match by {
            Dimension::Who(part) => trace.who.get(part).to_string(),
            Dimension::Provider => trace.provider.to_string(),
            Dimension::Model => trace.model.to_string(),
        };
        let mut groups: HashMap<String, UsageCount> = HashMap::new();
        inside.iter().for_each(|trace| groups.entry(key(trace)).or_default().add(&UsageCount::of(trace)));
        let mut expected: Vec<_> =
            groups.into_iter().map(|(key, sum)| (key, sum.requests, sum.total, sum.cost, sum.saved)).collect();
        expected.sort_by(|a, b| (b.3, b.1, &a.0).cmp(&(a.3, a.1, &b.0)));
        let items = reader.cost(by, span, 1_000).unwrap();
        let found: Vec<_> =
            items.into_iter().map(|item| (item.key, item.requests, item.tokens, item.cost, item.saved)).collect();
        assert_eq!(found, expected, "{by:?} {span:?}");
        assert_eq!(reader.cost(by, span, 2).unwrap().len(), found.len().min(2));
    }
    points_agree(&reader.series(span, 5 * MINUTE_MS).unwrap(), &inside, span);
}

fn percentiles_agree(inside: &[&Trace], found: [Option<f64>; 3]) {
    let mut durations: Vec<u64> = inside.iter().map(|trace| trace.duration_ns).collect();
    durations.sort_unstable();
    for (percent, found) in [50, 95, 99].into_iter().zip(found) {
        let rank = (durations.len() * percent).div_ceil(100);
        let exact = rank.checked_sub(1).map(|at| durations[at] as f64 / 1e6);
        match (exact, found) {
            (None, None) => {}
            (Some(exact), Some(found)) => assert!((found - exact).abs() <= exact * 0.032, "{found} {exact}"),
            other => panic!("{other:?}"),
        }
    }
}

fn points_agree(points: &[UsagePoint], inside: &[&Trace], span: TimeRange) {
    let first = span.from_ms / MINUTE_MS;
    let minutes = span.to_ms.div_ceil(MINUTE_MS).saturating_sub(first);
    let step = 5.max(minutes.div_ceil(2_000));
    assert_eq!(points.len() as u64, minutes.div_ceil(step));
    for (point, at) in points.iter().zip(0..) {
        let begin = first + at * step;
        assert_eq!(point.at_ms, begin * MINUTE_MS);
        let of_step = inside.iter().filter(|trace| (begin..begin + step).contains(&(trace.started_ms / MINUTE_MS)));
        let sum = naive(of_step.copied());
        assert_eq!(point.count, sum);
        assert_eq!(point.value(Metric::Requests), Some(sum.requests as f64));
        assert_eq!(point.value(Metric::ErrorRate).is_some(), sum.requests > 0);
    }
}

#[test]
fn policy_matches_are_counted_by_policy_and_step() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: FROM_MS, ms: 3_600_000, users: 5, joins_one_in: 0 };
    let all = traces(&mut Seeded(21), spread, 800);
    store.record(&batches(all.clone(), 90), NOW_MS).unwrap();
    let reader = reader(&path);
    let span = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + 2_400_000 };
    let matches = |policy: &str, range: TimeRange| {
        let inside = all.iter().filter(|trace| within(range, trace));
        inside.flat_map(|trace| &trace.matches).filter(|matched| &*matched.id == policy).count() as u64
    };
    const STEP_MS: u64 = 600_000;
    let series = reader.matches_over_time(span, STEP_MS).unwrap();
    let mut policies: Vec<&str> = series.keys().map(String::as_str).collect();
    policies.sort_unstable();
    assert_eq!(policies, ["pol_block", "pol_cheaper", "pol_trial", "pol_watch"]);
    for (policy, points) in &series {
        assert_eq!(points.iter().sum::<u64>(), matches(policy, span), "{policy}");
        let first_minute_ms = FROM_MS - FROM_MS % MINUTE_MS;
        let second = TimeRange { from_ms: first_minute_ms + STEP_MS, to_ms: first_minute_ms + 2 * STEP_MS };
        assert_eq!(points[1], matches(policy, second), "{policy}");
        let sql = "SELECT sum(effective) FROM policy_minute WHERE policy = (SELECT id FROM name WHERE text = ?1)";
        let effective: u64 = store.connection.query_row(sql, [policy], |row| row.get(0)).unwrap();
        let whole = TimeRange { from_ms: 0, to_ms: u64::MAX };
        assert_eq!(effective, if policy == "pol_trial" { 0 } else { matches(policy, whole) }, "{policy}");
    }
}

#[test]
fn most_frequent_names_come_first() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: FROM_MS, ms: 7_200_000, users: 40, joins_one_in: 0 };
    let all = traces(&mut Seeded(4), spread, 1_000);
    store.record(&batches(all.clone(), 500), NOW_MS).unwrap();
    let facets = reader(&path).trace_facets(&Filter::default(), 3).unwrap();
    let mut users: HashMap<&str, u64> = HashMap::new();
    all.iter().for_each(|trace| *users.entry(&trace.who.user).or_default() += 1);
    let mut counts: Vec<u64> = users.values().copied().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(facets.who.user.iter().map(|(_, count)| *count).collect::<Vec<_>>(), counts[..3]);
    assert!(facets.who.user.iter().all(|(user, count)| users[user.as_str()] == *count));
    assert_eq!(facets.model.iter().map(|(_, count)| count).max(), Some(&facets.model[0].1));
}

#[test]
fn series_is_counted_once_until_the_file_changes() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let spread = Spread { from_ms: FROM_MS, ms: 3_600_000, users: 4, joins_one_in: 0 };
    let mut parts = batches(traces(&mut Seeded(5), spread, 200), 100).into_iter();
    let reader = reader(&path);
    let span = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + 3_600_000 };
    let sum = |points: &[UsagePoint]| points.iter().map(|point| point.count.requests).sum::<u64>();
    store.record(&[parts.next().unwrap()], NOW_MS).unwrap();
    let first = reader.series(span, MINUTE_MS).unwrap();
    // Charts ask for the series some milliseconds apart.
    let later = TimeRange { from_ms: span.from_ms + 5, to_ms: span.to_ms + 5 };
    assert!(std::rc::Rc::ptr_eq(&first, &reader.series(later, MINUTE_MS).unwrap()));
    assert_eq!(sum(&first), 100);
    assert_ne!(reader.series(span, 5 * MINUTE_MS).unwrap().len(), first.len());
    store.record(&[parts.next().unwrap()], NOW_MS).unwrap();
    assert_eq!(sum(&reader.series(span, 5 * MINUTE_MS).unwrap()), 200);
}

#[test]
fn minute_with_too_many_keys_sums_the_rest_under_other() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    const SPARE: u64 = 300;
    let n = KEYS_MAX + OTHER_KEYS_MAX + SPARE;
    let sample = traces(&mut Seeded(6), Spread { from_ms: FROM_MS, ms: 1, users: 1, joins_one_in: 0 }, 1).remove(0);
    let mut flushes = Vec::new();
    for sequence in 1..=n.div_ceil(1_000) {
        let mut batch = UsageBatch { boot: 1, sequence, ..UsageBatch::default() };
        for at in (sequence - 1) * 1_000..(sequence * 1_000).min(n) {
            let who = Who::of_user(&format!("t{at}"), &format!("u{at}")).to_owned();
            batch.totals.count(&Trace { who, started_ms: FROM_MS, ..sample.clone() });
        }
        flushes.push(batch);
    }
    // A new process records the second half, and has to count the rows first.
    let half = flushes.len() / 2;
    store.record(&flushes[..half], NOW_MS).unwrap();
    drop(store);
    let mut store = open(&path);
    store.record(&flushes[half..], NOW_MS).unwrap();
    let query = |sql: &str| store.connection.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(query("SELECT count(*) FROM usage_minute"), KEYS_MAX + OTHER_KEYS_MAX + 1);
    assert_eq!(query("SELECT sum(requests) FROM usage_minute"), n);
    let span = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + MINUTE_MS };
    let reader = reader(&path);
    assert_eq!(reader.summary(span).unwrap().total_requests, n);
    let users = reader.cost(Dimension::Who(WhoPart::User), span, 2).unwrap();
    assert_eq!((users[0].key.as_str(), users[0].requests), ("other", OTHER_KEYS_MAX + SPARE));
    assert_eq!(users[1].requests, 1);
}

#[test]
fn absurd_figures_saturate_and_break_no_flush() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let mut sample = traces(&mut Seeded(6), Spread { from_ms: FROM_MS, ms: 1, users: 1, joins_one_in: 0 }, 1).remove(0);
    sample.usage = Usage { input: u64::MAX, output: u64::MAX, total: u64::MAX, ..Usage::default() };
    (sample.cost, sample.duration_ns) = (MicroUsd(i64::MAX), u64::MAX);
    for sequence in 1..=3 {
        let batch = UsageBatch { sequence, ..batches(vec![sample.clone(), sample.clone()], 2).remove(0) };
        store.record(&[batch], NOW_MS).unwrap();
    }
    let span = TimeRange { from_ms: FROM_MS, to_ms: FROM_MS + MINUTE_MS };
    let reader = reader(&path);
    let summary = reader.summary(span).unwrap();
    assert_eq!((summary.total_requests, summary.total_tokens), (6, i64::MAX as u64));
    assert_eq!(reader.cost(Dimension::Model, span, 5).unwrap()[0].cost, MicroUsd(i64::MAX));
    assert_eq!(reader.trace(sample.trace_id).unwrap().unwrap().summary.requests, 6);
}

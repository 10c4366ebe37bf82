//! Sums over time: the summary of a range and the points of its charts, from the exact counts. On the reader's thread. It
//! never looks at a trace but to say how many there are, so that nothing that was sampled bends a sum.

use std::rc::Rc;
use std::str::FromStr;

use rusqlite::{Connection, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::error::StoreError;
use super::super::writer::{COUNTS, bounded};
use super::filter::Condition;
use super::list::count;
use super::{Reader, Span, key_of};
use crate::link::usage::{Latency, MINUTE_MS, UsageCount};
use crate::units::MicroUsd;

/// Points of one series; with more, the step grows. Arbitrary: more than a wide screen has columns.
pub const POINTS_MAX: u64 = 2_000;

/// `/api/dashboard/summary`. Times are `None` of no request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Sums")]
pub struct Summary {
    /// Stored ones; the other sums are of all requests, stored or not.
    pub total_traces: u64,
    pub total_spans: u64,
    pub total_requests: u64,
    pub total_cost_usd: f64,
    pub saved_usd: f64,
    pub total_tokens: u64,
    pub avg_latency_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// From 0 to 1; what a policy blocked is none.
    pub error_rate: f64,
    /// From 0 to 1, of those requests for which the cache was asked.
    pub cache_hit_rate: f64,
    pub blocked: u64,
    /// From here on, tokens and statuses by kind.
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
    pub errors: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub status_2xx: u64,
    pub status_4xx: u64,
    pub status_5xx: u64,
}

/// Everything that was counted in one step of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// The step's begin.
    pub at_ms: u64,
    pub count: UsageCount,
    /// Answers with 2xx, 4xx, 5xx.
    pub classes: [u64; 3],
    pub latency: Latency,
}

/// What a series shows of its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Requests,
    Errors,
    ErrorRate,
    Blocked,
    CostUsd,
    SavedUsd,
    Tokens,
    PromptTokens,
    CompletionTokens,
    CacheHits,
    CacheMisses,
    CacheHitRate,
    AvgMs,
    P50Ms,
    P95Ms,
    P99Ms,
    Status2xx,
    Status4xx,
    Status5xx,
}

/// No such metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a metric that there is a series of")]
pub struct UnknownMetric;

impl Metric {
    pub const ALL: [(&str, Metric); 19] = [
        ("requests", Metric::Requests),
        ("errors", Metric::Errors),
        ("error_rate", Metric::ErrorRate),
        ("blocked", Metric::Blocked),
        ("cost_usd", Metric::CostUsd),
        ("saved_usd", Metric::SavedUsd),
        ("tokens", Metric::Tokens),
        ("prompt_tokens", Metric::PromptTokens),
        ("completion_tokens", Metric::CompletionTokens),
        ("cache_hits", Metric::CacheHits),
        ("cache_misses", Metric::CacheMisses),
        ("cache_hit_rate", Metric::CacheHitRate),
        ("avg_ms", Metric::AvgMs),
        ("p50_ms", Metric::P50Ms),
        ("p95_ms", Metric::P95Ms),
        ("p99_ms", Metric::P99Ms),
        ("status_2xx", Metric::Status2xx),
        ("status_4xx", Metric::Status4xx),
        ("status_5xx", Metric::Status5xx),
    ];
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Metric, UnknownMetric> {
        Metric::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, metric)| metric).ok_or(UnknownMetric)
    }
}

impl Reader {
    /// The sums of a range, to the whole minute.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn summary(&self, span: Span) -> Result<Summary, StoreError> {
        self.ask("sum requests up", |connection| {
            let mut sum = Point::default();
            each_minute(connection, span, |_, row| sum.add(row))?;
            let keys = [key_of(span.from_ms), if span.to_ms == u64::MAX { i64::MAX } else { key_of(span.to_ms) }];
            Ok(sum.summary(count(connection, &Condition::of_range(keys))?))
        })
    }

    /// Points from the range's begin to its end, `step_ms` apart: whole minutes, so many that there are at most
    /// [`POINTS_MAX`]. A step in which nothing happened has a point of zeros. A page with several charts asks for the same
    /// points several times at once: they are counted once, until the file changes.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn series(&self, span: Span, step_ms: u64) -> Result<Rc<[Point]>, StoreError> {
        self.ask("sum requests up over time", |connection| {
            let steps = Steps::of(span, step_ms);
            // Of this connection; it grows with every change that another one makes.
            let version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            let asked = Asked { version, minutes: minutes(span), steps };
            if let Some((last, points)) = &*self.last_series.borrow()
                && *last == asked
            {
                return Ok(points.clone());
            }
            let mut points: Vec<Point> = steps.begins().map(|at_ms| Point { at_ms, ..Point::default() }).collect();
            each_minute(connection, span, |minute, row| match points.get_mut(steps.index(minute)) {
                Some(point) => point.add(row),
                None => Ok(()),
            })?;
            let points = Rc::<[Point]>::from(points);
            self.last_series.replace(Some((asked, points.clone())));
            Ok(points)
        })
    }
}

/// What the points of a series depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    version: i64,
    minutes: [i64; 2],
    steps: Steps,
}

/// A range cut into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    first_minute: u64,
    minutes: u64,
    count: u64,
}

impl Steps {
    pub fn of(span: Span, step_ms: u64) -> Steps {
        let first_minute = span.from_ms / MINUTE_MS;
        let all = span.to_ms.div_ceil(MINUTE_MS).saturating_sub(first_minute);
        let minutes = (step_ms / MINUTE_MS).max(1).max(all.div_ceil(POINTS_MAX));
        Steps { first_minute, minutes, count: all.div_ceil(minutes) }
    }

    pub fn begins(&self) -> impl Iterator<Item = u64> {
        let Steps { first_minute, minutes, count } = *self;
        (0..count).map(move |step| first_minute.saturating_add(step * minutes).saturating_mul(MINUTE_MS))
    }

    pub fn index(&self, minute: u64) -> usize {
        usize::try_from(minute.saturating_sub(self.first_minute) / self.minutes).unwrap_or(usize::MAX)
    }
}

/// The minutes of a range, as values to bind: the first, and the first after it.
pub(super) fn minutes(span: Span) -> [i64; 2] {
    [bounded(span.from_ms / MINUTE_MS), bounded(span.to_ms.div_ceil(MINUTE_MS))]
}

fn each_minute(
    connection: &Connection,
    span: Span,
    mut take: impl FnMut(u64, &Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let counts = COUNTS.join(", ");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT minute, {counts}, status_2xx, status_4xx, status_5xx, latency FROM total_minute
         WHERE minute >= ?1 AND minute < ?2"
    ))?;
    let mut rows = statement.query(minutes(span))?;
    while let Some(row) = rows.next()? {
        take(row.get(0)?, row)?;
    }
    Ok(())
}

impl Point {
    /// Adds a row: the minute, [`COUNTS`], the classes, the latency.
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let count = |at: usize| row.get::<_, u64>(at);
        let money = |at: usize| row.get(at).map(MicroUsd);
        self.count.add(&UsageCount {
            requests: count(1)?,
            spans: count(2)?,
            prompt: count(3)?,
            completion: count(4)?,
            total: count(5)?,
            cached: count(6)?,
            reasoning: count(7)?,
            cost: money(8)?,
            saved: money(9)?,
            hits: count(10)?,
            misses: count(11)?,
            blocked: count(12)?,
            errors: count(13)?,
            duration_us: count(14)?,
        });
        for (class, at) in self.classes.iter_mut().zip(COUNTS.len() + 1..) {
            *class = class.saturating_add(count(at)?);
        }
        self.latency.merge_encoded(row.get_ref(COUNTS.len() + 4)?.as_blob()?);
        Ok(())
    }

    /// `None` where there is nothing to tell: a rate or a time of no request.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let count = &self.count;
        let [ok, caller, server] = self.classes;
        let whole = |count: u64| Some(count as f64);
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        match metric {
            Metric::Requests => whole(count.requests),
            Metric::Errors => whole(count.errors),
            Metric::ErrorRate => share(count.errors, count.requests),
            Metric::Blocked => whole(count.blocked),
            Metric::CostUsd => Some(count.cost.usd()),
            Metric::SavedUsd => Some(count.saved.usd()),
            Metric::Tokens => whole(count.total),
            Metric::PromptTokens => whole(count.prompt),
            Metric::CompletionTokens => whole(count.completion),
            Metric::CacheHits => whole(count.hits),
            Metric::CacheMisses => whole(count.misses),
            Metric::CacheHitRate => share(count.hits, count.hits.saturating_add(count.misses)),
            Metric::AvgMs => share(count.duration_us, count.requests.saturating_mul(1000)),
            Metric::P50Ms => self.latency.percentile_ms(50.0),
            Metric::P95Ms => self.latency.percentile_ms(95.0),
            Metric::P99Ms => self.latency.percentile_ms(99.0),
            Metric::Status2xx => whole(ok),
            Metric::Status4xx => whole(caller),
            Metric::Status5xx => whole(server),
        }
    }

    fn summary(&self, total_traces: u64) -> Summary {
        let count = &self.count;
        let [status_2xx, status_4xx, status_5xx] = self.classes;
        Summary {
            total_traces,
            total_spans: count.spans,
            total_requests: count.requests,
            total_cost_usd: count.cost.usd(),
            saved_usd: count.saved.usd(),
            total_tokens: count.total,
            avg_latency_ms: self.value(Metric::AvgMs),
            p50_ms: self.value(Metric::P50Ms),
            p95_ms: self.value(Metric::P95Ms),
            p99_ms: self.value(Metric::P99Ms),
            error_rate: self.value(Metric::ErrorRate).unwrap_or(0.0),
            cache_hit_rate: self.value(Metric::CacheHitRate).unwrap_or(0.0),
            blocked: count.blocked,
            prompt_tokens: count.prompt,
            completion_tokens: count.completion,
            cached_tokens: count.cached,
            reasoning_tokens: count.reasoning,
            errors: count.errors,
            cache_hits: count.hits,
            cache_misses: count.misses,
            status_2xx,
            status_4xx,
            status_5xx,
        }
    }
}

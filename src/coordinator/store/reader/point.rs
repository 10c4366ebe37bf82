//! What was counted in one step of time, and what is shown of it. Pure but for reading a row.

use rusqlite::Row;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::layout::COUNTS;
use crate::dialect::openai::tokens::TokenFields;
use crate::link::usage::{Latency, UsageCount};
use crate::units::MicroUsd;

/// The answer of `/api/dashboard/summary`. Times are `null` if there was no request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Sums")]
pub struct Summary {
    /// Stored traces. The other sums are of all requests, stored or not.
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
    /// From 0 to 1. A request that a policy blocked is not an error.
    pub error_rate: f64,
    /// From 0 to 1, of the requests that looked in the cache.
    pub cache_hit_rate: f64,
    pub blocked: u64,
    #[serde(flatten)]
    pub tokens: TokenFields,
    pub errors: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub status_2xx: u64,
    pub status_4xx: u64,
    pub status_5xx: u64,
}

/// Everything that was counted in one step of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsagePoint {
    /// When the step begins.
    pub at_ms: u64,
    pub count: UsageCount,
    /// Answers with status 2xx, 4xx and 5xx.
    pub classes: [u64; 3],
    pub latency: Latency,
}

/// A value that a series shows of its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Requests,
    Errors,
    ErrorRate,
    Blocked,
    CostUsd,
    SavedUsd,
    Tokens,
    InputTokens,
    OutputTokens,
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

impl UsagePoint {
    pub(super) fn at(at_ms: u64) -> UsagePoint {
        UsagePoint { at_ms, ..UsagePoint::default() }
    }

    /// Adds a row of `total_minute`, whose columns are the minute, [`COUNTS`], the three classes and the latency.
    pub(super) fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let count = |at: usize| row.get::<_, u64>(at);
        let money = |at: usize| row.get(at).map(MicroUsd);
        self.count.add(&UsageCount {
            requests: count(1)?,
            spans: count(2)?,
            input: count(3)?,
            output: count(4)?,
            total: count(5)?,
            cache_read: count(6)?,
            cache_write: count(7)?,
            reasoning: count(8)?,
            cost: money(9)?,
            saved: money(10)?,
            hits: count(11)?,
            misses: count(12)?,
            blocked: count(13)?,
            errors: count(14)?,
            duration_us: count(15)?,
        });
        for (class, at) in self.classes.iter_mut().zip(COUNTS.len() + 1..) {
            *class = class.saturating_add(count(at)?);
        }
        self.latency.merge_encoded(row.get_ref(COUNTS.len() + 4)?.as_blob()?);
        Ok(())
    }

    /// Returns `None` for a rate or a time if there was no request.
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
            Metric::InputTokens => whole(count.input),
            Metric::OutputTokens => whole(count.output),
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

    pub(super) fn summary(&self, total_traces: u64) -> Summary {
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
            tokens: TokenFields {
                input: count.input,
                output: count.output,
                cache_read: count.cache_read,
                cache_write: count.cache_write,
                reasoning: count.reasoning,
            },
            errors: count.errors,
            cache_hits: count.hits,
            cache_misses: count.misses,
            status_2xx,
            status_4xx,
            status_5xx,
        }
    }
}

//! `/api/dashboard/*`: sums of a range of time, by whom, and over time. Read on the reader's thread, from the exact counts:
//! no sampling of traces bends them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::{Now, rfc3339};
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::parameter::{Kind, Parameter, Values};
use crate::coordinator::store::Dimension;
use crate::coordinator::store::reader::{CostItem, Metric, Summary, TimeRange, UsagePoint};
use crate::who::WhoPart;

/// Rows of an attribution of costs. Arbitrary: more than anyone reads.
const COST_ITEMS_MAX: usize = 100;
/// Points of a series where no step is given. Arbitrary: as many as a chart shows well.
const POINTS: u64 = 120;
/// The finest that is counted.
const STEP_S_MIN: u64 = 60;

pub(crate) static BY: Parameter = Parameter {
    name: "by",
    kind: Kind::Word(&["agent", "user", "tenant", "model", "provider"]),
    about: "What costs are attributed to; agent if absent.",
};
pub(crate) static METRIC: Parameter =
    Parameter { name: "metric", kind: Kind::Word(METRICS), about: "What the points tell; requests if absent." };
pub(crate) static STEP: Parameter = Parameter {
    name: "step",
    kind: Kind::Whole { least: STEP_S_MIN, most: 366 * 86_400 },
    about: "Seconds between two points, rounded to whole minutes; so that there are about 120 if absent, at most 2,000.",
};

const METRICS: &[&str] = &["requests", "cost", "saved", "tokens", "latency", "errors", "cache", "blocked", "status"];

/// Sums of a range, and of the one of the same length before it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Summary")]
pub(crate) struct Shown {
    #[serde(flatten)]
    sums: Summary,
    previous: Summary,
    #[schemars(extend("format" = "date-time"))]
    from: String,
    #[schemars(extend("format" = "date-time"))]
    to: String,
}

/// Who spent it, dearest first.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Cost {
    items: Vec<CostItem>,
}

/// Points over time.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Series {
    /// Seconds between two points.
    step_s: u64,
    /// Every step of the range has one.
    points: Vec<SeriesPoint>,
}

/// What one step amounts to.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SeriesPoint {
    /// The step's begin, in seconds since 1970.
    t: u64,
    /// `null` where there is nothing to tell: the latency of no request.
    values: BTreeMap<&'static str, Option<f64>>,
}

/// `GET /api/dashboard/summary`.
pub(crate) fn summary(values: &Values, now: Now) -> Result<Reply, ApiError> {
    let span = filters::span(values, now)?;
    Ok(Reply::read(move |reader| {
        let (sums, previous) = (reader.summary(span)?, reader.summary(filters::before(span))?);
        Ok(json(200, &Shown { sums, previous, from: rfc3339(span.from_ms), to: rfc3339(span.to_ms) }))
    }))
}

/// `GET /api/dashboard/cost`.
pub(crate) fn cost(values: &Values, now: Now) -> Result<Reply, ApiError> {
    let span = filters::span(values, now)?;
    let by = values.word(&BY).and_then(|by| by.parse().ok()).unwrap_or(Dimension::Who(WhoPart::Agent));
    Ok(Reply::read(move |reader| Ok(json(200, &Cost { items: reader.cost(by, span, COST_ITEMS_MAX)? }))))
}

/// `GET /api/dashboard/series`.
pub(crate) fn series(values: &Values, now: Now) -> Result<Reply, ApiError> {
    let span = filters::span(values, now)?;
    let metrics = metrics(values.word(&METRIC).unwrap_or("requests"));
    let step_ms = values.whole(&STEP).map_or_else(|| step_ms(span), |seconds| seconds * 1000);
    Ok(Reply::read(move |reader| {
        let points = reader.series(span, step_ms)?;
        Ok(json(
            200,
            &Series { step_s: step_s(&points, step_ms), points: points.iter().map(|it| of(it, metrics)).collect() },
        ))
    }))
}

fn of(point: &UsagePoint, metrics: &[(&'static str, Metric)]) -> SeriesPoint {
    let values = metrics.iter().map(|(name, metric)| (*name, point.value(*metric))).collect();
    SeriesPoint { t: point.at_ms / 1000, values }
}

/// As the points really are: a step is whole minutes, and more where there would be too many points.
fn step_s(points: &[UsagePoint], asked_ms: u64) -> u64 {
    match points {
        [first, second, ..] => (second.at_ms - first.at_ms) / 1000,
        _ => (asked_ms / 60_000).max(1) * 60,
    }
}

fn step_ms(span: TimeRange) -> u64 {
    ((span.to_ms - span.from_ms) / POINTS).next_multiple_of(STEP_S_MIN * 1000)
}

fn metrics(name: &str) -> &'static [(&'static str, Metric)] {
    match name {
        "cost" => &[("cost_usd", Metric::CostUsd)],
        "saved" => &[("saved_usd", Metric::SavedUsd)],
        "tokens" => &[("prompt", Metric::PromptTokens), ("completion", Metric::CompletionTokens)],
        "latency" => &[
            ("avg_ms", Metric::AvgMs),
            ("p50_ms", Metric::P50Ms),
            ("p95_ms", Metric::P95Ms),
            ("p99_ms", Metric::P99Ms),
        ],
        "errors" => &[("errors", Metric::Errors), ("error_rate", Metric::ErrorRate)],
        "cache" => &[("hits", Metric::CacheHits), ("misses", Metric::CacheMisses), ("hit_rate", Metric::CacheHitRate)],
        "blocked" => &[("blocked", Metric::Blocked)],
        "status" => &[("2xx", Metric::Status2xx), ("4xx", Metric::Status4xx), ("5xx", Metric::Status5xx)],
        _ => &[("requests", Metric::Requests)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_values_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for name in METRICS {
            for (value, _) in metrics(name) {
                assert!(seen.insert(*value), "{name}: {value} is another metric's");
            }
        }
    }

    #[test]
    fn a_range_without_a_step_has_about_a_hundred_and_twenty_points_of_whole_minutes() {
        for hours in [1, 24, 24 * 7, 24 * 30] {
            let ms = hours * 3_600_000;
            let step = step_ms(TimeRange { from_ms: 0, to_ms: ms });
            assert!(step.is_multiple_of(60_000) && (60..=120).contains(&(ms / step)), "{hours}: {step}");
        }
        assert_eq!(step_ms(TimeRange { from_ms: 5, to_ms: 5 }), 0);
    }
}

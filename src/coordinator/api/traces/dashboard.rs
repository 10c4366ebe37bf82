//! `/api/dashboard/*`: sums over a period, by identity, and over time. Read on the reader's thread, from the exact counts, so
//! dropped traces do not distort them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::rfc3339;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::api::shape::parameter::{Parameter, ParameterKind};
use crate::coordinator::state::State;
use crate::coordinator::store::Dimension;
use crate::coordinator::store::reader::{CostItem, Metric, Summary, TimeRange, UsagePoint};
use crate::who::WhoPart;

/// Most rows of an attribution of costs. Arbitrary: more than anyone reads.
const COST_ITEMS_MAX: usize = 100;
/// Points of a series if no step is given. Arbitrary: as many as a chart shows well.
const POINTS: u64 = 120;
/// Shortest step, in seconds. Usage is counted by minute.
const STEP_S_MIN: u64 = 60;

pub(crate) static BY: Parameter = Parameter {
    name: "by",
    kind: ParameterKind::Word(&DIMENSIONS),
    about: "What costs are attributed to; agent if absent.",
};
pub(crate) static METRIC: Parameter = Parameter {
    name: "metric",
    kind: ParameterKind::Word(&METRIC_NAMES),
    about: "The metric of the points; requests if absent.",
};
pub(crate) static STEP: Parameter = Parameter {
    name: "step",
    kind: ParameterKind::Whole { least: STEP_S_MIN, most: 366 * 86_400 },
    about: "Seconds between two points, rounded to whole minutes; if absent, there are about 120 points. At most 2,000 points.",
};

/// The dimensions in the order of the document.
const DIMENSIONS: [&str; 5] = [
    Dimension::Who(WhoPart::Agent).name(),
    Dimension::Who(WhoPart::User).name(),
    Dimension::Who(WhoPart::Tenant).name(),
    Dimension::Model.name(),
    Dimension::Provider.name(),
];

/// Each metric, with the names of its values. No two values share a name.
const METRICS: [(&str, &[(&str, Metric)]); 9] = [
    ("requests", &[("requests", Metric::Requests)]),
    ("cost", &[("cost_usd", Metric::CostUsd)]),
    ("saved", &[("saved_usd", Metric::SavedUsd)]),
    ("tokens", &[("prompt", Metric::InputTokens), ("completion", Metric::OutputTokens)]),
    (
        "latency",
        &[("avg_ms", Metric::AvgMs), ("p50_ms", Metric::P50Ms), ("p95_ms", Metric::P95Ms), ("p99_ms", Metric::P99Ms)],
    ),
    ("errors", &[("errors", Metric::Errors), ("error_rate", Metric::ErrorRate)]),
    ("cache", &[("hits", Metric::CacheHits), ("misses", Metric::CacheMisses), ("hit_rate", Metric::CacheHitRate)]),
    ("blocked", &[("blocked", Metric::Blocked)]),
    ("status", &[("2xx", Metric::Status2xx), ("4xx", Metric::Status4xx), ("5xx", Metric::Status5xx)]),
];

const METRIC_NAMES: [&str; METRICS.len()] = {
    let mut names = [""; METRICS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = METRICS[at].0;
        at += 1;
    }
    names
};

/// Sums over a period, and over the period of the same length before it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Summary")]
pub(crate) struct SummaryAnswer {
    #[serde(flatten)]
    sums: Summary,
    previous: Summary,
    #[schemars(extend("format" = "date-time"))]
    from: String,
    #[schemars(extend("format" = "date-time"))]
    to: String,
}

/// Costs by what they are attributed to, highest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cost")]
pub(crate) struct CostAnswer {
    items: Vec<CostItem>,
}

/// Points over time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Series")]
pub(crate) struct SeriesAnswer {
    /// Seconds between two points.
    step_s: u64,
    /// One point for each step of the period.
    points: Vec<SeriesPoint>,
}

/// The values of one step.
#[derive(Serialize, JsonSchema)]
struct SeriesPoint {
    /// Start of the step, in seconds since 1970.
    t: u64,
    /// `null` if there is no value, such as a latency without requests.
    values: BTreeMap<&'static str, Option<f64>>,
}

/// `GET /api/dashboard/summary`.
pub(crate) fn summary(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let span = filters::span(&arguments.values, state.clock.now())?;
    Ok(Reply::read(move |reader| {
        let (sums, previous) = (reader.summary(span)?, reader.summary(filters::before(span))?);
        Ok(json(200, &SummaryAnswer { sums, previous, from: rfc3339(span.from_ms), to: rfc3339(span.to_ms) }))
    }))
}

/// `GET /api/dashboard/cost`.
pub(crate) fn cost(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let span = filters::span(&arguments.values, state.clock.now())?;
    let by = arguments.values.word(&BY).and_then(|by| by.parse().ok()).unwrap_or(Dimension::Who(WhoPart::Agent));
    Ok(Reply::read(move |reader| Ok(json(200, &CostAnswer { items: reader.cost(by, span, COST_ITEMS_MAX)? }))))
}

/// `GET /api/dashboard/series`.
pub(crate) fn series(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let span = filters::span(&arguments.values, state.clock.now())?;
    let name = arguments.values.word(&METRIC).unwrap_or("requests");
    let metrics = METRICS.iter().find(|(known, _)| *known == name).map_or(METRICS[0].1, |(_, values)| values);
    let step_ms = arguments.values.whole(&STEP).map_or_else(|| step_ms(span), |seconds| seconds * 1000);
    Ok(Reply::read(move |reader| {
        let points = reader.series(span, step_ms)?;
        Ok(json(
            200,
            &SeriesAnswer {
                step_s: step_s(&points, step_ms),
                points: points.iter().map(|point| with_metrics(point, metrics)).collect(),
            },
        ))
    }))
}

fn with_metrics(point: &UsagePoint, metrics: &[(&'static str, Metric)]) -> SeriesPoint {
    let values = metrics.iter().map(|(name, metric)| (*name, point.value(*metric))).collect();
    SeriesPoint { t: point.at_ms / 1000, values }
}

/// The step between the points as they are: whole minutes, and longer if there would be too many points.
fn step_s(points: &[UsagePoint], asked_ms: u64) -> u64 {
    match points {
        [first, second, ..] => (second.at_ms - first.at_ms) / 1000,
        _ => (asked_ms / 60_000).max(1) * 60,
    }
}

fn step_ms(span: TimeRange) -> u64 {
    ((span.to_ms - span.from_ms) / POINTS).next_multiple_of(STEP_S_MIN * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_metrics_have_a_value_of_the_same_name() {
        let mut seen = std::collections::HashSet::new();
        for (name, values) in METRICS {
            for (value, _) in values {
                assert!(seen.insert(*value), "{name}: {value} belongs to another metric");
            }
        }
    }

    #[test]
    fn default_step_makes_about_120_points_of_whole_minutes() {
        for hours in [1, 24, 24 * 7, 24 * 30] {
            let ms = hours * 3_600_000;
            let step = step_ms(TimeRange { from_ms: 0, to_ms: ms });
            assert!(step.is_multiple_of(60_000) && (60..=120).contains(&(ms / step)), "{hours}: {step}");
        }
        assert_eq!(step_ms(TimeRange { from_ms: 5, to_ms: 5 }), 0);
    }
}

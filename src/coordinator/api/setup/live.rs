//! `GET /api/metrics/live`: the few numbers that an open console draws. Open to everyone, so it names no provider, model or
//! caller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::llm::Usage;

/// A few numbers, as of now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Live")]
pub(crate) struct LiveMetrics {
    cache: LiveCache,
    /// Since the process started.
    requests_by_status: BTreeMap<u16, u64>,
    tokens_by_type: LiveTokens,
    in_flight: u64,
    /// Over the last ten seconds.
    requests_per_second: f64,
}

#[derive(Serialize, JsonSchema)]
struct LiveCache {
    hits: u64,
    misses: u64,
    /// Hits among hits and misses; 0 before the first of either.
    hit_rate: f64,
    evictions: u64,
    size: u64,
    max_items: u64,
}

#[derive(Serialize, JsonSchema)]
struct LiveTokens {
    prompt: u64,
    completion: u64,
    total: u64,
}

/// `GET /api/metrics/live`.
pub(crate) fn answer(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    let total = state.totals.total();
    let mut requests_by_status = BTreeMap::new();
    for ((_, _, status), count) in &total.requests {
        *requests_by_status.entry(*status).or_default() += count;
    }
    let mut usage = Usage::default();
    total.by_model.values().for_each(|totals| usage.add(&totals.usage));
    let (hits, misses) = (total.cache_hits, total.cache_misses);
    let cache = LiveCache {
        hits,
        misses,
        hit_rate: if hits + misses == 0 { 0.0 } else { hits as f64 / (hits + misses) as f64 },
        evictions: total.evicted.ttl + total.evicted.capacity,
        size: state.cache_items(),
        max_items: state.running.config().cache.max_items,
    };
    let live = LiveMetrics {
        cache,
        requests_by_status,
        tokens_by_type: LiveTokens { prompt: usage.input, completion: usage.output, total: usage.total },
        in_flight: state.in_flight(),
        requests_per_second: state.totals.requests_per_second(state.clock.now()),
    };
    Ok(json(200, &live).into())
}

//! `GET /api/metrics/live`: the few numbers that a console draws while it is open. From the ledger; open to everyone, so it
//! names no provider, model or caller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::json;
use crate::link::ApiAnswer;
use crate::llm::Usage;

/// The answer's shape.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Live {
    cache: Cache,
    /// Since the process started.
    requests_by_status: BTreeMap<u16, u64>,
    tokens_by_type: Tokens,
    in_flight: u64,
    /// Over the last ten seconds.
    requests_per_second: f64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LiveCache")]
pub(crate) struct Cache {
    hits: u64,
    misses: u64,
    /// Of hits among both; 0 before the first.
    hit_rate: f64,
    evictions: u64,
    size: u64,
    max_items: u64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LiveTokens")]
pub(crate) struct Tokens {
    prompt: u64,
    completion: u64,
    total: u64,
}

/// Answers from the ledger.
pub(crate) fn answer(coordinator: &Coordinator) -> ApiAnswer {
    let total = coordinator.ledger.total();
    let mut requests_by_status = BTreeMap::new();
    for ((_, _, status), count) in &total.requests {
        *requests_by_status.entry(*status).or_default() += count;
    }
    let mut usage = Usage::default();
    total.cells.values().for_each(|cell| usage.add(&cell.usage));
    let (hits, misses) = (total.cache_hits, total.cache_misses);
    let cache = Cache {
        hits,
        misses,
        hit_rate: if hits + misses == 0 { 0.0 } else { hits as f64 / (hits + misses) as f64 },
        evictions: total.evicted.ttl + total.evicted.capacity,
        size: coordinator.cache_items(),
        max_items: coordinator.running.config().cache.max_items,
    };
    json(
        200,
        &Live {
            cache,
            requests_by_status,
            tokens_by_type: Tokens { prompt: usage.input, completion: usage.output, total: usage.total },
            in_flight: coordinator.in_flight(),
            requests_per_second: coordinator.ledger.requests_per_second(coordinator.clock.now()),
        },
    )
}

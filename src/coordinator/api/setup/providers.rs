//! `GET /api/providers`: each provider, and how it stands: its circuit breaker, its limit, how attempts at it ended. From
//! the plan that runs and the ledger; it shows no key, and no URL holds one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::json;
use crate::limit::Ceiling;
use crate::link::{ApiAnswer, AttemptOutcome};

/// The answer's shape.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Providers {
    /// In the order of the configuration.
    items: Vec<Provider>,
}

/// A provider.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Provider {
    name: String,
    base_url: String,
    /// As configured: names and patterns.
    models: Vec<String>,
    /// Of its circuit breaker: closed, open or half_open.
    #[schemars(extend("enum" = ["closed", "open", "half_open"]))]
    state: &'static str,
    /// `null` where it has none.
    limit: Option<LimitItem>,
    /// Since the process started; of all attempts.
    attempts: u64,
    /// Those at which the provider failed.
    failures: u64,
    /// All of them, by how they ended.
    outcomes: BTreeMap<&'static str, u64>,
}

/// How often a provider may be asked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limit")]
pub(crate) struct LimitItem {
    qps: f64,
    burst: u32,
    /// Requests that may come at once now.
    remaining: u32,
}

/// Answers from the coordinator's state.
pub(crate) fn answer(coordinator: &Coordinator) -> ApiAnswer {
    let (plan, now) = (coordinator.plans.running(), coordinator.clock.now());
    let config = coordinator.running.config();
    let attempts = &coordinator.ledger.total().attempts;
    let items = config.providers.iter().filter_map(|configured| {
        let provider = plan.provider(&configured.name)?;
        let mut outcomes = BTreeMap::new();
        let (mut all, mut failures) = (0, 0);
        for ((_, outcome), count) in attempts.iter().filter(|((label, _), _)| *label == provider.label) {
            *outcomes.entry(outcome.label()).or_default() += count;
            all += count;
            failures += if failed(*outcome) { *count } else { 0 };
        }
        let limit = provider.limit.and_then(|limit| {
            // Grants are made at run time, never by the configuration.
            let Ceiling::Flow { qps, burst } = limit.ceiling else { return None };
            let standing = coordinator.shared.limit(limit.id).standing(now);
            Some(LimitItem { qps, burst, remaining: standing.remaining })
        });
        Some(Provider {
            name: configured.name.clone(),
            base_url: configured.base_url.to_string(),
            models: configured.models.clone(),
            state: coordinator.shared.breaker(provider.breaker).state(now).name(),
            limit,
            attempts: all,
            failures,
            outcomes,
        })
    });
    json(200, &Providers { items: items.collect() })
}

/// A kept connection that was closed meanwhile and a caller who left say nothing about the provider.
fn failed(outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Answered | AttemptOutcome::Stale | AttemptOutcome::Abandoned => false,
        AttemptOutcome::Unreachable
        | AttemptOutcome::TimedOut
        | AttemptOutcome::Broken
        | AttemptOutcome::ServerError => true,
    }
}

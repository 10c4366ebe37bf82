//! `GET /api/providers`: each provider with its circuit breaker, its rate limit and how attempts at it ended. It shows no key,
//! and no URL holds one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::limit::Ceiling;
use crate::link::AttemptOutcome;

/// All providers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Providers")]
pub(crate) struct ProviderList {
    /// In the order of the configuration.
    items: Vec<ProviderItem>,
}

/// A provider and its state.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
struct ProviderItem {
    name: String,
    base_url: String,
    /// Names and patterns, as configured.
    models: Vec<String>,
    /// State of its circuit breaker: closed, open or half_open.
    #[schemars(extend("enum" = ["closed", "open", "half_open"]))]
    state: &'static str,
    /// `null` if it has none.
    limit: Option<LimitItem>,
    /// Attempts since the process started.
    attempts: u64,
    /// Attempts that failed because of the provider.
    failures: u64,
    /// Attempts by outcome.
    outcomes: BTreeMap<&'static str, u64>,
}

/// A provider's rate limit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limit")]
struct LimitItem {
    qps: f64,
    burst: u32,
    /// Requests that may start right now.
    remaining: u32,
}

/// `GET /api/providers`.
pub(crate) fn answer(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    let (plan, now) = (state.plans.running(), state.clock.now());
    let config = state.running.config();
    let attempts = &state.totals.total().attempts;
    let items = config.providers.iter().filter_map(|configured| {
        let provider = plan.provider(&configured.name)?;
        let mut outcomes = BTreeMap::new();
        let (mut all, mut failures) = (0, 0);
        for ((_, outcome), count) in attempts.iter().filter(|((label, _), _)| *label == provider.label) {
            *outcomes.entry(outcome.label()).or_default() += count;
            all += count;
            failures += if is_failure(*outcome) { *count } else { 0 };
        }
        let limit = provider.limit.and_then(|limit| {
            // Grants are made at run time, never by the configuration.
            let Ceiling::Flow { qps, burst } = limit.ceiling else { return None };
            let standing = state.shared.limit(limit.id).standing(now);
            Some(LimitItem { qps, burst, remaining: standing.remaining })
        });
        Some(ProviderItem {
            name: configured.name.clone(),
            base_url: configured.base_url.to_string(),
            models: configured.models.clone(),
            state: state.shared.breaker(provider.breaker).state(now).name(),
            limit,
            attempts: all,
            failures,
            outcomes,
        })
    });
    Ok(json(200, &ProviderList { items: items.collect() }).into())
}

/// Whether the provider failed. A pooled connection that it had closed and a caller that left say nothing about it.
fn is_failure(outcome: AttemptOutcome) -> bool {
    match outcome {
        AttemptOutcome::Answered | AttemptOutcome::Stale | AttemptOutcome::Abandoned => false,
        AttemptOutcome::Unreachable
        | AttemptOutcome::TimedOut
        | AttemptOutcome::Broken
        | AttemptOutcome::ServerError => true,
    }
}

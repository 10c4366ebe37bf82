//! `GET /api/policies` and `GET /api/policies/{id}`: the policies with the number of their matches. Policies are in memory; the
//! matches over time come from the store, on the reader's thread, and are left out if it does not answer in time.

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Now;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::coordinator::store::StoreError;
use crate::coordinator::store::reader::TimeRange;
use crate::link::ApiAnswer;
use crate::plan::Plan;
use crate::policy::Policy;

/// Hours of a policy's matches that are shown.
const HOURS: u64 = 24;
const HOUR_MS: u64 = 3_600_000;
/// Longest part of an unknown id that an error repeats. Arbitrary.
const ID_CHARS_SHOWN: usize = 64;

/// A policy and how it is doing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(crate) struct PolicyItem {
    #[serde(flatten)]
    policy: Policy,
    /// Matches since the process started, counted by the policy's name.
    matches: u64,
    /// Failures since the process started, counted by the policy's name.
    errors: u64,
    /// Settings that are valid but probably a mistake.
    warnings: Vec<String>,
    /// Matches in each hour of the last day, the current hour last. Absent if the storage did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<u64>>,
}

/// All policies.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policies")]
pub(crate) struct PolicyList {
    items: Vec<PolicyItem>,
}

/// `GET /api/policies`.
pub(crate) fn all(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    state.keeper.store().ok_or_else(ApiError::storage_off)?;
    let items = state.policies.all().iter().map(|policy| item(state, policy)).collect();
    Ok(with_series(items, state.clock.now(), |items| json(200, &PolicyList { items })))
}

/// `GET /api/policies/{id}`.
pub(crate) fn one(state: &mut State, Arguments { id, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    state.keeper.store().ok_or_else(ApiError::storage_off)?;
    let policy = state.policies.find(&id).ok_or_else(|| not_found(&id))?;
    let items = vec![item(state, policy)];
    Ok(with_series(items, state.clock.now(), |items| json(200, &items.first())))
}

/// A policy in an answer, without its matches over time.
pub(super) fn item(state: &State, policy: &Policy) -> PolicyItem {
    let plan = state.plans.running();
    let counts = state.totals.by_policy(&plan.labels);
    let count = counts.get(policy.name.as_str()).copied().unwrap_or_default();
    PolicyItem {
        policy: policy.clone(),
        matches: count.matches,
        errors: count.errors,
        warnings: warnings(policy, &plan),
        series: None,
    }
}

pub(super) fn not_found(id: &str) -> ApiError {
    StoreError::NotFound { id: id.chars().take(ID_CHARS_SHOWN).collect() }.into()
}

/// Adds the matches over time, if the store answers.
fn with_series(
    mut policies: Vec<PolicyItem>,
    now: Now,
    answer: impl FnOnce(Vec<PolicyItem>) -> ApiAnswer + Send + 'static,
) -> Reply {
    let end_ms = (now.wall_ms / HOUR_MS + 1) * HOUR_MS;
    let span = TimeRange { from_ms: end_ms.saturating_sub(HOURS * HOUR_MS), to_ms: end_ms };
    Reply::Read(Box::new(move |reader| {
        if let Ok(Ok(mut series)) = reader.map(|reader| reader.matches_over_time(span, HOUR_MS)) {
            for item in &mut policies {
                let none = || vec![0; HOURS as usize];
                item.series = Some(series.remove(&item.policy.id).unwrap_or_else(none));
            }
        }
        answer(policies)
    }))
}

fn warnings(policy: &Policy, plan: &Plan) -> Vec<String> {
    let unserved = policy.target_model.as_ref().filter(|target| plan.route(target).is_none());
    let target = unserved.map(|target| format!("no provider serves the target model `{target}`"));
    target.into_iter().collect()
}

//! `/api/policies`: what is stored, with how often it matched, and the ways to change it. When a change is answered, it is
//! durable and published: the next request on every shard meets it. It never changes a part of what it was asked to.

use schemars::JsonSchema;
use serde::Serialize;

use super::draft;
use crate::clock::Now;
use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::{Reply, json, nothing};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::governance::{ChangeError, POLICIES_MAX, stored};
use crate::coordinator::store::reader::TimeRange;
use crate::coordinator::store::{By, StoreError};
use crate::link::ApiAnswer;
use crate::plan::Plan;
use crate::policy::{Compiled, Failed, Policy};

/// A policy as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(crate) struct Shown {
    #[serde(flatten)]
    policy: Policy,
    /// Since the process started, by the policy's name.
    matches: u64,
    /// Likewise, how often it failed.
    errors: u64,
    /// What is allowed but probably not meant.
    warnings: Vec<String>,
    /// Matches in each hour of the last day, the running hour last. Absent where the storage did not tell in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Vec<u64>>,
}

/// All policies.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Policies")]
pub(crate) struct List {
    items: Vec<Shown>,
}

/// What came of reading all policies again: either all of them are compiled, or what ran before goes on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Reloaded {
    compiled: usize,
    failed: Vec<Failed>,
}

/// An empty object.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Hours of a policy's matches that are shown.
const HOURS: u64 = 24;
const HOUR_MS: u64 = 3_600_000;

/// `GET /api/policies`.
pub(crate) fn list(coordinator: &Coordinator) -> Result<Reply, ApiError> {
    stored_somewhere(coordinator)?;
    let items = coordinator.governance.policies().iter().map(|policy| shown(coordinator, policy)).collect();
    Ok(with_series(items, coordinator.clock.now(), |items| json(200, &List { items })))
}

/// `GET /api/policies/{id}`.
pub(crate) fn one(coordinator: &Coordinator, id: &str) -> Result<Reply, ApiError> {
    stored_somewhere(coordinator)?;
    let policy = coordinator.governance.policy(id).ok_or_else(|| unknown(id))?;
    let shown = vec![shown(coordinator, policy)];
    Ok(with_series(shown, coordinator.clock.now(), |shown| json(200, &shown.first())))
}

/// Adds the series, where they can be had: policies are in memory, and are shown in any case.
fn with_series(
    mut policies: Vec<Shown>,
    now: Now,
    answer: impl FnOnce(Vec<Shown>) -> ApiAnswer + Send + 'static,
) -> Reply {
    let end_ms = (now.wall_ms / HOUR_MS + 1) * HOUR_MS;
    let span = TimeRange { from_ms: end_ms.saturating_sub(HOURS * HOUR_MS), to_ms: end_ms };
    Reply::Read(Box::new(move |reader| {
        if let Ok(Ok(mut series)) = reader.map(|reader| reader.matches_over_time(span, HOUR_MS)) {
            for shown in &mut policies {
                let none = || vec![0; HOURS as usize];
                shown.series = Some(series.remove(&shown.policy.id).unwrap_or_else(none));
            }
        }
        answer(policies)
    }))
}

/// `POST /api/policies`.
pub(crate) fn create(coordinator: &mut Coordinator, body: &[u8], actor: &str) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    let draft = draft::read(body)?;
    if coordinator.governance.policies().len() >= POLICIES_MAX {
        let message = format!("There are {POLICIES_MAX} policies, and there may be no more; delete one.");
        return Err(ApiError::bad("too_many_policies", message));
    }
    let now = coordinator.clock.now();
    let row = stored(draft, drawn_id()?, now);
    let by = By { actor, at_ms: now.wall_ms };
    let put = coordinator.governance.put(&row, |store| store.insert_policy(&row, by).map(|()| row.clone()));
    let (policy, compiled) = put.map_err(refused)?;
    coordinator.publish_policies(compiled);
    let mut answer = json(201, &shown(coordinator, &policy));
    answer.headers.push(("Location", format!("/api/policies/{}", policy.id)));
    Ok(answer)
}

/// `PUT /api/policies/{id}`: what the body does not say has its default.
pub(crate) fn replace(
    coordinator: &mut Coordinator,
    id: &str,
    body: &[u8],
    actor: &str,
) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    coordinator.governance.policy(id).ok_or_else(|| unknown(id))?;
    let now = coordinator.clock.now();
    let row = stored(draft::read(body)?, id.to_owned(), now);
    let by = By { actor, at_ms: now.wall_ms };
    let put = coordinator.governance.put(&row, |store| store.update_policy(&row, by));
    let (policy, compiled) = put.map_err(refused)?;
    coordinator.publish_policies(compiled);
    Ok(json(200, &shown(coordinator, &policy)))
}

/// `DELETE /api/policies/{id}`.
pub(crate) fn delete(coordinator: &mut Coordinator, id: &str, body: &[u8], actor: &str) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    body::no_body(body)?;
    coordinator.governance.policy(id).ok_or_else(|| unknown(id))?;
    let by = By { actor, at_ms: coordinator.clock.now().wall_ms };
    let compiled = coordinator.governance.remove(id, |store| store.delete_policy(id, by)).map_err(refused)?;
    coordinator.publish_policies(compiled);
    Ok(nothing(Vec::new()))
}

/// `POST /api/policies/reload`: as another program may have left them.
pub(crate) fn reload(coordinator: &mut Coordinator, body: &[u8]) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    body::no_body(body)?;
    let (compiled, failed): (usize, Vec<Failed>) = match coordinator.governance.reread() {
        Ok(compiled) => {
            let count = compiled.policies().len();
            coordinator.publish_policies(compiled);
            (count, Vec::new())
        }
        // All or none: what ran before goes on.
        Err(ChangeError::Failed(failed)) => (0, failed),
        Err(other) => return Err(refused(other)),
    };
    Ok(json(200, &Reloaded { compiled, failed }))
}

fn shown(coordinator: &Coordinator, policy: &Policy) -> Shown {
    let plan = coordinator.plans.running();
    let counts = coordinator.ledger.by_policy(&plan.labels);
    let count = counts.get(policy.name.as_str()).copied().unwrap_or_default();
    Shown {
        policy: policy.clone(),
        matches: count.matches,
        errors: count.errors,
        warnings: warnings(policy, &plan),
        series: None,
    }
}

fn warnings(policy: &Policy, plan: &Plan) -> Vec<String> {
    let nowhere = policy.target_model.as_ref().filter(|target| plan.route(target).is_none());
    let target = nowhere.map(|target| format!("no provider serves the target model `{target}`"));
    target.into_iter().collect()
}

fn stored_somewhere(coordinator: &Coordinator) -> Result<(), ApiError> {
    coordinator.governance.store().map(|_| ()).ok_or_else(ApiError::storage_off)
}

fn unknown(id: &str) -> ApiError {
    StoreError::NotFound { id: id.chars().take(ID_CHARS_SHOWN).collect() }.into()
}

fn refused(error: ChangeError) -> ApiError {
    match error {
        ChangeError::Off => ApiError::storage_off(),
        ChangeError::Store(error) => {
            if error.fault().is_some() {
                tracing::error!(%error, "a change of a policy was not stored");
            }
            error.into()
        }
        // The draft was checked: it is another one, or the machine gives no thread.
        ChangeError::Failed(failed) => {
            let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
            ApiError::unavailable("policies_do_not_compile", format!("Nothing was changed: {}.", failed.join("; ")))
        }
    }
}

/// `pol_` and 16 hexadecimal digits.
fn drawn_id() -> Result<String, ApiError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| ApiError::unavailable("overloaded", format!("The system gives no random bytes: {error}.")))?;
    Ok(format!("pol_{:016x}", u64::from_be_bytes(bytes)))
}

/// Of an id that nobody has. Arbitrary.
const ID_CHARS_SHOWN: usize = 64;

impl Coordinator {
    /// Makes `compiled` what the next request of every shard is judged by.
    fn publish_policies(&mut self, compiled: Compiled) {
        let plan = self.plans.running().with_policies(compiled.into());
        self.plans.publish(plan, &mut self.resolver, self.clock.now());
    }
}

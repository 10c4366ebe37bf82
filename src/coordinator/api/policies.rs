//! `/api/policies`: what is stored, with how often it matched, and the ways to change it. When a change is answered, it is
//! durable and published: the next request on every shard meets it. It never changes a part of what it was asked to.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json as value};

use super::draft;
use super::error::{ApiError, Detail};
use super::{input, json};
use crate::coordinator::Coordinator;
use crate::coordinator::governance::{ChangeError, POLICIES_MAX, stored};
use crate::coordinator::store::{By, StoreError};
use crate::coordinator::trial::{Given, Trial};
use crate::link::ApiAnswer;
use crate::plan::Plan;
use crate::policy::{Action, Compiled, Downgrades, Failed, Policy, Repriced};

/// A policy as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    policy: &'a Policy,
    /// Since the process started, by the policy's name.
    matches: u64,
    /// Likewise, how often it failed.
    errors: u64,
    /// What is allowed but probably not meant.
    warnings: Vec<String>,
}

/// `GET /api/policies`.
pub(super) fn list(coordinator: &Coordinator) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    Ok(json(200, &value!({ "items": shown(coordinator, coordinator.governance.policies()) })))
}

/// `GET /api/policies/{id}`.
pub(super) fn one(coordinator: &Coordinator, id: &str) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    let policy = coordinator.governance.policy(id).ok_or_else(|| unknown(id))?;
    Ok(json(200, &only(coordinator, policy)))
}

/// `POST /api/policies`.
pub(super) fn create(coordinator: &mut Coordinator, body: &[u8], actor: &str) -> Result<ApiAnswer, ApiError> {
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
    let mut answer = json(201, &only(coordinator, &policy));
    answer.headers.push(("Location", format!("/api/policies/{}", policy.id)));
    Ok(answer)
}

/// `PUT /api/policies/{id}`: what the body does not say has its default.
pub(super) fn replace(
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
    Ok(json(200, &only(coordinator, &policy)))
}

/// `DELETE /api/policies/{id}`.
pub(super) fn delete(coordinator: &mut Coordinator, id: &str, body: &[u8], actor: &str) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    input::no_body(body)?;
    coordinator.governance.policy(id).ok_or_else(|| unknown(id))?;
    let by = By { actor, at_ms: coordinator.clock.now().wall_ms };
    let compiled = coordinator.governance.remove(id, |store| store.delete_policy(id, by)).map_err(refused)?;
    coordinator.publish_policies(compiled);
    Ok(ApiAnswer { status: 204, content_type: super::JSON, headers: Vec::new(), body: Vec::new(), stream: None })
}

/// `POST /api/policies/reload`: as another program may have left them.
pub(super) fn reload(coordinator: &mut Coordinator, body: &[u8]) -> Result<ApiAnswer, ApiError> {
    stored_somewhere(coordinator)?;
    input::no_body(body)?;
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
    Ok(json(200, &value!({ "compiled": compiled, "failed": failed })))
}

/// `POST /api/policies/test`.
pub(super) fn test(coordinator: &Coordinator, body: &[u8]) -> Result<ApiAnswer, ApiError> {
    let mut fields = input::object(body)?;
    let mut problems = Vec::new();
    let expression: Option<String> = take(&mut fields, "expression", &mut problems);
    let action = take(&mut fields, "action", &mut problems).unwrap_or(Action::Alert);
    let target_model: Option<String> = take(&mut fields, "target_model", &mut problems);
    let vars: Map<String, Value> = take(&mut fields, "vars", &mut problems).unwrap_or_default();
    let detail = |param: String, message: String| Detail { param, message, position: None };
    problems.extend(fields.into_iter().map(|(name, _)| detail(name, "there is no such field here".into())));
    if expression.is_none() && problems.iter().all(|problem| problem.param != "expression") {
        problems.push(detail("expression".into(), "is missing".into()));
    }
    let given = Given::new(&vars, coordinator.clock.now()).unwrap_or_else(|wrong| {
        problems.extend(wrong.into_iter().map(|error| detail(format!("vars.{}", error.name), error.message)));
        Given::default()
    });
    let trial = Trial { expression: expression.unwrap_or_default(), action, target_model };
    let plan = coordinator.plans.running();
    match trial.run(&given, &AsPlanned(&plan)) {
        Ok(outcome) if problems.is_empty() => Ok(json(200, &outcome)),
        Err(error) if !trial.expression.is_empty() => {
            let position = error.position;
            problems.push(Detail { param: "expression".into(), message: error.message, position });
            Err(ApiError::fields(problems))
        }
        _ => Err(ApiError::fields(problems)),
    }
}

/// A field of its type; one that is not is a problem, `null` is one that is absent.
fn take<T: serde::de::DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    problems: &mut Vec<Detail>,
) -> Option<T> {
    let found = fields.remove(name).filter(|value| !value.is_null())?;
    let taken = serde_json::from_value(found);
    taken
        .map_err(|error| problems.push(Detail { param: name.to_owned(), message: error.to_string(), position: None }))
        .ok()
}

/// Downgrades as the running plan makes them.
struct AsPlanned<'a>(&'a Plan);

impl Downgrades for AsPlanned<'_> {
    fn target(&self, model: &str) -> Option<Cow<'_, str>> {
        self.0.provider_of(model)?.downgrade(model).map(Cow::Borrowed)
    }

    fn is_served(&self, model: &str) -> bool {
        self.0.route(model).is_some()
    }

    fn reprice(&self, model: &str) -> Repriced<'_> {
        // No policy comes after the one that is tried.
        let provider = self.0.provider_of(model).map_or("", |provider| &provider.name);
        Repriced { provider: provider.into(), est_cost_usd: 0.0 }
    }
}

fn shown<'a>(coordinator: &Coordinator, policies: &'a [Policy]) -> Vec<Shown<'a>> {
    let plan = coordinator.plans.running();
    let counts = coordinator.ledger.by_policy(&plan.labels);
    let each = policies.iter().map(|policy| {
        let count = counts.get(policy.name.as_str()).copied().unwrap_or_default();
        Shown { policy, matches: count.matches, errors: count.errors, warnings: warnings(policy, &plan) }
    });
    each.collect()
}

fn only(coordinator: &Coordinator, policy: &Policy) -> Value {
    let [shown] = &shown(coordinator, std::slice::from_ref(policy))[..] else { return Value::Null };
    serde_json::to_value(shown).unwrap_or_default()
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
        self.plans.publish(plan, &mut self.resolver);
    }
}

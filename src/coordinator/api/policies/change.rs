//! Creates, replaces, deletes and reloads policies. Once a change is answered it is durable and published: the next request on
//! every shard is judged by it. A change is made as a whole or not at all.

use schemars::JsonSchema;
use serde::Serialize;

use super::draft;
use super::list::{item, not_found};
use crate::coordinator::api::shape::answer::{Reply, json, no_content};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::policies::{ChangeError, POLICIES_MAX, row};
use crate::coordinator::state::State;
use crate::coordinator::store::By;
use crate::policy::{Compiled, Failed};

/// The outcome of reading all policies again: all of them compiled, or what was in force stays.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
pub(crate) struct ReloadAnswer {
    compiled: usize,
    failed: Vec<Failed>,
}

/// `POST /api/policies`.
pub(crate) fn create(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let store = state.keeper.store_mut().ok_or_else(ApiError::storage_off)?;
    let draft = draft::read(arguments.body())?;
    if state.policies.all().len() >= POLICIES_MAX {
        let message = format!("There are {POLICIES_MAX} policies, and there may be no more; delete one.");
        return Err(ApiError::bad("too_many_policies", message));
    }
    let now = state.clock.now();
    let row = row(draft, draw_id()?, now);
    let by = By { actor: &arguments.actor, at_ms: now.wall_ms };
    let put = state.policies.put(&row, || store.insert_policy(&row, by).map(|()| row.clone()));
    let (policy, compiled) = put.map_err(refusal)?;
    publish(state, compiled);
    let mut answer = json(201, &item(state, &policy));
    answer.headers.push(("Location", format!("/api/policies/{}", policy.id)));
    Ok(answer.into())
}

/// `PUT /api/policies/{id}`. Fields that the body does not have get their defaults.
pub(crate) fn replace(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let store = state.keeper.store_mut().ok_or_else(ApiError::storage_off)?;
    let id = &arguments.id;
    state.policies.find(id).ok_or_else(|| not_found(id))?;
    let now = state.clock.now();
    let row = row(draft::read(arguments.body())?, id.clone(), now);
    let by = By { actor: &arguments.actor, at_ms: now.wall_ms };
    let put = state.policies.put(&row, || store.update_policy(&row, by));
    let (policy, compiled) = put.map_err(refusal)?;
    publish(state, compiled);
    Ok(json(200, &item(state, &policy)).into())
}

/// `DELETE /api/policies/{id}`.
pub(crate) fn delete(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let store = state.keeper.store_mut().ok_or_else(ApiError::storage_off)?;
    body::expect_empty(arguments.body())?;
    let id = &arguments.id;
    state.policies.find(id).ok_or_else(|| not_found(id))?;
    let by = By { actor: &arguments.actor, at_ms: state.clock.now().wall_ms };
    let compiled = state.policies.remove(id, || store.delete_policy(id, by)).map_err(refusal)?;
    publish(state, compiled);
    Ok(no_content(Vec::new()).into())
}

/// `POST /api/policies/reload`: reads all policies again, as another program may have changed them.
pub(crate) fn reload(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let store = state.keeper.store().ok_or_else(ApiError::storage_off)?;
    body::expect_empty(arguments.body())?;
    let (compiled, failed): (usize, Vec<Failed>) = match state.policies.reread(store) {
        Ok(compiled) => {
            let count = compiled.policies().len();
            publish(state, compiled);
            (count, Vec::new())
        }
        Err(ChangeError::Failed(failed)) => (0, failed),
        Err(other) => return Err(refusal(other)),
    };
    Ok(json(200, &ReloadAnswer { compiled, failed }).into())
}

/// Publishes a plan with these policies.
fn publish(state: &mut State, compiled: Compiled) {
    let plan = state.plans.running().with_policies(compiled.into());
    state.plans.publish(plan, &mut state.resolver, state.clock.now());
}

fn refusal(error: ChangeError) -> ApiError {
    match error {
        ChangeError::Store(error) => {
            if error.fault().is_some() {
                tracing::error!(%error, "could not store a change of a policy");
            }
            error.into()
        }
        // The draft itself was checked, so another policy fails, or the machine has no thread for the compiler.
        ChangeError::Failed(failed) => {
            let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
            ApiError::unavailable("policies_do_not_compile", format!("Nothing was changed: {}.", failed.join("; ")))
        }
    }
}

/// Draws an id: `pol_` and 16 hexadecimal digits.
fn draw_id() -> Result<String, ApiError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(ApiError::no_random_bytes)?;
    Ok(format!("pol_{:016x}", u64::from_be_bytes(bytes)))
}

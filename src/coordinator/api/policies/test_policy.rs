//! `POST /api/policies/test`: an expression, tried on a made-up request, or on stored ones. Compiled on the coordinator, as
//! a policy is; stored requests are judged on the reader's thread. It never stores anything.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::{ApiError, Detail};
use crate::coordinator::replay::{LAST_MAX, replay};
use crate::coordinator::try_expression::{GivenVariables, Trial};
use crate::plan::Plan;
use crate::policy::{Action, Downgrades, Repriced};

/// What is tried, and on what.
#[derive(JsonSchema)]
#[schemars(rename = "PolicyTrial", deny_unknown_fields)]
#[allow(dead_code, reason = "its schema alone is used: the fields are read one by one, so that every mistake is told")]
pub(crate) struct Test {
    expression: String,
    /// alert if absent.
    action: Option<Action>,
    target_model: Option<String>,
    /// Variables of a made-up request; others are as in a request without them. Not beside `last`.
    vars: Option<Map<String, Value>>,
    /// Judge so many of the newest stored requests instead.
    #[schemars(range(min = 1, max = 1000))]
    last: Option<u32>,
}

/// A body, as far as it is good.
#[derive(Default)]
struct Read {
    trial: Option<Trial>,
    given: GivenVariables,
    last: Option<u32>,
    problems: Vec<Detail>,
}

/// Answers with a verdict, or with a replay.
pub(crate) fn answer(coordinator: &Coordinator, body: &[u8]) -> Result<Reply, ApiError> {
    let Read { trial, given, last, mut problems } = read(body, coordinator)?;
    let plan = coordinator.plans.running();
    let compiled = trial.as_ref().map(Trial::compile).transpose();
    if let Err(error) = &compiled {
        let position = error.position;
        problems.push(Detail { param: "expression".into(), message: error.message.clone(), position });
    }
    let (Some(trial), Ok(Some(compiled)), true) = (trial, compiled, problems.is_empty()) else {
        return Err(ApiError::fields(problems));
    };
    let Some(last) = last else {
        return Ok(json(200, &trial.verdict(&compiled, &given, &AsPlanned(plan))).into());
    };
    Ok(Reply::read(move |reader| {
        let rows = reader.newest_requests(last)?;
        let prices = plan.clone();
        let price = move |model: &str, usage: &_| {
            let price = prices.route(model).and_then(|route| route.price);
            price.and_then(|id| prices.price(id)).map(|price| price.cost(usage))
        };
        Ok(json(200, &replay(&trial, &compiled, &rows, &AsPlanned(plan), &price)))
    }))
}

fn read(body: &[u8], coordinator: &Coordinator) -> Result<Read, ApiError> {
    let mut fields = body::object(body)?;
    let mut problems = Vec::new();
    let expression: Option<String> = take(&mut fields, "expression", &mut problems);
    let action = take(&mut fields, "action", &mut problems).unwrap_or(Action::Alert);
    let target_model: Option<String> = take(&mut fields, "target_model", &mut problems);
    let vars: Option<Map<String, Value>> = take(&mut fields, "vars", &mut problems);
    let last: Option<u32> = take(&mut fields, "last", &mut problems);
    let mut complain = |param: &str, message: String| {
        problems.push(Detail { param: param.to_owned(), message, position: None });
    };
    if last.is_some_and(|last| !(1..=LAST_MAX).contains(&last)) {
        complain("last", format!("must be a whole number from 1 to {LAST_MAX}"));
    }
    if last.is_some() && vars.as_ref().is_some_and(|vars| !vars.is_empty()) {
        complain("vars", "goes with a made-up request, not with stored ones".into());
    }
    fields.keys().for_each(|name| complain(name, "there is no such field here".into()));
    let given = GivenVariables::new(&vars.unwrap_or_default(), coordinator.clock.now()).unwrap_or_else(|wrong| {
        wrong.into_iter().for_each(|error| complain(&format!("vars.{}", error.name), error.message));
        GivenVariables::default()
    });
    if expression.is_none() && problems.iter().all(|problem| problem.param != "expression") {
        problems.push(Detail { param: "expression".into(), message: "is missing".into(), position: None });
    }
    let trial = expression.map(|expression| Trial { expression, action, target_model });
    Ok(Read { trial, given, last, problems })
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
struct AsPlanned(Arc<Plan>);

impl Downgrades for AsPlanned {
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

//! `POST /api/policies/test`: tries an expression on a made-up request or on stored ones. The coordinator compiles it, like a
//! policy; the reader's thread judges stored requests by it. It stores nothing.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::clock::Now;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::body;
use crate::coordinator::api::shape::error::{ApiError, ErrorDetail};
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::replay::{LAST_MAX, replay};
use crate::coordinator::state::State;
use crate::coordinator::try_expression::{GivenVariables, Trial};
use crate::plan::Plan;
use crate::policy::{Action, Downgrades, Repriced};

/// An expression and the requests to try it on.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used: fields are read one by one, to report every mistake")]
pub(crate) struct PolicyTrial {
    expression: String,
    /// alert if absent.
    action: Option<Action>,
    target_model: Option<String>,
    /// Variables of a made-up request; absent ones have the values of an empty request. Not together with `last`.
    vars: Option<Map<String, Value>>,
    /// Number of the newest stored requests to judge instead.
    #[schemars(range(min = 1, max = 1000))]
    last: Option<u32>,
}

/// The good parts of a body, and its mistakes.
#[derive(Default)]
struct ParsedBody {
    trial: Option<Trial>,
    given: GivenVariables,
    last: Option<u32>,
    problems: Vec<ErrorDetail>,
}

/// `POST /api/policies/test`. Answers with a verdict, or with a replay of stored requests.
pub(crate) fn answer(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let ParsedBody { trial, given, last, mut problems } = read(arguments.body(), state.clock.now())?;
    let plan = state.plans.running();
    let compiled = trial.as_ref().map(Trial::compile).transpose();
    if let Err(error) = &compiled {
        let position = error.position;
        problems.push(ErrorDetail { param: "expression".into(), message: error.message.clone(), position });
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

fn read(body: &[u8], now: Now) -> Result<ParsedBody, ApiError> {
    let mut fields = body::object(body)?;
    let mut problems = Vec::new();
    let expression: Option<String> = take(&mut fields, "expression", &mut problems);
    let action = take(&mut fields, "action", &mut problems).unwrap_or(Action::Alert);
    let target_model: Option<String> = take(&mut fields, "target_model", &mut problems);
    let vars: Option<Map<String, Value>> = take(&mut fields, "vars", &mut problems);
    let last: Option<u32> = take(&mut fields, "last", &mut problems);
    let mut complain = |param: &str, message: String| problems.push(ErrorDetail::new(param, message));
    if last.is_some_and(|last| !(1..=LAST_MAX).contains(&last)) {
        complain("last", format!("must be a whole number from 1 to {LAST_MAX}"));
    }
    if last.is_some() && vars.as_ref().is_some_and(|vars| !vars.is_empty()) {
        complain("vars", "describes a made-up request and cannot be combined with `last`".into());
    }
    fields.keys().for_each(|name| complain(name, "there is no such field here".into()));
    let given = GivenVariables::new(&vars.unwrap_or_default(), now).unwrap_or_else(|wrong| {
        wrong.into_iter().for_each(|error| complain(&format!("vars.{}", error.name), error.message));
        GivenVariables::default()
    });
    if expression.is_none() && problems.iter().all(|problem| problem.param != "expression") {
        problems.push(ErrorDetail::new("expression", "is missing"));
    }
    let trial = expression.map(|expression| Trial { expression, action, target_model });
    Ok(ParsedBody { trial, given, last, problems })
}

/// Removes a field and parses it. Reports a wrong type as a problem; `null` counts as absent.
fn take<T: serde::de::DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    problems: &mut Vec<ErrorDetail>,
) -> Option<T> {
    let found = fields.remove(name).filter(|value| !value.is_null())?;
    serde_json::from_value(found).map_err(|error| problems.push(ErrorDetail::new(name, error.to_string()))).ok()
}

/// Downgrades by the rules of the running plan.
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

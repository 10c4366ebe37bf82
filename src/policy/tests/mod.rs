//! Shared by the tests: functions that judge one expression or return its refusal, and routes with a fixed price list.

mod drafts;
mod expressions;
mod hostile;
mod rules;
mod semantics;

use std::borrow::Cow;

use super::*;
use crate::who::Who;

pub(super) struct Routes;

impl Downgrades for Routes {
    /// Only `gpt-4o` has a cheaper sibling.
    fn target(&self, model: &str) -> Option<Cow<'_, str>> {
        (model == "gpt-4o").then_some("gpt-4o-mini".into())
    }

    /// Every model except one is served.
    fn is_served(&self, model: &str) -> bool {
        model != "served-by-nobody"
    }

    fn reprice(&self, model: &str) -> Repriced<'_> {
        Repriced { provider: format!("of-{model}").into(), est_cost_usd: 0.001 }
    }
}

pub(super) fn policy(id: &str, priority: i64, action: Action, expression: &str) -> Policy {
    Policy {
        id: id.into(),
        name: id.into(),
        description: String::new(),
        expression: expression.into(),
        action,
        target_model: None,
        message: None,
        priority,
        enabled: true,
        mode: Mode::Enforce,
        created_at: String::new(),
        updated_at: String::new(),
    }
}

/// A request that suits the examples: user u, model gpt-4o, all usage low.
pub(super) fn request() -> Inputs<'static> {
    Inputs {
        model: "gpt-4o",
        who: Who { tenant: "t", user: "u", agent: "a" },
        provider: "openai",
        endpoint: "/v1/chat/completions",
        request_count: 1,
        est_cost_usd: 0.01,
        ..Inputs::default()
    }
}

pub(super) fn judge(policies: &[Policy], inputs: &Inputs<'_>) -> Verdict {
    let compiled = Compiled::new(policies).unwrap_or_else(|failed| panic!("{failed:?}"));
    Evaluator::new().judge(&compiled, inputs, &Routes)
}

/// Returns whether `expression` holds for a request, or the kind of fault that it fails with.
pub(super) fn holds(expression: &str, inputs: &Inputs<'_>) -> Result<bool, FaultKind> {
    let verdict = judge(&[policy("p", 0, Action::Alert, expression)], inputs);
    match verdict.errors.first() {
        Some(fault) => Err(fault.kind),
        None => Ok(!verdict.matches.is_empty()),
    }
}

/// Returns the error that `expression` is refused with. Panics if it is accepted.
pub(super) fn refusal(expression: &str) -> ExpressionError {
    match check_expression(expression) {
        Ok(_) => panic!("{expression} is let through"),
        Err(error) => error,
    }
}

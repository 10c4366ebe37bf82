//! Tries one expression on given variables, for `POST /api/policies/test` and `luner policy test`. Runs on the coordinator or in
//! the command line; uses the code that judges live requests. It never touches a stored policy.

use chrono::DateTime;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::Now;
use crate::policy::{
    Action, CelType, Compiled, Downgrades, Evaluator, ExpressionError, FaultKind, Inputs, Mode, Note, Policy, Variable,
    Variables,
};
use crate::who::{Who, WhoPart};

/// The policy to try.
#[derive(Clone, Debug)]
pub struct Trial {
    pub expression: String,
    pub action: Action,
    pub target_model: Option<String>,
}

/// The result of a trial.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Verdict")]
pub struct TrialOutcome {
    /// True if the expression is true.
    pub matched: bool,
    /// What an enforced policy would do to the request.
    pub verdict: Effect,
    /// The model that the request would use; `null` if it is blocked.
    pub model: Option<String>,
    /// Why a match has an effect or not; `null` without a match.
    pub note: Option<Note>,
    /// How the expression failed at run time. It then does not match, and a policy that blocks would block.
    pub error: Option<FaultKind>,
    /// The variables that the expression reads.
    #[schemars(with = "Vec<String>")]
    pub variables: Variables,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Allow,
    Alert,
    Downgrade,
    Block,
}

/// A given variable with a wrong name or value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct VariableError {
    pub name: String,
    pub message: String,
}

/// The variables of a trial: the given ones, and for the others [`Inputs::default`] at the time of the trial.
#[derive(Clone, Debug, Default)]
pub struct GivenVariables {
    inputs: Inputs<'static>,
    model: String,
    who: Who<String>,
    provider: String,
    endpoint: String,
}

impl GivenVariables {
    /// Reads variables by name, as JSON values; `now` is an RFC 3339 text.
    ///
    /// # Errors
    /// Every name that is not a variable, and every value that has not the variable's type.
    pub fn new(vars: &Map<String, Value>, now: Now) -> Result<GivenVariables, Vec<VariableError>> {
        let inputs = Inputs { now_ms: now.wall_ms, ..Inputs::default() };
        let mut given = GivenVariables { inputs, ..GivenVariables::default() };
        let wrong = vars.iter().filter_map(|(name, value)| {
            let error = |message| VariableError { name: name.clone(), message };
            match Variable::from_name(name) {
                None => Some(error(format!("there is no such variable, only {}", variable_names()))),
                Some(variable) => given.set(variable, value).err().map(error),
            }
        });
        let wrong: Vec<VariableError> = wrong.collect();
        if wrong.is_empty() { Ok(given) } else { Err(wrong) }
    }

    fn set(&mut self, variable: Variable, value: &Value) -> Result<(), String> {
        let inputs = &mut self.inputs;
        match variable {
            Variable::Model => self.model = string(value)?,
            Variable::UserId => *self.who.get_mut(WhoPart::User) = string(value)?,
            Variable::TenantId => *self.who.get_mut(WhoPart::Tenant) = string(value)?,
            Variable::Agent => *self.who.get_mut(WhoPart::Agent) = string(value)?,
            Variable::Provider => self.provider = string(value)?,
            Variable::Endpoint => self.endpoint = string(value)?,
            Variable::RequestCount => inputs.request_count = int(value)?,
            Variable::TokensUsed => inputs.tokens_used = int(value)?,
            Variable::MaxTokens => inputs.max_tokens = int(value)?,
            Variable::EstInputTokens => inputs.est_input_tokens = int(value)?,
            Variable::CostUsd => inputs.cost_usd = double(value)?,
            Variable::Temperature => inputs.temperature = double(value)?,
            Variable::EstCostUsd => inputs.est_cost_usd = double(value)?,
            Variable::Stream => inputs.stream = value.as_bool().ok_or("must be true or false")?,
            Variable::Now => inputs.now_ms = time(value)?,
        }
        Ok(())
    }

    fn inputs(&self) -> Inputs<'_> {
        let GivenVariables { inputs, model, who, provider, endpoint } = self;
        Inputs { model, who: who.as_str(), provider, endpoint, ..*inputs }
    }
}

/// A value from the command line as JSON: in the variable's type if it can be read as such, otherwise as a string.
pub fn json_of(name: &str, text: &str) -> Value {
    match Variable::from_name(name).map(Variable::cel_type) {
        None | Some(CelType::String | CelType::Timestamp) => text.into(),
        Some(_) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

impl Trial {
    /// Judges a request with these variables by this policy.
    ///
    /// # Errors
    /// The expression is not valid in a policy; the error says where.
    pub fn run(&self, given: &GivenVariables, downgrades: &dyn Downgrades) -> Result<TrialOutcome, ExpressionError> {
        Ok(self.verdict(&self.compile()?, given, downgrades))
    }

    /// Like [`Trial::run`], with the policy that [`Trial::compile`] returned.
    pub(super) fn verdict(
        &self,
        compiled: &Compiled,
        given: &GivenVariables,
        downgrades: &dyn Downgrades,
    ) -> TrialOutcome {
        self.judge(&Evaluator::new(), compiled, &given.inputs(), downgrades)
    }

    /// Compiles the policy.
    ///
    /// # Errors
    /// The expression is not valid in a policy; the error says where.
    pub fn compile(&self) -> Result<Compiled, ExpressionError> {
        Compiled::new(&[self.policy()]).map_err(|failed| {
            let error = failed.into_iter().next().map(|failed| failed.error);
            error.unwrap_or(ExpressionError { message: "does not compile".into(), position: None })
        })
    }

    /// Judges a request by the policy that [`Trial::compile`] returned.
    pub(super) fn judge(
        &self,
        evaluator: &Evaluator,
        compiled: &Compiled,
        inputs: &Inputs<'_>,
        downgrades: &dyn Downgrades,
    ) -> TrialOutcome {
        let verdict = evaluator.judge(compiled, inputs, downgrades);
        let found = verdict.matches.first();
        let effect = match (verdict.blocked, &verdict.model, found) {
            (Some(_), ..) => Effect::Block,
            (None, Some(_), _) => Effect::Downgrade,
            (None, None, Some(alert)) if alert.action == Action::Alert => Effect::Alert,
            _ => Effect::Allow,
        };
        let model = (effect != Effect::Block).then(|| verdict.model.clone().unwrap_or_else(|| inputs.model.to_owned()));
        TrialOutcome {
            matched: found.is_some(),
            verdict: effect,
            model,
            note: found.map(|found| found.note),
            error: verdict.errors.first().map(|fault| fault.kind),
            variables: compiled.variables(),
        }
    }

    fn policy(&self) -> Policy {
        let Trial { expression, action, target_model } = self.clone();
        let (id, name, description, created_at, updated_at) = Default::default();
        #[rustfmt::skip]
        let policy = Policy {
            id, name, description, expression, action, target_model, message: None, priority: 0, enabled: true,
            mode: Mode::Enforce, created_at, updated_at,
        };
        policy
    }
}

fn variable_names() -> String {
    Variable::ALL.map(Variable::name).join(", ")
}

fn string(value: &Value) -> Result<String, String> {
    value.as_str().map(Into::into).ok_or_else(|| "must be a string".into())
}

fn int(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| "must be a whole number".into())
}

fn double(value: &Value) -> Result<f64, String> {
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| "must be a number".into())
}

/// Milliseconds since 1970.
fn time(value: &Value) -> Result<u64, String> {
    const FORM: &str = "must be a time such as 2026-01-31T12:00:00Z (RFC 3339), not before 1970";
    let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    time.and_then(|time| u64::try_from(time.timestamp_millis()).ok()).ok_or_else(|| FORM.into())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;
    use crate::policy::Repriced;

    struct Nowhere;

    impl Downgrades for Nowhere {
        fn target(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }

        fn is_served(&self, _: &str) -> bool {
            true
        }

        fn reprice(&self, _: &str) -> Repriced<'_> {
            Repriced { provider: "".into(), est_cost_usd: 0.0 }
        }
    }

    fn given(vars: Value) -> Result<GivenVariables, Vec<VariableError>> {
        let Value::Object(vars) = vars else { panic!("an object") };
        GivenVariables::new(&vars, Now { mono_ns: 0, wall_ms: 1_769_860_800_000 })
    }

    fn outcome(expression: &str, action: Action, target: Option<&str>, vars: Value) -> TrialOutcome {
        let trial = Trial { expression: expression.into(), action, target_model: target.map(Into::into) };
        trial.run(&given(vars).unwrap(), &Nowhere).unwrap()
    }

    #[test]
    fn every_variable_can_be_given() {
        let vars = json!({
            "model": "gpt-4o", "user_id": "u", "tenant_id": "t", "request_count": 7, "cost_usd": 1.5, "tokens_used": 9,
            "agent": "a", "provider": "p", "endpoint": "/v1/embeddings", "stream": true, "temperature": 0,
            "max_tokens": 3, "est_input_tokens": 4, "est_cost_usd": 0.25, "now": "2026-01-31T13:00:00+01:00",
        });
        assert_eq!(vars.as_object().unwrap().len(), Variable::ALL.len());
        let expression = "model == 'gpt-4o' && user_id == 'u' && tenant_id == 't' && request_count == 7 \
            && cost_usd == 1.5 && tokens_used == 9 && agent == 'a' && provider == 'p' \
            && endpoint == '/v1/embeddings' && stream && temperature == 0.0 && max_tokens == 3 \
            && est_input_tokens == 4 && est_cost_usd == 0.25 && now == timestamp('2026-01-31T12:00:00Z')";
        let outcome = outcome(expression, Action::Alert, None, vars);
        assert_eq!((outcome.matched, outcome.verdict), (true, Effect::Alert));
        assert_eq!(outcome.variables.iter().count(), Variable::ALL.len());
    }

    #[test]
    fn missing_variables_are_those_of_an_empty_request() {
        let expression = "model == '' && temperature == 1.0 && request_count == 0 && !stream \
            && now == timestamp('2026-01-31T12:00:00Z')";
        assert!(outcome(expression, Action::Alert, None, json!({})).matched);
    }

    #[test]
    fn each_wrong_variable_is_named() {
        let wrong = given(json!({
            "cost": 1, "request_count": 1.5, "max_tokens": "3", "stream": 1, "model": null, "cost_usd": "1",
            "now": "yesterday", "temperature": 0.5,
        }));
        let mut names: Vec<String> = wrong.unwrap_err().into_iter().map(|error| error.name).collect();
        names.sort();
        assert_eq!(names, ["cost", "cost_usd", "max_tokens", "model", "now", "request_count", "stream"]);
        assert!(given(json!({ "now": "1969-12-31T23:59:59Z" })).is_err());
        assert!(given(json!({ "now": 5 })).is_err());
        assert!(given(json!({ "request_count": 9_300_000_000_000_000_000_u64 })).is_err());
    }

    #[test]
    fn verdict_follows_the_action() {
        let vars = || json!({ "model": "gpt-4o" });
        let blocked = outcome("true", Action::Block, None, vars());
        assert_eq!((blocked.verdict, blocked.model), (Effect::Block, None));
        let swapped = outcome("true", Action::Downgrade, Some("gpt-4o-mini"), vars());
        assert_eq!((swapped.verdict, swapped.model.as_deref()), (Effect::Downgrade, Some("gpt-4o-mini")));
        let nowhere = outcome("true", Action::Downgrade, None, vars());
        assert_eq!((nowhere.verdict, nowhere.note), (Effect::Allow, Some(Note::NoTarget)));
        let missed = outcome("false", Action::Block, None, vars());
        assert_eq!((missed.matched, missed.verdict, missed.note), (false, Effect::Allow, None));
        assert_eq!(missed.model.as_deref(), Some("gpt-4o"));
        let failing = "1 / request_count > 0";
        let closed = outcome(failing, Action::Block, None, vars());
        assert_eq!((closed.matched, closed.verdict), (false, Effect::Block));
        assert_eq!(closed.error, Some(FaultKind::DivisionByZero));
        assert_eq!(outcome(failing, Action::Alert, None, vars()).verdict, Effect::Allow);
    }

    #[test]
    fn command_line_values_take_the_type_of_their_variable() {
        for (name, text, value) in [
            ("model", "4", json!("4")),
            ("now", "2026-01-31T12:00:00Z", json!("2026-01-31T12:00:00Z")),
            ("request_count", "4", json!(4)),
            ("cost_usd", "4.5", json!(4.5)),
            ("stream", "true", json!(true)),
            ("stream", "yes", json!("yes")),
            ("nothing", "1", json!("1")),
        ] {
            assert_eq!(json_of(name, text), value, "{name}={text}");
        }
    }
}

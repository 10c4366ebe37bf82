//! `GET /api/policies/language`: the variables and methods of policy expressions, for the console's editor. The same for
//! every process of one version. It never says what a variable's value is.

use schemars::JsonSchema;
use serde::Serialize;

use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::policy::{CelType, METHODS, PolicyMethod, Variable};

/// The names that an expression may use.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PolicyLanguage {
    variables: Vec<PolicyVariable>,
    methods: &'static [PolicyMethod],
}

/// A variable that an expression may read.
#[derive(Serialize, JsonSchema)]
struct PolicyVariable {
    name: &'static str,
    r#type: CelType,
    /// One line for completion and documentation.
    description: &'static str,
}

/// `GET /api/policies/language`.
pub(crate) fn answer(_: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    let variable = |variable: Variable| PolicyVariable {
        name: variable.name(),
        r#type: variable.cel_type(),
        description: variable.meaning(),
    };
    Ok(json(200, &PolicyLanguage { variables: Variable::ALL.map(variable).into(), methods: &METHODS }).into())
}

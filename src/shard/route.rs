//! Which provider answers. Pure; takes the evidence that a request was read and hands on the evidence that it has a way.

use std::sync::Arc;

use super::identify::Known;
use super::refusal::Refusal;
use crate::plan::{LabelId, Plan, Provider};

/// Evidence that a provider was found: only [`route`] makes one, and the upstream takes nothing else.
pub(super) struct Routed<'b> {
    /// The request as it was read.
    pub(super) known: Known<'b>,
    /// Who answers.
    pub(super) provider: Arc<Provider>,
    /// The model's label in metrics.
    pub(super) model: LabelId,
    _evidence: (),
}

/// Finds the provider of the model that the request names.
pub(super) fn route<'b>(known: Known<'b>, plan: &Plan) -> Result<Routed<'b>, Refusal> {
    let found =
        plan.route(&known.facts.model).and_then(|route| Some((plan.providers.get(route.provider)?, route.model)));
    match found {
        Some((provider, model)) => Ok(Routed { provider: provider.clone(), known, model, _evidence: () }),
        None => Err(Refusal::ModelNotFound { model: known.facts.model.into() }),
    }
}

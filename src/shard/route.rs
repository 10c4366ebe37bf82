//! Which provider answers. Pure; takes the evidence that a request was read and hands on the evidence that it has a way.

use std::sync::Arc;

use super::identify::Known;
use super::refusal::Refusal;
use crate::plan::{LabelId, Plan, Provider, Route};
use crate::pricing::PriceId;

/// Evidence that a provider was found: only [`route`] and [`Routed::to`] make one, and judging takes nothing else.
pub(super) struct Routed<'b> {
    /// The request as it was read.
    pub(super) known: Known<'b>,
    /// Who answers.
    pub(super) provider: Arc<Provider>,
    /// The effective model's label in metrics.
    pub(super) model: LabelId,
    /// What the effective model costs, if that is known.
    pub(super) price: Option<PriceId>,
    /// The model to use instead of the one that was asked for.
    instead: Option<Box<str>>,
}

/// Finds the provider of the model that the request names.
pub(super) fn route<'b>(known: Known<'b>, plan: &Plan) -> Result<Routed<'b>, Refusal> {
    match found(&known.facts.model, plan) {
        Some((provider, Route { model, price, .. })) => {
            Ok(Routed { provider: provider.clone(), known, model, price, instead: None })
        }
        None => Err(Refusal::ModelNotFound { model: known.facts.model.into() }),
    }
}

fn found<'p>(model: &str, plan: &'p Plan) -> Option<(&'p Arc<Provider>, Route)> {
    plan.route(model).and_then(|route| Some((plan.providers.get(route.provider)?, route)))
}

impl<'b> Routed<'b> {
    /// The same request to another model, if anyone answers for that.
    pub(super) fn to(self, model: &str, plan: &Plan) -> Routed<'b> {
        match found(model, plan) {
            Some((provider, Route { model: label, price, .. })) => {
                let provider = provider.clone();
                Routed { known: self.known, provider, model: label, price, instead: Some(model.into()) }
            }
            None => self,
        }
    }

    /// The effective model's name.
    pub(super) fn model_name(&self) -> &str {
        self.instead.as_deref().unwrap_or(&self.known.facts.model)
    }

    /// The model to use instead of the one that the body names.
    pub(super) fn instead(&self) -> Option<&str> {
        self.instead.as_deref()
    }
}

//! Finds the providers that serve the requested model. Pure; takes the evidence that a request was read and hands on the
//! evidence that a provider serves it.

use super::identify::Identified;
use crate::plan::{LabelId, Plan, Provider, Route};
use crate::pricing::PriceId;
use crate::shard::answer::refusal::Refusal;

/// Evidence that a provider was found: only [`route`] and [`Routed::reroute`] make one.
pub(crate) struct Routed<'b, 'p> {
    /// The request as it was read.
    pub(crate) request: Identified<'b>,
    /// The first provider to ask.
    pub(crate) provider: &'p Provider,
    /// Every provider that may be asked.
    pub(crate) targets: Targets,
    /// The effective model's label in metrics.
    pub(crate) model: LabelId,
    /// What the effective model costs, if that is known.
    pub(crate) price: Option<PriceId>,
    /// The model to use instead of the one in the body.
    replacement: Option<Box<str>>,
}

/// The providers that a request may go to, in the order in which to try them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    /// The provider group's index in the plan.
    group: usize,
    /// The group member that was drawn to come first.
    first: usize,
}

impl Targets {
    pub(crate) fn len(self, plan: &Plan) -> usize {
        plan.group(self.group).map_or(0, |group| group.len())
    }

    /// The provider to try at position `step`, counted from 0.
    pub(crate) fn provider(self, step: usize, plan: &Plan) -> Option<&Provider> {
        plan.provider_in_group(self.group, self.first, step)
    }
}

/// Finds the providers of the model that the request names. `draw` is random: it spreads the load over a group.
pub(crate) fn route<'b, 'p>(request: Identified<'b>, plan: &'p Plan, draw: u32) -> Result<Routed<'b, 'p>, Refusal> {
    match find(&request.facts.model, plan, draw) {
        Some((targets, provider, Route { model, price, .. })) => {
            Ok(Routed { provider, targets, request, model, price, replacement: None })
        }
        None => Err(Refusal::ModelNotFound { model: request.facts.model.into() }),
    }
}

/// The providers that serve `model`, and the first of them to ask.
pub(crate) fn find<'p>(model: &str, plan: &'p Plan, draw: u32) -> Option<(Targets, &'p Provider, Route)> {
    let route = plan.route(model)?;
    let targets = Targets { group: route.group, first: plan.group(route.group)?.first(draw) };
    Some((targets, targets.provider(0, plan)?, route))
}

impl<'b, 'p> Routed<'b, 'p> {
    /// Sends the request to another model. Unchanged if no provider serves that model.
    pub(crate) fn reroute(self, model: &str, plan: &'p Plan, draw: u32) -> Routed<'b, 'p> {
        match find(model, plan, draw) {
            Some((targets, provider, Route { model: label, price, .. })) => {
                let replacement = Some(model.into());
                Routed { request: self.request, provider, targets, model: label, price, replacement }
            }
            None => self,
        }
    }

    /// The effective model's name.
    pub(crate) fn model_name(&self) -> &str {
        self.replacement.as_deref().unwrap_or(&self.request.facts.model)
    }

    /// The model to use instead of the one in the body.
    pub(crate) fn replacement(&self) -> Option<&str> {
        self.replacement.as_deref()
    }
}

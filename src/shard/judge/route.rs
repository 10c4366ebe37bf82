//! Which provider answers. Pure; takes the evidence that a request was read and hands on the evidence that it has a way.

use crate::plan::{LabelId, Plan, Provider, Route};
use crate::pricing::PriceId;
use crate::shard::answer::refusal::Refusal;
use crate::shard::judge::identify::Known;

/// Evidence that a provider was found: only [`route`] and [`Routed::to`] make one, and judging takes nothing else.
pub(crate) struct Routed<'b, 'p> {
    /// The request as it was read.
    pub(crate) known: Known<'b>,
    /// Who answers, unless it cannot.
    pub(crate) provider: &'p Provider,
    /// All who could.
    pub(crate) targets: Targets,
    /// The effective model's label in metrics.
    pub(crate) model: LabelId,
    /// What the effective model costs, if that is known.
    pub(crate) price: Option<PriceId>,
    /// The model to use instead of the one that was asked for.
    instead: Option<Box<str>>,
}

/// The providers that a request may go to, in the order to try them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    way: usize,
    first: usize,
}

impl Targets {
    /// How many there are.
    pub(crate) fn len(self, plan: &Plan) -> usize {
        plan.way(self.way).map_or(0, |way| way.len())
    }

    /// The one to try as number `step`, from 0.
    pub(crate) fn provider(self, step: usize, plan: &Plan) -> Option<&Provider> {
        plan.on_way(self.way, self.first, step)
    }
}

/// Finds the provider of the model that the request names. `draw` is random: it shares the load among several.
pub(crate) fn route<'b, 'p>(known: Known<'b>, plan: &'p Plan, draw: u32) -> Result<Routed<'b, 'p>, Refusal> {
    match found(&known.facts.model, plan, draw) {
        Some((targets, provider, Route { model, price, .. })) => {
            Ok(Routed { provider, targets, known, model, price, instead: None })
        }
        None => Err(Refusal::ModelNotFound { model: known.facts.model.into() }),
    }
}

/// Who would answer for `model`.
pub(crate) fn found<'p>(model: &str, plan: &'p Plan, draw: u32) -> Option<(Targets, &'p Provider, Route)> {
    let route = plan.route(model)?;
    let targets = Targets { way: route.way, first: plan.way(route.way)?.first(draw) };
    Some((targets, targets.provider(0, plan)?, route))
}

impl<'b, 'p> Routed<'b, 'p> {
    /// The same request to another model, if anyone answers for that.
    pub(crate) fn to(self, model: &str, plan: &'p Plan, draw: u32) -> Routed<'b, 'p> {
        match found(model, plan, draw) {
            Some((targets, provider, Route { model: label, price, .. })) => {
                Routed { known: self.known, provider, targets, model: label, price, instead: Some(model.into()) }
            }
            None => self,
        }
    }

    /// The effective model's name.
    pub(crate) fn model_name(&self) -> &str {
        self.instead.as_deref().unwrap_or(&self.known.facts.model)
    }

    /// The model to use instead of the one that the body names.
    pub(crate) fn instead(&self) -> Option<&str> {
        self.instead.as_deref()
    }
}

//! Applies the policies to a request before it costs anything. Pure but for the user's window, which counts the request
//! before it is judged. It never awaits.

use std::borrow::Cow;

use super::record::Record;
use super::route::{self, Routed};
use crate::clock::Now;
use crate::config::UnknownPrice;
use crate::dialect::openai::path;
use crate::link::trace::{PolicyInputs, Window};
use crate::llm::{Facts, Operation};
use crate::plan::{Plan, Provider};
use crate::policy::{Action, Downgrades, Evaluator, Inputs, Repriced};
use crate::pricing::{Learned, PriceId};
use crate::shard::answer::head::Labels;
use crate::shard::answer::refusal::Refusal;
use crate::units::MicroUsd;
use crate::usage::{LocalWindows, Totals, WindowEntry};

/// The shard's own part of judging.
pub(crate) struct Governor {
    /// Usage of users in the last minute.
    pub(crate) windows: LocalWindows,
    evaluator: Evaluator,
}

impl Governor {
    /// Takes about 30 µs.
    pub(crate) fn new(windows: LocalWindows) -> Governor {
        Governor { windows, evaluator: Evaluator::new() }
    }
}

/// What judging reads besides the request: the same for every stage.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'s, 'p> {
    pub(crate) plan: &'p Plan,
    /// What past answers teach about the size of the next one.
    pub(crate) learned: &'s Learned,
    pub(crate) now: Now,
    /// Random: spreads the load over the providers of one model.
    pub(crate) draw: u32,
}

/// Evidence that a request was judged and admitted: only [`admit`] makes one, and a request to a provider is made of
/// nothing else.
pub(crate) struct Admitted<'b, 'p> {
    /// The route after a downgrade, if there was one.
    pub(crate) routed: Routed<'b, 'p>,
    /// Counts the request in its user's window until it is settled.
    pub(crate) window_entry: WindowEntry,
    /// The policy that changed the model.
    pub(crate) downgraded_by: Option<Box<str>>,
    _evidence: (),
}

impl Admitted<'_, '_> {
    /// Provider and model, for the head of an answer from the cache.
    pub(crate) fn labels(&self) -> Labels<'_> {
        let (provider, model) = (&*self.routed.provider.name, self.routed.model_name());
        Labels { provider, model, policy: self.downgraded_by.as_deref() }
    }
}

/// Judges a request. A request that is refused counts in no window.
pub(crate) fn admit<'b, 'p>(
    routed: Routed<'b, 'p>,
    setting: Setting<'_, 'p>,
    governor: &mut Governor,
    record: &mut Record<'p>,
) -> Result<Admitted<'b, 'p>, Refusal> {
    let Setting { plan, learned, now, draw } = setting;
    let Governor { windows, evaluator } = governor;
    let request = &routed.request;
    let options = DowngradeOptions { plan, learned, facts: &request.facts, provider: routed.provider, draw };
    let estimate = options.estimate(routed.model_name(), routed.price);
    // Counted before it is judged, so that of two requests on two cores at least one sees the other.
    let mut window_entry = windows.enter(request.who, now, estimate.cost);
    let used = plan.policies.variables().reads_usage().then(|| window_entry.totals(now));
    let inputs = inputs(&routed, &estimate, used.unwrap_or_default(), now);
    let verdict = evaluator.judge(&plan.policies, &inputs, &options);
    record.set_judged(replay_inputs(&inputs, used, &estimate), verdict);
    let verdict = &record.verdict;
    let policy = |index: usize| plan.policies.policies().get(index);
    if let Some(policy) = verdict.blocked.and_then(policy) {
        let failed = verdict.errors.iter().any(|fault| fault.policy == policy.index);
        let message = policy.message.as_deref().filter(|_| !failed).map(Into::into);
        return Err(Refusal::Policy { policy: policy.name.as_str().into(), message, failed });
    }
    let (routed, downgraded_by) = match &verdict.model {
        None => (routed, None),
        Some(model) => {
            let price = plan.route(model).and_then(|route| route.price);
            window_entry.reestimate(options.estimate(model, price).cost);
            let mut matches = verdict.matches.iter();
            let by = matches.find(|it| it.effective && it.action == Action::Downgrade).and_then(|it| policy(it.policy));
            (routed.reroute(model, plan, draw), by.map(|policy| policy.name.as_str().into()))
        }
    };
    if routed.price.is_none() && plan.unknown_price == UnknownPrice::Block {
        return Err(Refusal::Unpriced { model: routed.model_name().into() });
    }
    Ok(Admitted { routed, window_entry, downgraded_by, _evidence: () })
}

/// The part of the policy inputs that the trace keeps for a replay.
fn replay_inputs(inputs: &Inputs<'_>, used: Option<Totals>, estimate: &Estimate) -> PolicyInputs {
    let window = used.map(|used| Window {
        request_count: inputs.request_count,
        cost_micro: used.cost.0,
        tokens_used: inputs.tokens_used,
    });
    PolicyInputs {
        temperature: inputs.temperature,
        max_tokens: inputs.max_tokens,
        window,
        est_input_tokens: inputs.est_input_tokens,
        est_cost_micro: estimate.cost.0,
    }
}

fn inputs<'a>(routed: &'a Routed<'_, '_>, estimate: &Estimate, used: Totals, now: Now) -> Inputs<'a> {
    let request = &routed.request;
    Inputs {
        model: &request.facts.model,
        who: request.who,
        provider: &routed.provider.name,
        endpoint: path::of(request.operation),
        stream: request.facts.stream,
        temperature: request.facts.temperature.unwrap_or(1.0),
        max_tokens: int(request.facts.output_tokens_max.unwrap_or(0)),
        request_count: int(used.requests),
        cost_usd: used.cost.usd(),
        tokens_used: int(used.tokens),
        est_input_tokens: int(estimate.input_tokens),
        est_cost_usd: estimate.cost.usd(),
        now_ms: now.wall_ms,
    }
}

/// A request's size and price before it is sent.
struct Estimate {
    input_tokens: u64,
    cost: MicroUsd,
}

/// The models that a request could use instead, and what each would cost.
struct DowngradeOptions<'a> {
    plan: &'a Plan,
    learned: &'a Learned,
    facts: &'a Facts<'a>,
    /// The provider of the requested model.
    provider: &'a Provider,
    draw: u32,
}

impl DowngradeOptions<'_> {
    fn estimate(&self, model: &str, price: Option<PriceId>) -> Estimate {
        let facts = self.facts;
        let size = self.learned.estimate(model, facts.body_bytes, facts.output_tokens_max);
        let answers = facts.answers.unwrap_or(1).max(1);
        let output_tokens = match facts.operation {
            Operation::Embeddings => 0,
            _ => size.output_tokens.saturating_mul(answers),
        };
        let price = price.and_then(|id| self.plan.price(id));
        let cost = price.map_or(MicroUsd(0), |price| price.estimate(size.input_tokens, output_tokens));
        Estimate { input_tokens: size.input_tokens, cost }
    }
}

impl Downgrades for DowngradeOptions<'_> {
    fn target(&self, model: &str) -> Option<Cow<'_, str>> {
        self.provider.downgrade(model).map(Cow::Borrowed)
    }

    fn is_served(&self, model: &str) -> bool {
        self.plan.route(model).is_some()
    }

    fn reprice(&self, model: &str) -> Repriced<'_> {
        let found = route::find(model, self.plan, self.draw);
        let cost = self.estimate(model, found.and_then(|(_, _, route)| route.price)).cost;
        Repriced { provider: found.map_or("", |(_, it, _)| &it.name).into(), est_cost_usd: cost.usd() }
    }
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

//! What the policies say of a request, before it costs anything. Pure but for the shard's own state: the user's window, which
//! counts the request before it is judged, and what the shard has learned of its models' answers. It never awaits.

use std::borrow::Cow;

use crate::clock::Now;
use crate::config::UnknownPrice;
use crate::dialect::openai::path;
use crate::link::trace::{PolicyInputs, Window};
use crate::llm::{Facts, Operation};
use crate::plan::{Plan, Provider};
use crate::policy::{Action, Downgrades, Evaluator, Inputs, Repriced};
use crate::pricing::{Learned, PriceId};
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond::Labels;
use crate::shard::judge::record::Record;
use crate::shard::judge::route::{self, Routed};
use crate::units::MicroUsd;
use crate::usage::{Entry, LocalWindows, Totals};

/// A shard's own part of judging.
pub(crate) struct Governor {
    /// Usage of users in the last minute.
    pub(crate) windows: LocalWindows,
    /// What answers have taught about the next ones.
    pub(crate) learned: Learned,
    evaluator: Evaluator,
}

impl Governor {
    /// Takes about 30 µs.
    pub(crate) fn new(windows: LocalWindows) -> Governor {
        Governor { windows, learned: Learned::default(), evaluator: Evaluator::new() }
    }
}

/// Evidence that a request was judged and let through: only [`admit`] makes one, and the upstream takes nothing else.
pub(crate) struct Admitted<'b, 'p> {
    /// Where it goes, after a downgrade if there was one.
    pub(crate) routed: Routed<'b, 'p>,
    /// It counts in its user's window until it is settled.
    pub(crate) entry: Entry,
    /// The policy that changed the model.
    pub(crate) downgraded_by: Option<Box<str>>,
    _evidence: (),
}

impl Admitted<'_, '_> {
    /// What an answer from the cache says of where it comes from.
    pub(crate) fn labels(&self) -> Labels<'_> {
        let (provider, model) = (&*self.routed.provider.name, self.routed.model_name());
        Labels { provider, model, policy: self.downgraded_by.as_deref() }
    }
}

/// Judges a request. `draw` shares the load among several providers of one model. A request that is refused counts in no window.
pub(crate) fn admit<'b, 'p>(
    routed: Routed<'b, 'p>,
    plan: &'p Plan,
    governor: &mut Governor,
    (now, draw): (Now, u32),
    record: &mut Record<'p>,
) -> Result<Admitted<'b, 'p>, Refusal> {
    let Governor { windows, learned, evaluator } = governor;
    let known = &routed.known;
    let ways = Ways { plan, learned, facts: &known.facts, provider: routed.provider, draw };
    let estimate = ways.estimate(routed.model_name(), routed.price);
    // Before it is judged, so that of two requests on two cores at least one sees the other.
    let mut entry = windows.enter(known.who, now, estimate.cost);
    let used = plan.policies.variables().reads_usage().then(|| entry.totals(now));
    let judged = inputs(&routed, &estimate, used.unwrap_or_default(), now);
    let verdict = evaluator.judge(&plan.policies, &judged, &ways);
    record.judged(kept(&judged, used, &estimate), verdict, plan);
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
            entry.reestimate(ways.estimate(model, price).cost);
            let mut matches = verdict.matches.iter();
            let by = matches.find(|it| it.effective && it.action == Action::Downgrade).and_then(|it| policy(it.policy));
            (routed.to(model, plan, draw), by.map(|policy| policy.name.as_str().into()))
        }
    };
    if routed.price.is_none() && plan.unknown_price == UnknownPrice::Block {
        return Err(Refusal::Unpriced { model: routed.model_name().into() });
    }
    Ok(Admitted { routed, entry, downgraded_by, _evidence: () })
}

/// What of it is kept for a replay.
fn kept(inputs: &Inputs<'_>, used: Option<Totals>, estimate: &Estimated) -> PolicyInputs {
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

fn inputs<'a>(routed: &'a Routed<'_, '_>, estimate: &Estimated, used: Totals, now: Now) -> Inputs<'a> {
    let known = &routed.known;
    Inputs {
        model: &known.facts.model,
        who: known.who,
        provider: &routed.provider.name,
        endpoint: path::of(known.operation),
        stream: known.facts.stream,
        temperature: known.facts.temperature.unwrap_or(1.0),
        max_tokens: int(known.facts.output_tokens_max.unwrap_or(0)),
        request_count: int(used.requests),
        cost_usd: used.cost.usd(),
        tokens_used: int(used.tokens),
        est_input_tokens: int(estimate.input_tokens),
        est_cost_usd: estimate.cost.usd(),
        now_ms: now.wall_ms,
    }
}

/// A request's size and price before it is sent.
struct Estimated {
    input_tokens: u64,
    cost: MicroUsd,
}

/// The ways that a request could go, and what each would cost.
struct Ways<'a> {
    plan: &'a Plan,
    learned: &'a Learned,
    facts: &'a Facts<'a>,
    /// Of the model that was asked for.
    provider: &'a Provider,
    draw: u32,
}

impl Ways<'_> {
    fn estimate(&self, model: &str, price: Option<PriceId>) -> Estimated {
        let facts = self.facts;
        let size = self.learned.estimate(model, facts.body_bytes, facts.output_tokens_max);
        let answers = facts.answers.unwrap_or(1).max(1);
        let output_tokens = match facts.operation {
            Operation::Embeddings => 0,
            _ => size.output_tokens.saturating_mul(answers),
        };
        let price = price.and_then(|id| self.plan.price(id));
        let cost = price.map_or(MicroUsd(0), |price| price.estimate(size.input_tokens, output_tokens));
        Estimated { input_tokens: size.input_tokens, cost }
    }
}

impl Downgrades for Ways<'_> {
    fn target(&self, model: &str) -> Option<Cow<'_, str>> {
        self.provider.downgrade(model).map(Cow::Borrowed)
    }

    fn is_served(&self, model: &str) -> bool {
        self.plan.route(model).is_some()
    }

    fn reprice(&self, model: &str) -> Repriced<'_> {
        let found = route::found(model, self.plan, self.draw);
        let cost = self.estimate(model, found.and_then(|(_, _, route)| route.price)).cost;
        Repriced { provider: found.map_or("", |(_, it, _)| &it.name).into(), est_cost_usd: cost.usd() }
    }
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

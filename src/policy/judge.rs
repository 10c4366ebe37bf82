//! Judges a request: evaluates the policies in order and applies those that match.
//! Runs on every shard, for each request, synchronously.
//! Never awaits, and allocates nothing of its own while no policy matches and none fails.

use std::borrow::Cow;

use cel::common::types::CelBool;
use cel::{Context, ExecutionError, Value};
use schemars::JsonSchema;
use serde::Serialize;

use super::compiled::{Compiled, Runnable};
use super::draft::{Action, Mode};
use super::scope::{Inputs, Scope};
use super::values::base_context;

/// A plan's routes and prices, for moving a request to another model.
pub trait Downgrades {
    /// Returns the model to use instead of `model` when a downgrade has no `target_model`: the one in the provider's
    /// downgrade map, else the provider's cheapest priced model.
    fn target(&self, model: &str) -> Option<Cow<'_, str>>;
    /// Returns true when at least one provider serves `model`.
    fn is_served(&self, model: &str) -> bool;
    /// Returns the provider and the estimated cost of the current request if it went to `model`.
    fn reprice(&self, model: &str) -> Repriced<'_>;
}

/// The provider that a request would go to, and its estimated cost there.
#[derive(Debug, Clone, PartialEq)]
pub struct Repriced<'a> {
    pub provider: Cow<'a, str>,
    pub est_cost_usd: f64,
}

/// The outcome of judging a request. Indexes are into [`Compiled::policies`].
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Verdict {
    /// The policy that blocks the request, because it matched or because it failed.
    pub blocked: Option<usize>,
    /// The model to use instead of the requested one.
    pub model: Option<String>,
    /// Every policy that matched, in order.
    pub matches: Vec<Match>,
    /// Every policy that failed, in order.
    pub errors: Vec<PolicyFault>,
}

/// A policy that matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    pub policy: usize,
    pub action: Action,
    pub mode: Mode,
    /// True when the match changed what happens to the request. For an alert: true when the match counts as an alert.
    pub effective: bool,
    pub note: Note,
    /// The model that a downgrade leads to, or would have led to.
    pub target: Option<String>,
}

/// Why a match had an effect or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    Applied,
    /// It would have had an effect, but the policy is in shadow mode.
    Shadow,
    /// An earlier policy has already changed the model.
    SecondDowngrade,
    /// Neither the policy nor the provider names a cheaper model.
    NoTarget,
    /// The request already asks for the target model.
    SameModel,
    /// No provider answers for the target.
    NotServed,
}

impl Note {
    /// Returns the name that is shown and stored.
    pub fn name(self) -> &'static str {
        match self {
            Note::Applied => "applied",
            Note::Shadow => "shadow",
            Note::SecondDowngrade => "second_downgrade",
            Note::NoTarget => "no_target",
            Note::SameModel => "same_model",
            Note::NotServed => "not_served",
        }
    }
}

/// A policy that failed at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PolicyFault {
    pub policy: usize,
    pub kind: FaultKind,
}

/// The ways in which a checked expression can still fail at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Overflow,
    DivisionByZero,
    /// `int("x")` and the like.
    Conversion,
    /// A comparison with NaN, which has no order.
    NotComparable,
    Other,
}

impl FaultKind {
    /// Returns the name that is shown and stored.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Overflow => "overflow",
            FaultKind::DivisionByZero => "division_by_zero",
            FaultKind::Conversion => "conversion",
            FaultKind::NotComparable => "not_comparable",
            FaultKind::Other => "other",
        }
    }
}

/// A shard's own CEL context. Judging a request does not change it.
pub struct Evaluator {
    base: Context<'static, 'static>,
}

impl Default for Evaluator {
    fn default() -> Self {
        Evaluator::new()
    }
}

impl Evaluator {
    /// Takes about 30 µs.
    pub fn new() -> Evaluator {
        Evaluator { base: base_context() }
    }

    pub fn judge(&self, compiled: &Compiled, inputs: &Inputs<'_>, downgrades: &dyn Downgrades) -> Verdict {
        let mut verdict = Verdict::default();
        if compiled.is_empty() {
            return verdict;
        }
        let Some(next) = self.stretch(compiled, 0, inputs, downgrades, &mut verdict) else {
            return verdict;
        };
        // The model was swapped: the policies that follow see the new model and cannot swap it again.
        if let Some(model) = verdict.model.take() {
            let Repriced { provider, est_cost_usd } = downgrades.reprice(&model);
            let inputs = Inputs { model: &model, provider: &provider, est_cost_usd, ..*inputs };
            verdict.model = Some(model.clone());
            self.stretch(compiled, next, &inputs, downgrades, &mut verdict);
        }
        verdict
    }

    /// Judges the policies from index `from` on. Stops after the last policy, at a block, or after a downgrade. Returns the
    /// index to continue at after a downgrade, otherwise `None`.
    fn stretch(
        &self,
        compiled: &Compiled,
        from: usize,
        inputs: &Inputs<'_>,
        downgrades: &dyn Downgrades,
        verdict: &mut Verdict,
    ) -> Option<usize> {
        let rest = compiled.policies().get(from..).filter(|rest| !rest.is_empty())?;
        let scope = Scope::new(inputs, compiled.constants());
        let mut context = self.base.new_inner_scope();
        context.set_variable_resolver(&scope);
        for policy in rest {
            match holds(policy, &context) {
                Ok(false) => {}
                Ok(true) => match act(policy, inputs.model, downgrades, verdict) {
                    Next::GoOn => {}
                    Next::Swapped => return Some(policy.index + 1),
                    Next::End => return None,
                },
                Err(kind) => {
                    verdict.errors.push(PolicyFault { policy: policy.index, kind });
                    // Fails closed, but only when the block would have been enforced.
                    if policy.action == Action::Block && policy.mode == Mode::Enforce {
                        verdict.blocked = Some(policy.index);
                        return None;
                    }
                }
            }
        }
        None
    }
}

/// How judging continues after a match.
enum Next {
    GoOn,
    Swapped,
    End,
}

fn holds(policy: &Runnable, context: &Context<'_, '_>) -> Result<bool, FaultKind> {
    let value = Value::resolve_val(&policy.expr, context).map_err(|error| kind(&error))?;
    value.downcast_ref::<CelBool>().map(|held| *held.inner()).ok_or(FaultKind::Other)
}

fn act(policy: &Runnable, model: &str, downgrades: &dyn Downgrades, verdict: &mut Verdict) -> Next {
    let (would, target) = match policy.action {
        Action::Block | Action::Alert => (Note::Applied, None),
        Action::Downgrade => downgrade(policy, model, downgrades, verdict.model.is_some()),
    };
    let note = if would == Note::Applied && policy.mode == Mode::Shadow { Note::Shadow } else { would };
    let effective = note == Note::Applied;
    let next = match policy.action {
        Action::Block if effective => {
            verdict.blocked = Some(policy.index);
            Next::End
        }
        Action::Downgrade if effective => {
            verdict.model.clone_from(&target);
            Next::Swapped
        }
        _ => Next::GoOn,
    };
    verdict.matches.push(Match {
        policy: policy.index,
        action: policy.action,
        mode: policy.mode,
        effective,
        note,
        target,
    });
    next
}

/// Returns the effect that a downgrade would have now, and the model it leads to.
fn downgrade(policy: &Runnable, model: &str, downgrades: &dyn Downgrades, swapped: bool) -> (Note, Option<String>) {
    if swapped {
        return (Note::SecondDowngrade, policy.target_model.clone());
    }
    let target = policy.target_model.as_deref().map(Cow::Borrowed).or_else(|| downgrades.target(model));
    match target {
        None => (Note::NoTarget, None),
        Some(target) if target == model => (Note::SameModel, Some(target.into_owned())),
        Some(target) if !downgrades.is_served(&target) => (Note::NotServed, Some(target.into_owned())),
        Some(target) => (Note::Applied, Some(target.into_owned())),
    }
}

fn kind(error: &ExecutionError) -> FaultKind {
    match error {
        ExecutionError::Overflow(..) => FaultKind::Overflow,
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => FaultKind::DivisionByZero,
        ExecutionError::FunctionError { .. } => FaultKind::Conversion,
        // The check rejects comparisons between types that have no order, so NaN is the only cause left.
        ExecutionError::NoSuchOverload(_) | ExecutionError::ValuesNotComparable(..) => FaultKind::NotComparable,
        _ => FaultKind::Other,
    }
}

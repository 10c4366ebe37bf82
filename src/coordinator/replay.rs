//! Replays one expression on recorded requests, for `POST /api/policies/test` with `last` and `luner policy test --db`. Pure; uses
//! the code that judges live requests. It never guesses what was not recorded: it counts such requests, with the reason.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::store::reader::RequestRow;
use super::try_expression::{Effect, Trial};
use crate::clock::rfc3339;
use crate::link::trace::Marks;
use crate::llm::Usage;
use crate::policy::{Compiled, Downgrades, Evaluator, Inputs, Variables};
use crate::units::MicroUsd;

/// Requests of one replay. Arbitrary: they are judged within milliseconds.
pub const LAST_MAX: u32 = 1_000;
/// Matching requests that are shown. Arbitrary.
const EXAMPLES_MAX: usize = 20;

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Replay {
    /// Requests that could be evaluated.
    pub evaluated: u64,
    /// Evaluated requests for which the expression is true.
    pub matched: u64,
    /// Requests that could not be evaluated.
    pub not_evaluable: u64,
    /// How many could not be evaluated, by reason: `never_judged`, `usage_not_recorded`, or how the expression fails.
    pub why: BTreeMap<String, u64>,
    /// Cost of the matching requests.
    pub cost_usd: f64,
    /// Cost that the policy would have saved. Negative for a downgrade to a more expensive model.
    pub saving_usd: f64,
    /// The newest matching requests.
    pub examples: Vec<Example>,
    /// The variables that the expression reads.
    #[schemars(with = "Vec<String>")]
    pub variables: Variables,
}

/// A request that matched.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Example {
    pub trace_id: String,
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    pub user_id: String,
    /// The model that was asked for.
    pub model: String,
    pub cost_usd: f64,
}

/// The request was refused before the policies were evaluated.
const NEVER_JUDGED: &str = "never_judged";
/// No policy read the usage of the user's last minute at the time, so it was not recorded.
const USAGE_NOT_RECORDED: &str = "usage_not_recorded";

/// The cost of a request with another model, if that model has a price.
pub type ReplayPrice<'p> = &'p dyn Fn(&str, &Usage) -> Option<MicroUsd>;

/// Judges requests, newest first, by this policy alone.
pub fn replay(
    trial: &Trial,
    compiled: &Compiled,
    rows: &[RequestRow],
    downgrades: &dyn Downgrades,
    price: ReplayPrice<'_>,
) -> Replay {
    let evaluator = Evaluator::new();
    let mut replay = Replay { variables: compiled.variables(), ..Replay::default() };
    let (mut cost, mut saving) = (MicroUsd(0), MicroUsd(0));
    for row in rows {
        let inputs = match inputs(row, compiled) {
            Ok(inputs) => inputs,
            Err(why) => {
                replay.count_not_evaluable(why);
                continue;
            }
        };
        let outcome = trial.judge(&evaluator, compiled, &inputs, downgrades);
        if let Some(kind) = outcome.error {
            replay.count_not_evaluable(
                &serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
            );
            continue;
        }
        replay.evaluated += 1;
        if !outcome.matched {
            continue;
        }
        replay.matched += 1;
        cost = cost.saturating_add(row.cost);
        let saved = match (outcome.verdict, &outcome.model) {
            (Effect::Block, _) => row.cost,
            // An answer from the cache cost nothing, and would have cost nothing with another model.
            (Effect::Downgrade, Some(model)) if row.cost != MicroUsd(0) => {
                price(model, &row.usage).map_or(MicroUsd(0), |other| MicroUsd(row.cost.0.saturating_sub(other.0)))
            }
            _ => MicroUsd(0),
        };
        saving = saving.saturating_add(saved);
        if replay.examples.len() < EXAMPLES_MAX {
            replay.examples.push(Example {
                trace_id: format!("{:032x}", row.trace_id),
                at: rfc3339(row.started_ms),
                user_id: row.who.user.clone(),
                model: row.model_asked.clone(),
                cost_usd: row.cost.usd(),
            });
        }
    }
    (replay.cost_usd, replay.saving_usd) = (cost.usd(), saving.usd());
    replay
}

impl Replay {
    fn count_not_evaluable(&mut self, why: &str) {
        self.not_evaluable += 1;
        *self.why.entry(why.to_owned()).or_default() += 1;
    }
}

/// The variables of a recorded request, or the reason why they are not known.
fn inputs<'r>(row: &'r RequestRow, compiled: &Compiled) -> Result<Inputs<'r>, &'static str> {
    // A request without a provider was refused before the policies: it was malformed, or no provider serves its model.
    if row.provider.is_empty() || row.model_asked.is_empty() {
        return Err(NEVER_JUDGED);
    }
    let known = &row.detail.inputs;
    let window = match known.window {
        Some(window) => window,
        None if compiled.variables().reads_usage() => return Err(USAGE_NOT_RECORDED),
        None => Default::default(),
    };
    Ok(Inputs {
        model: &row.model_asked,
        who: row.who.as_str(),
        provider: &row.provider,
        endpoint: &row.endpoint,
        stream: row.marks.has(Marks::STREAM),
        temperature: known.temperature,
        max_tokens: known.max_tokens,
        request_count: window.request_count,
        cost_usd: window.cost_micro as f64 / 1e6,
        tokens_used: window.tokens_used,
        est_input_tokens: known.est_input_tokens,
        est_cost_usd: known.est_cost_micro as f64 / 1e6,
        now_ms: row.started_ms,
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::link::trace::{PolicyInputs, Window};
    use crate::policy::{Action, Repriced};
    use crate::who::Who;

    struct Down;

    impl Downgrades for Down {
        fn target(&self, _: &str) -> Option<Cow<'_, str>> {
            Some("mini".into())
        }

        fn is_served(&self, _: &str) -> bool {
            true
        }

        fn reprice(&self, _: &str) -> Repriced<'_> {
            Repriced { provider: "".into(), est_cost_usd: 0.0 }
        }
    }

    fn row(user: &str, cost: i64, window: Option<Window>) -> RequestRow {
        let mut row = RequestRow {
            trace_id: 5,
            started_ms: 1_769_860_800_000,
            who: Who { user: user.to_owned(), ..Who::default() },
            provider: "openai".into(),
            model_asked: "gpt-4o".into(),
            model: "gpt-4o".into(),
            endpoint: "/v1/chat/completions".into(),
            status: 200,
            usage: Usage { input: 10, total: 10, ..Usage::default() },
            cost: MicroUsd(cost),
            ..RequestRow::default()
        };
        row.detail.inputs = PolicyInputs { temperature: 1.0, window, ..PolicyInputs::default() };
        row
    }

    fn run(expression: &str, action: Action, rows: &[RequestRow]) -> Replay {
        let trial = Trial { expression: expression.into(), action, target_model: None };
        let compiled = trial.compile().unwrap();
        replay(&trial, &compiled, rows, &Down, &|model, usage| {
            (model == "mini").then_some(MicroUsd(usage.input as i64))
        })
    }

    #[test]
    fn matching_requests_have_a_cost_and_a_saving_by_action() {
        let rows = [row("ann", 100, None), row("bob", 40, None), row("ann", 0, None)];
        let blocked = run("user_id == 'ann'", Action::Block, &rows);
        assert_eq!((blocked.evaluated, blocked.matched, blocked.not_evaluable), (3, 2, 0));
        assert_eq!((blocked.cost_usd, blocked.saving_usd), (0.0001, 0.0001));
        assert_eq!(run("user_id == 'ann'", Action::Alert, &rows).saving_usd, 0.0);
        let down = run("true", Action::Downgrade, &rows);
        // Each of the two that cost something would have cost 10 micro-dollars; a hit saves nothing more.
        assert_eq!((down.matched, down.cost_usd, down.saving_usd), (3, 0.00014, 0.00012));
        assert_eq!(down.examples.len(), 3);
        assert_eq!(down.examples[1].user_id, "bob");
        assert_eq!(down.examples[0].trace_id, "00000000000000000000000000000005");
    }

    #[test]
    fn unrecorded_usage_is_not_guessed() {
        let window = Window { request_count: 7, cost_micro: 1, tokens_used: 1 };
        let refused = RequestRow { provider: String::new(), ..row("ann", 0, None) };
        let rows = [row("ann", 1, Some(window)), row("ann", 1, None), refused];
        let counted = run("request_count > 5", Action::Block, &rows);
        assert_eq!((counted.evaluated, counted.matched, counted.not_evaluable), (1, 1, 2));
        let why = [(NEVER_JUDGED, 1), (USAGE_NOT_RECORDED, 1)].map(|(why, count)| (why.to_owned(), count));
        assert_eq!(counted.why, BTreeMap::from(why));
        let plain = run("temperature == 1.0 && now > timestamp('2026-01-01T00:00:00Z')", Action::Block, &rows);
        assert_eq!((plain.evaluated, plain.matched, plain.not_evaluable), (2, 2, 1));
    }

    #[test]
    fn failing_expression_is_counted_by_kind() {
        let failed = run("1 / max_tokens > 0", Action::Block, &[row("ann", 1, None)]);
        assert_eq!((failed.evaluated, failed.not_evaluable, failed.why.get("division_by_zero")), (0, 1, Some(&1)));
        assert_eq!(failed.saving_usd, 0.0);
    }

    #[test]
    fn examples_are_limited() {
        let rows: Vec<RequestRow> = (0..50).map(|_| row("ann", 1, None)).collect();
        let replay = run("true", Action::Block, &rows);
        assert_eq!((replay.matched, replay.examples.len()), (50, EXAMPLES_MAX));
    }
}

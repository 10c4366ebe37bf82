//! The rules for judging policies, as docs/policies.md describes them.

use super::*;

fn shadow(mut policy: Policy) -> Policy {
    policy.mode = Mode::Shadow;
    policy
}

fn to(mut policy: Policy, target: &str) -> Policy {
    policy.target_model = Some(target.into());
    policy
}

/// Returns a line `id action note` for each match, with `!` in front if the match had an effect, and the verdict.
fn matches(policies: &[Policy], inputs: &Inputs<'_>) -> (Vec<String>, Verdict) {
    let compiled = Compiled::new(policies).expect("they compile");
    let verdict = Evaluator::new().judge(&compiled, inputs, &Routes);
    let lines = verdict.matches.iter().map(|it| {
        let effective = if it.effective { "!" } else { "" };
        format!("{effective}{} {} {:?}", compiled.policies()[it.policy].id, it.action.name(), it.note)
    });
    (lines.collect(), verdict)
}

#[test]
fn policies_are_judged_by_priority_then_id() {
    let policies = ["d", "a", "c", "b"].map(|id| policy(id, if id == "d" { -1 } else { 5 }, Action::Alert, "true"));
    let (lines, verdict) = matches(&policies, &request());
    assert_eq!(lines, ["!d alert Applied", "!a alert Applied", "!b alert Applied", "!c alert Applied"]);
    assert_eq!((verdict.blocked, verdict.model), (None, None));
}

#[test]
fn disabled_policy_is_not_compiled() {
    let mut broken = policy("x", 0, Action::Block, "not an expression");
    broken.enabled = false;
    let compiled = Compiled::new(&[broken]).expect("nothing to compile");
    assert!(compiled.is_empty());
    assert_eq!(Evaluator::new().judge(&compiled, &request(), &Routes), Verdict::default());
}

#[test]
fn block_ends_the_judging_and_alert_does_not() {
    let policies = [
        policy("1", 1, Action::Alert, "true"),
        policy("2", 2, Action::Block, "model == 'gpt-4o'"),
        policy("3", 3, Action::Alert, "true"),
    ];
    let (lines, verdict) = matches(&policies, &request());
    assert_eq!(lines, ["!1 alert Applied", "!2 block Applied"]);
    assert_eq!(verdict.blocked, Some(1));
}

#[test]
fn policies_after_a_downgrade_see_the_new_model_provider_and_estimate() {
    let later = "model == 'gpt-4o-mini' && provider == 'of-gpt-4o-mini' && est_cost_usd == 0.001 && user_id == 'u'";
    let policies = [
        policy("0", 0, Action::Alert, "model == 'gpt-4o' && est_cost_usd == 0.01"),
        policy("1", 1, Action::Downgrade, "model == 'gpt-4o'"),
        policy("2", 2, Action::Alert, later),
    ];
    let (lines, verdict) = matches(&policies, &request());
    assert_eq!(lines, ["!0 alert Applied", "!1 downgrade Applied", "!2 alert Applied"]);
    assert_eq!(verdict.model.as_deref(), Some("gpt-4o-mini"));
}

#[test]
fn model_is_downgraded_only_once() {
    let policies = [
        to(policy("1", 1, Action::Downgrade, "true"), "cheap"),
        to(policy("2", 2, Action::Downgrade, "model == 'cheap'"), "cheaper"),
        policy("3", 3, Action::Block, "model == 'cheaper'"),
    ];
    let (lines, verdict) = matches(&policies, &request());
    assert_eq!(lines, ["!1 downgrade Applied", "2 downgrade SecondDowngrade"]);
    assert_eq!((verdict.model.as_deref(), verdict.blocked), (Some("cheap"), None));
}

#[test]
fn downgrade_without_a_usable_target_is_skipped_and_the_next_one_may_act() {
    let inputs = Inputs { model: "local", ..request() };
    let policies = [
        policy("1", 1, Action::Downgrade, "true"),
        to(policy("2", 2, Action::Downgrade, "true"), "local"),
        to(policy("3", 3, Action::Downgrade, "true"), "served-by-nobody"),
        to(policy("4", 4, Action::Downgrade, "true"), "tiny"),
    ];
    let (lines, verdict) = matches(&policies, &inputs);
    let expected = ["1 downgrade NoTarget", "2 downgrade SameModel", "3 downgrade NotServed", "!4 downgrade Applied"];
    assert_eq!(lines, expected);
    assert_eq!(verdict.model.as_deref(), Some("tiny"));
}

#[test]
fn shadow_policy_records_its_match_and_changes_nothing() {
    let policies = [
        shadow(policy("1", 1, Action::Block, "true")),
        shadow(policy("2", 2, Action::Downgrade, "true")),
        policy("3", 3, Action::Alert, "model == 'gpt-4o' && provider == 'openai'"),
        policy("4", 4, Action::Downgrade, "true"),
        shadow(policy("5", 5, Action::Downgrade, "true")),
        shadow(policy("6", 6, Action::Alert, "true")),
    ];
    let (lines, verdict) = matches(&policies, &request());
    let expected = [
        "1 block Shadow",
        "2 downgrade Shadow",
        "!3 alert Applied",
        "!4 downgrade Applied",
        "5 downgrade SecondDowngrade",
        "6 alert Shadow",
    ];
    assert_eq!(lines, expected);
    assert_eq!(verdict.matches[1].target.as_deref(), Some("gpt-4o-mini"));
    assert_eq!((verdict.model.as_deref(), verdict.blocked), (Some("gpt-4o-mini"), None));
}

#[test]
fn failing_policy_blocks_if_it_enforces_a_block_and_is_skipped_otherwise() {
    let failing = "1 / (request_count - 1) > 0";
    let fault = |policy| PolicyFault { policy, kind: FaultKind::DivisionByZero };
    let policies = [
        policy("1", 1, Action::Alert, failing),
        policy("2", 2, Action::Downgrade, failing),
        shadow(policy("3", 3, Action::Block, failing)),
        policy("4", 4, Action::Block, failing),
        policy("5", 5, Action::Alert, "true"),
    ];
    let verdict = judge(&policies, &request());
    assert_eq!(verdict.blocked, Some(3));
    assert_eq!(verdict.errors, [fault(0), fault(1), fault(2), fault(3)]);
    assert!(verdict.matches.is_empty() && verdict.model.is_none());
    let verdict = judge(&policies[..3], &request());
    assert_eq!((verdict.blocked, verdict.errors.len()), (None, 3));
}

#[test]
fn block_after_a_downgrade_reports_both() {
    let policies =
        [policy("1", 1, Action::Downgrade, "true"), policy("2", 2, Action::Block, "model == 'gpt-4o-mini' || 1/0 > 0")];
    let verdict = judge(&policies, &request());
    assert_eq!((verdict.blocked, verdict.model.as_deref()), (Some(1), Some("gpt-4o-mini")));
}

#[test]
fn every_policy_that_does_not_compile_is_reported() {
    let policies = [
        policy("good", 1, Action::Block, "stream"),
        policy("typo", 2, Action::Block, "modle == 'x'"),
        policy("int", 3, Action::Block, "1"),
    ];
    let failed = Compiled::new(&policies).expect_err("two are broken");
    assert_eq!(failed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["typo", "int"]);
    assert_eq!(failed[0].error.message, "there is no variable modle, did you mean model?");
}

#[test]
fn compiled_variables_are_the_union_over_enabled_policies() {
    let mut off = policy("off", 0, Action::Alert, "stream");
    off.enabled = false;
    let policies =
        [off, policy("1", 1, Action::Alert, "model == 'a'"), policy("2", 1, Action::Alert, "tokens_used > 1")];
    let variables = Compiled::new(&policies).expect("they compile").variables();
    assert_eq!(variables.iter().collect::<Vec<_>>(), [Variable::Model, Variable::TokensUsed]);
    assert!(variables.reads_usage() && !variables.contains(Variable::Stream));
    assert!(!check_expression("model == 'a' && est_cost_usd > 1").expect("fine").variables.reads_usage());
}

#[test]
fn compiled_policies_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Compiled>();
}

#[test]
fn hundred_policies_keep_their_constants_apart() {
    let policies: Vec<Policy> = (0..100)
        .map(|n| {
            policy(&format!("{n:03}"), 0, Action::Alert, &format!("model in ['m{n}', 'x'] || model.matches('^m{n}$')"))
        })
        .collect();
    let verdict = judge(&policies, &Inputs { model: "m42", ..request() });
    assert_eq!(verdict.matches.iter().map(|it| it.policy).collect::<Vec<_>>(), [42]);
}

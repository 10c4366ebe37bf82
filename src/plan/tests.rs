//! Checks which breakers and rate limits survive from one plan to the next.

use super::*;
use crate::breaker::CallResult;
use crate::config;

const SECOND: u64 = 1_000_000_000;

fn at(ns: u64) -> Now {
    Now { mono_ns: ns, wall_ms: 0 }
}

/// A sequence of plans, published as the coordinator does it.
struct Plans {
    shared: Arc<Shared>,
    running: Option<Plan>,
}

impl Plans {
    fn new() -> Plans {
        Plans { shared: Shared::new(1), running: None }
    }

    fn make(&self, provider: &str, more: &str, now: Now) -> Plan {
        let text = format!(
            "version: v1\nproviders:\n  - {{ base_url: \"http://127.0.0.1:9/v1\", api_key: k, models: [m], {provider} }}\n{more}\n"
        );
        let config = config::parse(&text, "test", &|_| None).unwrap();
        let inputs = PlanInputs {
            config: &config,
            prices: Arc::default(),
            policies: Arc::default(),
            created_s: 0,
            exports_spans: false,
            slots: self.shared.claim_slots(self.running.iter().flat_map(Plan::slots)),
            now,
        };
        Plan::new(inputs, self.running.as_ref()).unwrap()
    }

    fn publish(&mut self, provider: &str, more: &str, now: Now) {
        let plan = self.make(provider, more, now);
        plan.apply_ceilings(&self.shared, now);
        self.running = Some(plan);
    }

    fn provider(&self) -> &Provider {
        &self.running.as_ref().expect("a plan was published").providers[0]
    }

    fn fail(&self, now: Now) {
        let provider = self.provider();
        let permit = self.shared.breaker(provider.breaker).ask(&provider.breaker_rules, now).expect("closed");
        permit.end(CallResult::Failure, now, 0);
    }

    /// Returns the consecutive failures that the breaker's state shows.
    fn failures(&self) -> u16 {
        match self.shared.breaker(self.provider().breaker).state(at(0)) {
            crate::breaker::BreakerState::Closed { failures } => failures,
            state => panic!("{state:?}"),
        }
    }

    fn charge(&self, now: Now) -> bool {
        self.shared.limit(self.provider().limit.expect("a limit").id).charge(now).is_ok()
    }

    fn remaining(&self, now: Now) -> u32 {
        self.shared.limit(self.provider().limit.expect("a limit").id).standing(now).remaining
    }
}

fn limited(name: &str, qps: f64, burst: u32) -> String {
    format!("rate_limit: {{ providers: [{{ name: {name}, qps: {qps}, burst: {burst} }}] }}")
}

#[test]
fn provider_keeps_breaker_and_level_while_it_keeps_its_name() {
    let mut plans = Plans::new();
    plans.publish("name: a", &limited("a", 1.0, 5), at(0));
    plans.fail(at(0));
    assert!(plans.charge(at(0)) && plans.charge(at(0)));
    let slots = plans.provider().slots();
    plans.publish("name: a, retries: 3", &limited("a", 10.0, 5), at(0));
    assert_eq!((plans.provider().slots(), plans.failures(), plans.remaining(at(0))), (slots, 1, 3));
    // The level now falls at the new rate.
    assert_eq!(plans.remaining(at(SECOND / 5)), 5);
}

#[test]
fn renamed_provider_starts_afresh() {
    let mut plans = Plans::new();
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    plans.fail(at(0));
    assert!(plans.charge(at(0)));
    plans.publish("name: b", &limited("b", 1.0, 1), at(0));
    assert_eq!((plans.failures(), plans.remaining(at(0))), (0, 1));
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    assert_eq!((plans.failures(), plans.remaining(at(0))), (0, 1));
}

#[test]
fn limit_that_was_removed_starts_afresh() {
    let mut plans = Plans::new();
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    assert!(plans.charge(at(0)));
    plans.publish("name: a", "", at(0));
    assert_eq!(plans.provider().limit, None);
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    assert_eq!(plans.remaining(at(0)), 1);
}

#[test]
fn changed_timeout_resets_the_breaker_and_keeps_the_level() {
    let mut plans = Plans::new();
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    plans.fail(at(0));
    assert!(plans.charge(at(0)));
    plans.publish("name: a, timeout: 7s", &limited("a", 1.0, 1), at(0));
    assert_eq!((plans.failures(), plans.remaining(at(0))), (0, 0));
}

#[test]
fn plan_that_is_never_published_changes_no_limit() {
    let mut plans = Plans::new();
    plans.publish("name: a", &limited("a", 1.0, 1), at(0));
    assert!(plans.charge(at(0)));
    drop(plans.make("name: a", &limited("a", 1000.0, 100), at(0)));
    assert!(!plans.charge(at(SECOND / 2)) && plans.charge(at(SECOND)));
}

#[test]
fn slots_of_replaced_plans_are_reused() {
    let mut plans = Plans::new();
    for n in 0..2 * crate::shared::SLOTS_MAX {
        let name = format!("p{}", n % 3);
        plans.publish(&format!("name: {name}"), &limited(&name, 1.0, 1), at(0));
        assert!(plans.charge(at(0)));
    }
}

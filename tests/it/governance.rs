//! Policies over the wire: created by REST, judged on every shard, exact under concurrency. What the provider's own ledger
//! says is the truth that is compared with.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::*;

/// A dollar for each 10 tokens read, and for each token made of the dear model; a thousandth of that for the cheap one.
const PRICES: &str = r#"{
  "gpt-4o": { "input_cost_per_token": 0.1, "output_cost_per_token": 1.0 },
  "gpt-4o-mini": { "input_cost_per_token": 0.0001, "output_cost_per_token": 0.001 }
}"#;

/// A gateway with storage and prices before this mock.
fn governed(mock: &Mock, workers: usize) -> (Running, Scratch) {
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::before(mock.base_url()).storage_sqlite().workers(workers);
    let gateway = gateway.top(&format!("pricing: {{ file: \"{}\" }}\n", prices.path.display()));
    (gateway.start(), prices)
}

/// Creates a policy and gives its id back.
#[track_caller]
fn create(luner: &Running, policy: Value) -> String {
    luner.api().create(&policy)["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn delete(luner: &Running, id: &str) {
    let answer = luner.api().delete(&format!("/api/policies/{id}"));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

fn block(name: &str, expression: &str) -> Value {
    json!({ "name": name, "expression": expression, "action": "block" })
}

/// A chat request of this user.
fn chat_of(user: &str, model: &str, prompt: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-User: {user}\r\n"), chat(model, prompt))
}

/// The same, with an answer of at most so many tokens.
fn short_chat_of(user: &str, max_tokens: u32) -> Vec<u8> {
    let messages = json!([{ "role": "user", "content": "x" }]);
    let body = json!({ "model": "gpt-4o", "max_tokens": max_tokens, "messages": messages });
    post_with(CHAT, &format!("X-Luner-User: {user}\r\n"), body.to_string())
}

#[track_caller]
fn assert_blocked(answer: &Answer, policy: &str) {
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("policy_violation")), "{}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "permission_error");
    assert_eq!((answer.header("x-luner-policy"), answer.header("x-should-retry")), (Some(policy), Some("false")));
    assert!(answer.json()["error"]["message"].as_str().is_some_and(|message| message.contains(policy)));
}

// The examples of the old luner's documents, word for word.

#[test]
fn a_user_who_spent_ten_dollars_is_blocked() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    create(&luner, block("budget", "cost_usd > 10.0"));
    let first = luner.ask(chat_of("u", "gpt-4o", "spend"));
    assert_eq!(first.status, 200);
    let entry = &mock.ledger().entries[0];
    let cost = entry.prompt_tokens as f64 * 0.1 + entry.completion_tokens as f64;
    assert_eq!(first.header("x-luner-cost-usd"), Some(format!("{cost:.6}").as_str()));
    // Each answer has a handful of tokens, so that a few of them are ten dollars.
    let mut spent = cost;
    while spent <= 10.0 {
        let answer = luner.ask(chat_of("u", "gpt-4o", "spend"));
        assert_eq!(answer.status, 200, "after {spent} dollars");
        spent += answer.header("x-luner-cost-usd").and_then(|cost| cost.parse::<f64>().ok()).expect("a cost");
    }
    let answer = luner.ask(chat_of("u", "gpt-4o", "spend"));
    assert_blocked(&answer, "budget");
    assert!(!answer.text().contains("10"), "no amount is told: {}", answer.text());
    assert_eq!(luner.ask(chat_of("someone else", "gpt-4o", "spend")).status, 200);
}

#[test]
fn after_a_hundred_requests_the_model_is_downgraded() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 2);
    let policy = json!({
        "name": "save", "expression": "request_count > 100 && model == 'gpt-4o'", "action": "downgrade",
        "target_model": "gpt-4o-mini",
    });
    create(&luner, policy);
    let models: Vec<_> = (0..103)
        .map(|_| {
            let answer = luner.ask(chat_of("u", "gpt-4o", "again"));
            assert_eq!(answer.status, 200);
            let policy = answer.header("x-luner-policy").map(str::to_owned);
            (answer.header("x-luner-model").expect("a model").to_owned(), policy)
        })
        .collect();
    let (before, after) = models.split_at(100);
    assert!(before.iter().all(|it| *it == ("gpt-4o".to_owned(), None)), "{before:?}");
    assert!(after.iter().all(|it| *it == ("gpt-4o-mini".to_owned(), Some("save".to_owned()))), "{after:?}");
    let asked: Vec<String> = mock.ledger().entries.iter().map(|entry| entry.model.clone()).collect();
    assert_eq!(asked, models.into_iter().map(|(model, _)| model).collect::<Vec<_>>());
    let matches = luner.metric("luner_policy_matches_total", &["policy=\"save\"", "action=\"downgrade\""]);
    assert_eq!(matches, 3.0);
}

#[test]
fn many_tokens_raise_an_alert_and_change_nothing() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    create(&luner, json!({ "name": "heavy", "expression": "tokens_used > 50000", "action": "alert" }));
    // Four characters a token: one such prompt is half of it.
    let prompt = "long".repeat(26_000);
    for _ in 0..3 {
        assert_eq!(luner.ask(chat_of("u", "gpt-4o", &prompt)).status, 200);
    }
    let matches = || luner.metric("luner_policy_matches_total", &["policy=\"heavy\"", "mode=\"enforce\""]);
    eventually("the third is the first to exceed it", || matches() == 1.0);
    assert_eq!(mock.totals().complete, 3);
}

#[test]
fn models_that_are_not_listed_are_blocked() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    create(&luner, block("allowed models", "!(model in ['gpt-4o-mini', 'claude-haiku-4-5'])"));
    assert_eq!(luner.ask(chat_of("u", "gpt-4o", "no")).header("x-luner-policy"), Some("allowed%20models"));
    assert_eq!(luner.ask(chat_of("u", "gpt-4o-mini", "yes")).status, 200);
    assert_eq!(mock.totals().requests, 1);
}

// Exactness.

#[test]
fn one_after_the_other_exactly_a_hundred_requests_pass_a_limit_of_a_hundred() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 2);
    create(&luner, block("limit", "request_count > 100"));
    let statuses: Vec<u16> = (0..150).map(|_| luner.ask(chat_of("u", "gpt-4o", "count")).status).collect();
    assert!(statuses[..100].iter().all(|status| *status == 200) && statuses[100..].iter().all(|status| *status == 403));
    assert_eq!(mock.totals().requests, 100);
}

#[test]
fn however_many_come_at_once_no_more_than_a_hundred_pass_a_limit_of_a_hundred() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 2);
    create(&luner, block("limit", "request_count > 100"));
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = luner.connect();
                for _ in 0..2_000 / 64 + 1 {
                    let status = client.send(chat_of("u", "gpt-4o", "count")).answer().status;
                    assert!([200, 403].contains(&status), "{status}");
                    passed.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                }
            });
        }
    });
    let reached = mock.totals().requests;
    assert!(reached <= 100, "{reached} requests reached the provider");
    assert_eq!(passed.load(Ordering::Relaxed), reached);
    // Who raced may have kept each other out; the rest of the hundred is still there.
    while luner.ask(chat_of("u", "gpt-4o", "count")).status == 200 {}
    assert_eq!(mock.totals().requests, 100);
}

#[test]
fn requests_at_once_overspend_a_budget_by_no_more_than_one_estimate_is_wrong() {
    let mock = mock_with(|options| options.latency = std::time::Duration::from_millis(50));
    let (luner, _prices) = governed(&mock, 2);
    let budget = 200.0;
    create(&luner, block("budget", &format!("cost_usd + est_cost_usd > {budget:.1}")));
    let barrier = Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut client = luner.connect();
                barrier.wait();
                let status = client.send(short_chat_of("u", 8)).answer().status;
                assert!([200, 403].contains(&status), "{status}");
            });
        }
    });
    let totals = mock.totals();
    let cost = totals.prompt_tokens as f64 * 0.1 + totals.completion_tokens as f64;
    assert!(totals.requests > 0 && totals.requests < 200, "{totals:?}");
    assert!(cost <= budget, "{cost} dollars were spent of {budget}");
}

#[test]
fn what_was_refused_counts_for_nothing() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    let id = create(&luner, block("no one", "true"));
    for _ in 0..20 {
        assert_eq!(luner.ask(chat_of("u", "gpt-4o", "no")).status, 403);
    }
    delete(&luner, &id);
    create(&luner, block("limit", "request_count > 1"));
    assert_eq!(luner.ask(chat_of("u", "gpt-4o", "yes")).status, 200);
    assert_blocked(&luner.ask(chat_of("u", "gpt-4o", "no")), "limit");
}

#[test]
fn a_call_that_fails_or_is_given_up_keeps_no_estimate_in_the_window() {
    let (entered, go) = (Gate::new(), Gate::new());
    let gates = (entered.clone(), go.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        gates.0.permit();
        gates.1.wait();
        if conn.number == 0 {
            conn.reset();
        } else {
            conn.hold();
        }
    });
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::before(upstream.url()).storage_sqlite();
    let luner = gateway.top(&format!("pricing: {{ file: \"{}\" }}\n", prices.path.display())).start();
    create(&luner, block("budget", "cost_usd + est_cost_usd > 5000.0"));
    // The first is estimated at some 3,000 dollars: while it runs there is no room for another.
    let mut failing = luner.connect();
    failing.send(short_chat_of("u", 3_000));
    entered.wait();
    assert_blocked(&luner.ask(short_chat_of("u", 3_000)), "budget");
    go.permit();
    assert_eq!(failing.answer().status, 502);
    // Nor is there while the second one runs; its caller leaves.
    let mut leaving = luner.connect();
    leaving.send(short_chat_of("u", 3_000));
    entered.wait();
    assert_blocked(&luner.ask(short_chat_of("u", 3_000)), "budget");
    go.permit();
    leaving.reset();
    eventually("the caller's leaving is accounted for", || {
        luner.metric("luner_requests_total", &["status=\"499\""]) == 1.0
    });
    go.permit();
    let mut third = luner.connect();
    third.send(short_chat_of("u", 3_000));
    entered.wait();
}

// Changes.

#[test]
fn a_policy_acts_on_the_very_next_request_of_every_connection_on_every_shard() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 2);
    // The kernel spreads connections over the shards' listeners by their ports: of 24, all on one shard is one case in 2^23.
    let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
    for round in 0..5 {
        for client in &mut clients {
            assert_eq!(client.send(chat_of("u", "gpt-4o", "hello")).answer().status, 200, "round {round}");
        }
        let id = create(&luner, block("stop", "user_id == 'u'"));
        for client in &mut clients {
            assert_eq!(client.send(chat_of("u", "gpt-4o", "hello")).answer().status, 403, "round {round}");
        }
        delete(&luner, &id);
    }
    assert_eq!(luner.ask(chat_of("u", "gpt-4o", "hello")).status, 200);
}

#[test]
fn a_thousand_changes_under_load_leave_no_shard_behind_and_leak_nothing() {
    let mock = mock_with(|options| options.ledger = false);
    let (luner, _prices) = governed(&mock, 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when an assertion fails: the scope waits for its threads.
        let _stop = Stop(&stop);
        for user in ["a", "b", "c", "d"] {
            let (luner, stop) = (&luner, &stop);
            scope.spawn(move || {
                let mut client = luner.connect();
                while !stop.load(Ordering::Acquire) {
                    let status = client.send(chat_of(user, "gpt-4o", "hello")).answer().status;
                    assert!([200, 403].contains(&status), "{status}");
                }
            });
        }
        let first = luner.health()["plan"].as_u64().expect("a plan");
        let mut rss_early = 0;
        for round in 0..500 {
            let id =
                create(&luner, block(&format!("policy {}", round % 7), "user_id == 'a' && request_count > 100000"));
            delete(&luner, &id);
            if round == 50 {
                rss_early = luner.rss_bytes();
            }
        }
        assert_eq!(luner.health()["plan"].as_u64(), Some(first + 1_000));
        // SQLite's page cache fills up to 32 MiB meanwhile; what is left is little for 900 plans.
        let grown = luner.rss_bytes().saturating_sub(rss_early);
        assert!(grown < 48 << 20, "grew by {grown} bytes in 900 changes");
        create(&luner, block("at last", "user_id == 'a'"));
        let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.send(chat_of("a", "gpt-4o", "hello")).answer().status, 403);
        }
    });
}

/// Tells the threads of a test to end when the test does.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_shadow_policy_counts_and_blocks_nothing() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    create(&luner, json!({ "name": "dry run", "expression": "true", "action": "block", "mode": "shadow" }));
    assert_eq!(luner.ask(chat_of("u", "gpt-4o", "hello")).status, 200);
    let matches = || luner.metric("luner_policy_matches_total", &["policy=\"dry run\"", "mode=\"shadow\""]);
    eventually("it is counted", || matches() == 1.0);
}

// 44
#[test]
fn a_policy_that_fails_at_run_time_blocks_if_it_blocks_and_is_skipped_otherwise() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    let failing = "1 / (request_count - request_count) > 0";
    create(&luner, json!({ "name": "failing alert", "expression": failing, "action": "alert", "priority": 1 }));
    assert_eq!(luner.ask(chat_of("u", "gpt-4o", "hello")).status, 200);
    create(&luner, block("failing block", failing));
    let answer = luner.ask(chat_of("u", "gpt-4o", "hello"));
    assert_eq!((answer.status, answer.header("x-luner-policy")), (403, Some("failing%20block")));
    eventually("both are counted", || {
        luner.metric("luner_policy_errors_total", &["policy=\"failing alert\""]) == 2.0
            && luner.metric("luner_policy_errors_total", &["policy=\"failing block\""]) == 1.0
    });
}

#[test]
fn a_downgrade_rewrites_the_model_and_nothing_else() {
    let mock = mock();
    let (luner, _prices) = governed(&mock, 1);
    create(
        &luner,
        json!({ "name": "cheap", "expression": "model == 'gpt-4o'", "action": "downgrade", "target_model": "gpt-4o-mini" }),
    );
    let body = r#"{ "messages" : [{"role":"user","content":"a \u0041"}] , "stream":true, "model" : "gpt-4o" }"#;
    let answer = luner.ask(post(CHAT, body));
    assert_eq!((answer.status, answer.header("x-luner-model")), (200, Some("gpt-4o-mini")));
    let sent = mock.ledger().entries[0].body.clone().expect("bodies are kept");
    let expected = body.replace("\"gpt-4o\"", "\"gpt-4o-mini\"");
    let expected = expected.replacen('{', "{\"stream_options\":{\"include_usage\":true},", 1);
    assert_eq!(sent, expected);
}

#[test]
fn a_model_without_a_price_is_refused_where_the_operator_says_so() {
    let mock = mock();
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::new().provider("openai", mock.base_url(), &["gpt-4o", "local"]);
    let section = format!("pricing: {{ file: \"{}\", unknown: block }}", prices.path.display());
    let luner = gateway.top(&section).start();
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 200);
    let answer = luner.post_chat("local", "hello");
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("model_not_priced")));
    assert_eq!(mock.totals().requests, 1);
}

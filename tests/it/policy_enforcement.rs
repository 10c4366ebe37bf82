//! Policies on real requests: created over REST, applied on every shard, exact under concurrency. The provider's own
//! ledger is the reference.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::*;

/// A dollar per 10 prompt tokens and per completion token of the expensive model. The cheap one costs a thousandth.
const PRICES: &str = r#"{
  "gpt-4o": { "input_cost_per_token": 0.1, "output_cost_per_token": 1.0 },
  "gpt-4o-mini": { "input_cost_per_token": 0.0001, "output_cost_per_token": 0.001 }
}"#;

/// Starts a gateway with storage and prices in front of this mock.
fn start_with_prices(mock: &Mock, workers: usize) -> (Running, Scratch) {
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(workers);
    let gateway = gateway.with(json!({ "pricing": { "file": prices.path } }));
    (gateway.start(), prices)
}

/// Creates a policy and returns its id.
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

/// A chat request by this user.
fn chat_by(user: &str, model: &str, prompt: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-User: {user}\r\n"), chat(model, prompt))
}

/// A chat request by this user, with a bounded answer.
fn short_chat_by(user: &str, max_tokens: u32) -> Vec<u8> {
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

// The example policies of the first luner's documentation, word for word.

#[test]
fn user_is_blocked_after_spending_ten_dollars() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    create(&luner, block("budget", "cost_usd > 10.0"));
    let first = luner.ask(chat_by("u", "gpt-4o", "spend"));
    assert_eq!(first.status, 200);
    let entry = &mock.ledger().entries[0];
    let cost = entry.prompt_tokens as f64 * 0.1 + entry.completion_tokens as f64;
    assert_eq!(first.header("x-luner-cost-usd"), Some(format!("{cost:.6}").as_str()));
    // An answer has a handful of tokens, so a few answers cost ten dollars.
    let mut spent = cost;
    while spent <= 10.0 {
        let answer = luner.ask(chat_by("u", "gpt-4o", "spend"));
        assert_eq!(answer.status, 200, "after {spent} dollars");
        spent += answer.header("x-luner-cost-usd").and_then(|cost| cost.parse::<f64>().ok()).expect("a cost");
    }
    let answer = luner.ask(chat_by("u", "gpt-4o", "spend"));
    assert_blocked(&answer, "budget");
    assert!(!answer.text().contains("10"), "no amount is revealed: {}", answer.text());
    assert_eq!(luner.ask(chat_by("someone else", "gpt-4o", "spend")).status, 200);
}

#[test]
fn model_is_downgraded_after_a_hundred_requests() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 2);
    let policy = json!({
        "name": "save", "expression": "request_count > 100 && model == 'gpt-4o'", "action": "downgrade",
        "target_model": "gpt-4o-mini",
    });
    create(&luner, policy);
    let models: Vec<_> = (0..103)
        .map(|_| {
            let answer = luner.ask(chat_by("u", "gpt-4o", "again"));
            assert_eq!(answer.status, 200);
            let policy = answer.header("x-luner-policy").map(str::to_owned);
            (answer.header("x-luner-model").expect("a model").to_owned(), policy)
        })
        .collect();
    let (before, after) = models.split_at(100);
    assert!(before.iter().all(|seen| *seen == ("gpt-4o".to_owned(), None)), "{before:?}");
    assert!(after.iter().all(|seen| *seen == ("gpt-4o-mini".to_owned(), Some("save".to_owned()))), "{after:?}");
    let asked: Vec<String> = mock.ledger().entries.iter().map(|entry| entry.model.clone()).collect();
    assert_eq!(asked, models.into_iter().map(|(model, _)| model).collect::<Vec<_>>());
    let matches = luner.metric("luner_policy_matches_total", &["policy=\"save\"", "action=\"downgrade\""]);
    assert_eq!(matches, 3.0);
}

#[test]
fn token_alert_is_counted_and_blocks_nothing() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    create(&luner, json!({ "name": "heavy", "expression": "tokens_used > 50000", "action": "alert" }));
    // At four characters per token, one such prompt is half of the 50,000 tokens.
    let prompt = "long".repeat(26_000);
    for _ in 0..3 {
        assert_eq!(luner.ask(chat_by("u", "gpt-4o", &prompt)).status, 200);
    }
    let matches = || luner.metric("luner_policy_matches_total", &["policy=\"heavy\"", "mode=\"enforce\""]);
    eventually("only the third request exceeds it", || matches() == 1.0);
    assert_eq!(mock.totals().complete, 3);
}

#[test]
fn unlisted_models_are_blocked() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    create(&luner, block("allowed models", "!(model in ['gpt-4o-mini', 'claude-haiku-4-5'])"));
    assert_eq!(luner.ask(chat_by("u", "gpt-4o", "no")).header("x-luner-policy"), Some("allowed%20models"));
    assert_eq!(luner.ask(chat_by("u", "gpt-4o-mini", "yes")).status, 200);
    assert_eq!(mock.totals().requests, 1);
}

// Exact limits.

#[test]
fn sequential_requests_fill_the_limit_exactly() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 2);
    create(&luner, block("limit", "request_count > 100"));
    let statuses: Vec<u16> = (0..150).map(|_| luner.ask(chat_by("u", "gpt-4o", "count")).status).collect();
    assert!(statuses[..100].iter().all(|status| *status == 200) && statuses[100..].iter().all(|status| *status == 403));
    assert_eq!(mock.totals().requests, 100);
}

#[test]
fn concurrent_requests_never_exceed_the_limit() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 2);
    create(&luner, block("limit", "request_count > 100"));
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = luner.connect();
                for _ in 0..2_000 / 64 + 1 {
                    let status = client.send(chat_by("u", "gpt-4o", "count")).answer().status;
                    assert!([200, 403].contains(&status), "{status}");
                    passed.fetch_add(u64::from(status == 200), Ordering::Relaxed);
                }
            });
        }
    });
    let reached = mock.totals().requests;
    assert!(reached <= 100, "{reached} requests reached the provider");
    assert_eq!(passed.load(Ordering::Relaxed), reached);
    // Racing requests may have refused each other below the limit. The rest of the hundred must still be available.
    while luner.ask(chat_by("u", "gpt-4o", "count")).status == 200 {}
    assert_eq!(mock.totals().requests, 100);
}

#[test]
fn concurrent_requests_do_not_overspend_a_budget() {
    let mock = mock_with(|options| options.latency = std::time::Duration::from_millis(50));
    let (luner, _prices) = start_with_prices(&mock, 2);
    let budget = 200.0;
    create(&luner, block("budget", &format!("cost_usd + est_cost_usd > {budget:.1}")));
    let barrier = Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut client = luner.connect();
                barrier.wait();
                let status = client.send(short_chat_by("u", 8)).answer().status;
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
fn blocked_requests_do_not_count_towards_a_limit() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    let id = create(&luner, block("no one", "true"));
    for _ in 0..20 {
        assert_eq!(luner.ask(chat_by("u", "gpt-4o", "no")).status, 403);
    }
    delete(&luner, &id);
    create(&luner, block("limit", "request_count > 1"));
    assert_eq!(luner.ask(chat_by("u", "gpt-4o", "yes")).status, 200);
    assert_blocked(&luner.ask(chat_by("u", "gpt-4o", "no")), "limit");
}

#[test]
fn failed_or_abandoned_call_releases_its_estimate() {
    let (asked, proceed) = (Gate::new(), Gate::new());
    let (was_asked, may_proceed) = (asked.clone(), proceed.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        was_asked.permit();
        may_proceed.wait();
        if conn.number == 0 {
            conn.reset();
        } else {
            conn.hold();
        }
    });
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::in_front_of(upstream.url()).storage_sqlite();
    let luner = gateway.with(json!({ "pricing": { "file": prices.path } })).start();
    create(&luner, block("budget", "cost_usd + est_cost_usd > 5000.0"));
    // The estimate is about 3,000 dollars, so the budget has no room for a second call while the first one runs.
    let mut failing = luner.connect();
    failing.send(short_chat_by("u", 3_000));
    asked.wait();
    assert_blocked(&luner.ask(short_chat_by("u", 3_000)), "budget");
    proceed.permit();
    assert_eq!(failing.answer().status, 502);
    // The second call blocks a third one too, until its caller leaves.
    let mut leaving = luner.connect();
    leaving.send(short_chat_by("u", 3_000));
    asked.wait();
    assert_blocked(&luner.ask(short_chat_by("u", 3_000)), "budget");
    proceed.permit();
    leaving.reset();
    eventually("the abandoned request is counted", || luner.metric("luner_requests_total", &["status=\"499\""]) == 1.0);
    proceed.permit();
    let mut third = luner.connect();
    third.send(short_chat_by("u", 3_000));
    asked.wait();
}

// Changes of policies.

#[test]
fn new_policy_applies_to_the_next_request_on_every_connection() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 2);
    // The kernel spreads connections over the shards by port. All 24 on one shard has a chance of one in 2^23.
    let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
    for round in 0..5 {
        for client in &mut clients {
            assert_eq!(client.send(chat_by("u", "gpt-4o", "hello")).answer().status, 200, "round {round}");
        }
        let id = create(&luner, block("stop", "user_id == 'u'"));
        for client in &mut clients {
            assert_eq!(client.send(chat_by("u", "gpt-4o", "hello")).answer().status, 403, "round {round}");
        }
        delete(&luner, &id);
    }
    assert_eq!(luner.ask(chat_by("u", "gpt-4o", "hello")).status, 200);
}

#[test]
fn thousand_policy_changes_under_load_reach_every_shard_and_leak_nothing() {
    let mock = mock_with(|options| options.ledger = false);
    let (luner, _prices) = start_with_prices(&mock, 2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Set even if an assertion fails, because the scope waits for its threads.
        let _stop = StopOnDrop(&stop);
        for user in ["a", "b", "c", "d"] {
            let (luner, stop) = (&luner, &stop);
            scope.spawn(move || {
                let mut client = luner.connect();
                while !stop.load(Ordering::Acquire) {
                    let status = client.send(chat_by(user, "gpt-4o", "hello")).answer().status;
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
        // SQLite's page cache may grow to 32 MiB meanwhile. The other 16 MiB are little for 900 plans.
        let grown = luner.rss_bytes().saturating_sub(rss_early);
        assert!(grown < 48 << 20, "grew by {grown} bytes in 900 changes");
        create(&luner, block("at last", "user_id == 'a'"));
        let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.send(chat_by("a", "gpt-4o", "hello")).answer().status, 403);
        }
    });
}

/// Stops the threads of a test when the test ends.
struct StopOnDrop<'s>(&'s AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn shadow_policy_is_counted_and_blocks_nothing() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    create(&luner, json!({ "name": "dry run", "expression": "true", "action": "block", "mode": "shadow" }));
    assert_eq!(luner.ask(chat_by("u", "gpt-4o", "hello")).status, 200);
    let matches = || luner.metric("luner_policy_matches_total", &["policy=\"dry run\"", "mode=\"shadow\""]);
    eventually("the match is counted", || matches() == 1.0);
}

/// FAULTS.md row 44.
#[test]
fn failing_block_policy_blocks_and_failing_alert_is_skipped() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
    let failing = "1 / (request_count - request_count) > 0";
    create(&luner, json!({ "name": "failing alert", "expression": failing, "action": "alert", "priority": 1 }));
    assert_eq!(luner.ask(chat_by("u", "gpt-4o", "hello")).status, 200);
    create(&luner, block("failing block", failing));
    let answer = luner.ask(chat_by("u", "gpt-4o", "hello"));
    assert_eq!((answer.status, answer.header("x-luner-policy")), (403, Some("failing%20block")));
    eventually("both are counted", || {
        luner.metric("luner_policy_errors_total", &["policy=\"failing alert\""]) == 2.0
            && luner.metric("luner_policy_errors_total", &["policy=\"failing block\""]) == 1.0
    });
}

#[test]
fn downgrade_rewrites_only_the_model() {
    let mock = mock();
    let (luner, _prices) = start_with_prices(&mock, 1);
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
fn unpriced_model_is_refused_when_configured() {
    let mock = mock();
    let prices = Scratch::new(PRICES);
    let gateway = Gateway::new().provider("openai", mock.base_url(), &["gpt-4o", "local"]);
    let luner = gateway.with(json!({ "pricing": { "file": prices.path, "unknown": "block" } })).start();
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 200);
    let answer = luner.post_chat("local", "hello");
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("model_not_priced")));
    assert_eq!(mock.totals().requests, 1);
}

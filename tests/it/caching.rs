//! Answers given again: what is cached and for whom, one call for many who ask at once, and who goes on when that call fails.
//! The provider's own ledger says how often it was asked.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// A request that may be answered from the cache.
fn cold_body(prompt: &str) -> Value {
    json!({ "model": "gpt-4o", "temperature": 0, "messages": [{ "role": "user", "content": prompt }] })
}

fn cold(prompt: &str) -> Vec<u8> {
    post(CHAT, cold_body(prompt).to_string())
}

/// The same of this tenant.
fn cold_of(tenant: &str, prompt: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-Tenant: {tenant}\r\n"), cold_body(prompt).to_string())
}

#[track_caller]
fn assert_cached(answer: &Answer, cache: &str) {
    assert_eq!((answer.status, answer.header("x-luner-cache")), (200, Some(cache)), "{}", answer.text());
}

/// Waits until the answer that was just fetched is with its owner: the caller may have it first.
#[track_caller]
fn settle(luner: &Running, entries: f64) {
    eventually("the answers are stored", || luner.metric("luner_cache_size", &[]) == entries);
}

#[test]
fn one_prompt_on_every_shard_is_one_call_and_hits_everywhere() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).workers(2).start();
    let first = luner.ask(cold("the same"));
    assert_cached(&first, "MISS");
    settle(&luner, 1.0);
    // The kernel spreads connections over the shards by their ports: of 24, all on one shard is one case in 2^23.
    let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
    for round in 0..2 {
        for client in &mut clients {
            let answer = client.send(cold("the same")).answer();
            assert_cached(&answer, "HIT");
            assert_eq!(answer.body, first.body, "round {round}");
            assert_eq!(answer.header("content-type"), first.header("content-type"));
            assert_eq!(answer.header("x-luner-cost-usd"), Some("0.000000"));
            assert_eq!(answer.header("x-luner-provider"), Some("openai"));
        }
    }
    assert_eq!(mock.totals().requests, 1);
    assert_eq!(luner.metric("luner_cache_hits_total", &[]), 48.0);
    assert_eq!(luner.metric("luner_cache_misses_total", &[]), 1.0);
    let tokens = |kind: &str| luner.metric("luner_tokens_used_total", &[&format!("type=\"{kind}\"")]);
    assert_eq!(tokens("total"), (mock.totals().prompt_tokens + mock.totals().completion_tokens) as f64);
}

#[test]
fn a_hit_saves_what_the_first_answer_cost() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let cost = luner.ask(cold("dear")).header("x-luner-cost-usd").and_then(|cost| cost.parse::<f64>().ok());
    settle(&luner, 1.0);
    for _ in 0..3 {
        assert_cached(&luner.ask(cold("dear")), "HIT");
    }
    let (saved, paid) = (luner.metric("luner_saved_usd_total", &[]), luner.metric("luner_cost_usd_total", &[]));
    let cost = cost.expect("a cost");
    assert!(cost > 0.0 && (saved - 3.0 * cost).abs() < 1e-9 && (paid - cost).abs() < 1e-9, "{saved}, {paid}, {cost}");
}

#[test]
fn many_hits_change_neither_the_size_nor_the_ledger() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).workers(2).log("info").start();
    assert_cached(&luner.ask(cold("again")), "MISS");
    settle(&luner, 1.0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = luner.connect();
                for _ in 0..2_500 {
                    assert_cached(&client.send(cold("again")).answer(), "HIT");
                }
            });
        }
    });
    assert_eq!(luner.metric("luner_cache_hits_total", &[]), 10_000.0);
    assert_eq!((luner.metric("luner_cache_size", &[]), mock.totals().requests), (1.0, 1));
}

#[test]
fn what_is_written_otherwise_is_the_same_and_what_means_something_else_is_not() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    assert_cached(
        &luner.ask(post(CHAT, r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"a"}]}"#)),
        "MISS",
    );
    settle(&luner, 1.0);
    for same in [
        r#"{ "messages": [ {"content":"\u0061", "role":"user"} ], "temperature": 0.0, "model": "gpt-4o" }"#,
        r#"{"model":"gpt-4o","temperature":-0,"stream":false,"user":"u","metadata":{"a":"b"},"messages":[{"role":"user","content":"a"}]}"#,
    ] {
        assert_cached(&luner.ask(post(CHAT, same)), "HIT");
    }
    for other in [
        r#"{"model":"gpt-4o-mini","temperature":0,"messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"gpt-4o","temperature":0,"seed":1,"messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"system","content":"a"}]}"#,
        r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"a"},{"role":"user","content":"a"}]}"#,
    ] {
        assert_cached(&luner.ask(post(CHAT, other)), "MISS");
    }
    for bypassing in [
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"gpt-4o","temperature":0.1,"messages":[{"role":"user","content":"a"}]}"#,
        r#"{"model":"gpt-4o","temperature":0,"stream":true,"messages":[{"role":"user","content":"a"}]}"#,
    ] {
        assert_cached(&luner.ask(post(CHAT, bypassing)), "BYPASS");
    }
    // The path is part of what is asked.
    let completion = r#"{"model":"gpt-4o","temperature":0,"prompt":"a"}"#;
    assert_cached(&luner.ask(post("/v1/completions", completion)), "MISS");
}

// 47
#[test]
fn no_tenant_is_given_the_answer_of_another_unless_the_operator_says_so() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    assert_cached(&luner.ask(cold_of("a", "secret")), "MISS");
    settle(&luner, 1.0);
    for tenant in ["b", "A", "", "a "] {
        let answer = luner.ask(cold_of(tenant, "secret"));
        // Space around a header's value is none of it.
        assert_cached(&answer, if tenant == "a " { "HIT" } else { "MISS" });
    }
    assert_cached(&luner.ask(cold_of("a", "secret")), "HIT");
    let shared = Gateway::before(mock.base_url()).top("cache: { scope: global }").start();
    assert_cached(&shared.ask(cold_of("a", "secret")), "MISS");
    settle(&shared, 1.0);
    assert_cached(&shared.ask(cold_of("b", "secret")), "HIT");
}

#[test]
fn a_downgraded_request_shares_the_answer_of_its_model() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).storage_sqlite().start();
    let downgrade = json!({ "name": "cheap", "expression": "model == 'gpt-4o'", "action": "downgrade", "target_model": "gpt-4o-mini" });
    luner.api().create(&downgrade);
    let mut mini = cold_body("share");
    mini["model"] = "gpt-4o-mini".into();
    assert_cached(&luner.ask(post(CHAT, mini.to_string())), "MISS");
    settle(&luner, 1.0);
    let answer = luner.ask(cold("share"));
    assert_cached(&answer, "HIT");
    assert_eq!((answer.header("x-luner-model"), answer.header("x-luner-policy")), (Some("gpt-4o-mini"), Some("cheap")));
}

#[test]
fn a_hit_is_judged_like_any_request() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).storage_sqlite().start();
    assert_cached(&luner.ask(cold("judged")), "MISS");
    settle(&luner, 1.0);
    luner.api().create(&json!({ "name": "three", "expression": "request_count > 3", "action": "block" }));
    assert_cached(&luner.ask(cold("judged")), "HIT");
    assert_cached(&luner.ask(cold("judged")), "HIT");
    assert_eq!(luner.ask(cold("judged")).status, 403);
}

#[test]
fn the_callers_cache_control_is_honoured() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let with = |directive: &str| {
        luner.ask(post_with(CHAT, &format!("Cache-Control: {directive}\r\n"), cold_body("fresh").to_string()))
    };
    assert_cached(&with("no-store"), "BYPASS");
    assert_eq!(luner.metric("luner_cache_size", &[]), 0.0);
    assert_cached(&with("no-cache"), "MISS");
    settle(&luner, 1.0);
    assert_cached(&luner.ask(cold("fresh")), "HIT");
    assert_cached(&with("no-cache"), "MISS");
    assert_cached(&with("no-store"), "BYPASS");
    assert_eq!(mock.totals().requests, 4);
}

// 48
#[test]
fn only_whole_answers_without_calls_of_tools_are_kept() {
    let calls = json!({ "choices": [{ "message": { "tool_calls": [{ "id": "call_1" }] } }] }).to_string();
    for (what, answer) in [
        ("an error", "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("no JSON", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
        ("another 2xx", "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("a call of a tool", ok_json(calls)),
        ("encoded", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
    ] {
        let upstream = Upstream::always(answer);
        let luner = Gateway::before(upstream.url()).start();
        for _ in 0..2 {
            assert_eq!(luner.ask(cold("odd")).header("x-luner-cache"), Some("MISS"), "{what}");
        }
        assert_eq!(upstream.requests().len(), 2, "{what}");
        assert_eq!(luner.metric("luner_cache_size", &[]), 0.0, "{what}");
    }
}

// 50
#[test]
fn five_hundred_who_ask_at_once_make_one_call() {
    raise_descriptor_limit();
    let mock = mock_with(|options| options.latency = Duration::from_millis(400));
    let luner = Gateway::before(mock.base_url()).workers(2).start();
    let clients: Vec<Raw> = (0..500).map(|_| luner.connect()).collect();
    let barrier = Barrier::new(500);
    thread::scope(|scope| {
        for mut client in clients {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let answer = client.send(cold("herd")).answer();
                assert_eq!((answer.status, answer.said()), (200, reply("herd")));
            });
        }
    });
    assert_eq!(mock.totals().requests, 1);
    let (hits, misses) = (luner.metric("luner_cache_hits_total", &[]), luner.metric("luner_cache_misses_total", &[]));
    assert_eq!((hits, misses), (499.0, 1.0));
}

// 50
#[test]
fn when_the_one_who_fetches_leaves_another_fetches_and_all_are_answered() {
    raise_descriptor_limit();
    let (entered, go) = (Gate::new(), Gate::new());
    let gates = (entered.clone(), go.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        gates.0.permit();
        if conn.number == 0 {
            conn.hold();
            return;
        }
        gates.1.wait();
        conn.write(ok_chat("herd"));
        while conn.next_request().is_some() {
            conn.write(ok_chat("herd"));
        }
    });
    let luner = Gateway::before(upstream.url()).workers(2).start();
    let mut leader = luner.connect();
    leader.send(cold("herd"));
    entered.wait();
    let mut others: Vec<Raw> = (0..200).map(|_| luner.connect()).collect();
    for other in &mut others {
        other.send(cold("herd"));
    }
    leader.reset();
    entered.wait();
    go.permit();
    for other in &mut others {
        assert_eq!(other.answer().status, 200);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_failure_reaches_the_one_who_met_it_and_the_next_tries() {
    let (entered, go) = (Gate::new(), Gate::new());
    let gates = (entered.clone(), go.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        gates.0.permit();
        gates.1.wait();
        match conn.number {
            0 => conn.reset(),
            _ => drop(conn.write(ok_chat("well"))),
        }
    });
    let luner = Gateway::before(upstream.url()).start();
    let mut leader = luner.connect();
    leader.send(cold("try"));
    entered.wait();
    let mut others: Vec<Raw> = (0..20).map(|_| luner.connect()).collect();
    for other in &mut others {
        other.send(cold("try"));
    }
    eventually("all wait", || luner.health()["status"] == "ok" && luner.metric("luner_in_flight", &[]) == 21.0);
    go.permit();
    assert_eq!(leader.answer().status, 502);
    entered.wait();
    go.permit();
    for other in &mut others {
        assert_eq!(other.answer().status, 200);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn an_answer_that_is_not_for_others_sends_each_to_fetch_its_own() {
    let mock = mock_with(|options| options.latency = Duration::from_millis(200));
    let luner = Gateway::before(mock.base_url()).start();
    // The mock's own 400 to what it cannot read.
    let odd = json!({ "model": "gpt-4o", "temperature": 0, "messages": "none" }).to_string();
    thread::scope(|scope| {
        for _ in 0..10 {
            let (luner, odd) = (&luner, &odd);
            scope.spawn(move || assert_eq!(luner.ask(post(CHAT, odd)).status, 400));
        }
    });
    assert_eq!(mock.totals().requests, 10);
}

#[test]
fn one_who_waits_keeps_to_the_providers_timeout() {
    let upstream = Upstream::script(|conn| {
        conn.request();
        conn.hold();
    });
    let luner =
        Gateway::new().provider_with("openai", upstream.url(), &["gpt-4o"], "timeout: 400ms\nretries: 0").start();
    let mut clients: Vec<Raw> = (0..3).map(|_| luner.connect()).collect();
    for client in &mut clients {
        client.send(cold("slow"));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 504);
    }
}

#[test]
fn no_more_is_kept_than_is_allowed_and_leaving_is_counted() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).top("cache: { max_items: 10 }").start();
    for nth in 0..25 {
        assert_cached(&luner.ask(cold(&format!("prompt {nth}"))), "MISS");
    }
    settle(&luner, 10.0);
    assert_eq!(luner.metric("luner_cache_evictions_total", &["reason=\"capacity\""]), 15.0);
    // The last ten are there, the first is not.
    assert_cached(&luner.ask(cold("prompt 24")), "HIT");
    assert_cached(&luner.ask(cold("prompt 0")), "MISS");
}

#[test]
fn large_answers_leave_by_their_bytes() {
    let large = completion(&"x".repeat(900 * 1024));
    let upstream = Upstream::always(ok_json(large));
    let luner = Gateway::before(upstream.url()).top("cache: { max_bytes: 4MiB }").start();
    for nth in 0..8 {
        assert_cached(&luner.ask(cold(&format!("prompt {nth}"))), "MISS");
    }
    settle(&luner, 4.0);
    assert_eq!(luner.metric("luner_cache_evictions_total", &["reason=\"capacity\""]), 4.0);
}

#[test]
fn answers_leave_when_their_time_is_over() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).top("cache: { default_ttl: 1s }").start();
    assert_cached(&luner.ask(cold("soon over")), "MISS");
    settle(&luner, 1.0);
    eventually("its time is over", || luner.metric("luner_cache_evictions_total", &["reason=\"ttl\""]) == 1.0);
    assert_cached(&luner.ask(cold("soon over")), "MISS");
}

#[test]
fn a_cache_that_is_off_keeps_nothing() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).top("cache: { enabled: false }").start();
    for _ in 0..2 {
        assert_cached(&luner.ask(cold("off")), "BYPASS");
    }
    assert_eq!(mock.totals().requests, 2);
}

//! The answer cache: what is cached and for whom, single flight, and what happens when the flight fails. The provider's
//! own ledger counts the calls.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// A request that may be answered from the cache.
fn cacheable_body(prompt: &str) -> Value {
    json!({ "model": "gpt-4o", "temperature": 0, "messages": [{ "role": "user", "content": prompt }] })
}

fn cacheable(prompt: &str) -> Vec<u8> {
    post(CHAT, cacheable_body(prompt).to_string())
}

/// A request by this tenant that may be answered from the cache.
fn cacheable_by(tenant: &str, prompt: &str) -> Vec<u8> {
    post_with(CHAT, &format!("X-Luner-Tenant: {tenant}\r\n"), cacheable_body(prompt).to_string())
}

#[track_caller]
fn assert_cached(answer: &Answer, cache: &str) {
    assert_eq!((answer.status, answer.header("x-luner-cache")), (200, Some(cache)), "{}", answer.text());
}

/// Waits until the cache holds this many answers. An answer may reach its caller before it is stored.
#[track_caller]
fn wait_for_entries(luner: &Running, entries: f64) {
    eventually("the answers are stored", || luner.metric("luner_cache_size", &[]) == entries);
}

#[test]
fn repeated_prompt_hits_on_every_shard_after_one_call() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    let first = luner.ask(cacheable("the same"));
    assert_cached(&first, "MISS");
    wait_for_entries(&luner, 1.0);
    // The kernel spreads connections over the shards by port. All 24 on one shard has a chance of one in 2^23.
    let mut clients: Vec<Raw> = (0..24).map(|_| luner.connect()).collect();
    for round in 0..2 {
        for client in &mut clients {
            let answer = client.send(cacheable("the same")).answer();
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
fn hit_saves_the_cost_of_the_first_answer() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let cost = luner.ask(cacheable("dear")).header("x-luner-cost-usd").and_then(|cost| cost.parse::<f64>().ok());
    wait_for_entries(&luner, 1.0);
    for _ in 0..3 {
        assert_cached(&luner.ask(cacheable("dear")), "HIT");
    }
    let (saved, paid) = (luner.metric("luner_saved_usd_total", &[]), luner.metric("luner_cost_usd_total", &[]));
    let cost = cost.expect("a cost");
    assert!(cost > 0.0 && (saved - 3.0 * cost).abs() < 1e-9 && (paid - cost).abs() < 1e-9, "{saved}, {paid}, {cost}");
}

#[test]
fn hits_add_no_entry_and_no_upstream_call() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).log("info").start();
    assert_cached(&luner.ask(cacheable("again")), "MISS");
    wait_for_entries(&luner, 1.0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = luner.connect();
                for _ in 0..2_500 {
                    assert_cached(&client.send(cacheable("again")).answer(), "HIT");
                }
            });
        }
    });
    assert_eq!(luner.metric("luner_cache_hits_total", &[]), 10_000.0);
    assert_eq!((luner.metric("luner_cache_size", &[]), mock.totals().requests), (1.0, 1));
}

#[test]
fn spelling_does_not_change_the_key_but_meaning_does() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    assert_cached(
        &luner.ask(post(CHAT, r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"a"}]}"#)),
        "MISS",
    );
    wait_for_entries(&luner, 1.0);
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
    // The path is part of the key.
    let completion = r#"{"model":"gpt-4o","temperature":0,"prompt":"a"}"#;
    assert_cached(&luner.ask(post("/v1/completions", completion)), "MISS");
}

/// FAULTS.md row 47.
#[test]
fn tenants_share_no_answer_unless_the_scope_is_global() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    assert_cached(&luner.ask(cacheable_by("a", "secret")), "MISS");
    wait_for_entries(&luner, 1.0);
    for tenant in ["b", "A", "", "a "] {
        let answer = luner.ask(cacheable_by(tenant, "secret"));
        // White space around a header's value is not part of the value.
        assert_cached(&answer, if tenant == "a " { "HIT" } else { "MISS" });
    }
    assert_cached(&luner.ask(cacheable_by("a", "secret")), "HIT");
    let shared = Gateway::in_front_of(mock.base_url()).with(json!({ "cache": { "scope": "global" } })).start();
    assert_cached(&shared.ask(cacheable_by("a", "secret")), "MISS");
    wait_for_entries(&shared, 1.0);
    assert_cached(&shared.ask(cacheable_by("b", "secret")), "HIT");
}

#[test]
fn downgraded_request_hits_the_entry_of_its_new_model() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).storage_sqlite().start();
    luner.api().create(&json!({
        "name": "cheap", "expression": "model == 'gpt-4o'", "action": "downgrade", "target_model": "gpt-4o-mini",
    }));
    let mut mini = cacheable_body("share");
    mini["model"] = "gpt-4o-mini".into();
    assert_cached(&luner.ask(post(CHAT, mini.to_string())), "MISS");
    wait_for_entries(&luner, 1.0);
    let answer = luner.ask(cacheable("share"));
    assert_cached(&answer, "HIT");
    assert_eq!((answer.header("x-luner-model"), answer.header("x-luner-policy")), (Some("gpt-4o-mini"), Some("cheap")));
}

#[test]
fn policies_judge_a_hit_like_any_request() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).storage_sqlite().start();
    assert_cached(&luner.ask(cacheable("judged")), "MISS");
    wait_for_entries(&luner, 1.0);
    luner.api().create(&json!({ "name": "three", "expression": "request_count > 3", "action": "block" }));
    assert_cached(&luner.ask(cacheable("judged")), "HIT");
    assert_cached(&luner.ask(cacheable("judged")), "HIT");
    assert_eq!(luner.ask(cacheable("judged")).status, 403);
}

#[test]
fn cache_control_of_the_caller_is_honoured() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let with = |directive: &str| {
        luner.ask(post_with(CHAT, &format!("Cache-Control: {directive}\r\n"), cacheable_body("fresh").to_string()))
    };
    assert_cached(&with("no-store"), "BYPASS");
    assert_eq!(luner.metric("luner_cache_size", &[]), 0.0);
    assert_cached(&with("no-cache"), "MISS");
    wait_for_entries(&luner, 1.0);
    assert_cached(&luner.ask(cacheable("fresh")), "HIT");
    assert_cached(&with("no-cache"), "MISS");
    assert_cached(&with("no-store"), "BYPASS");
    assert_eq!(mock.totals().requests, 4);
}

/// FAULTS.md row 48.
#[test]
fn errors_and_tool_calls_are_not_cached() {
    let calls = json!({ "choices": [{ "message": { "tool_calls": [{ "id": "call_1" }] } }] }).to_string();
    for (what, answer) in [
        ("an error", "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("a body that is not JSON", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi".to_owned()),
        ("another 2xx", "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("a tool call", ok_json(calls)),
        ("an encoded body", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
    ] {
        let upstream = Upstream::always(answer);
        let luner = Gateway::in_front_of(upstream.url()).start();
        for _ in 0..2 {
            assert_eq!(luner.ask(cacheable("odd")).header("x-luner-cache"), Some("MISS"), "{what}");
        }
        assert_eq!(upstream.requests().len(), 2, "{what}");
        assert_eq!(luner.metric("luner_cache_size", &[]), 0.0, "{what}");
    }
}

/// FAULTS.md row 50.
#[test]
fn five_hundred_concurrent_callers_make_one_call() {
    raise_descriptor_limit();
    let mock = mock_with(|options| options.latency = Duration::from_millis(400));
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    let clients: Vec<Raw> = (0..500).map(|_| luner.connect()).collect();
    let barrier = Barrier::new(500);
    thread::scope(|scope| {
        for mut client in clients {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let answer = client.send(cacheable("herd")).answer();
                assert_eq!((answer.status, answer.content()), (200, reply("herd")));
            });
        }
    });
    assert_eq!(mock.totals().requests, 1);
    let (hits, misses) = (luner.metric("luner_cache_hits_total", &[]), luner.metric("luner_cache_misses_total", &[]));
    assert_eq!((hits, misses), (499.0, 1.0));
}

/// FAULTS.md row 50.
#[test]
fn another_caller_takes_over_the_fetch_when_the_first_leaves() {
    raise_descriptor_limit();
    let (asked, answer) = (Gate::new(), Gate::new());
    let (was_asked, may_answer) = (asked.clone(), answer.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        was_asked.permit();
        if conn.number == 0 {
            conn.hold();
            return;
        }
        may_answer.wait();
        conn.write(ok_chat("herd"));
        while conn.next_request().is_some() {
            conn.write(ok_chat("herd"));
        }
    });
    let luner = Gateway::in_front_of(upstream.url()).workers(2).start();
    let mut leader = luner.connect();
    leader.send(cacheable("herd"));
    asked.wait();
    let mut waiters: Vec<Raw> = (0..200).map(|_| luner.connect()).collect();
    for waiter in &mut waiters {
        waiter.send(cacheable("herd"));
    }
    leader.reset();
    asked.wait();
    answer.permit();
    for waiter in &mut waiters {
        assert_eq!(waiter.answer().status, 200);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn failed_fetch_is_reported_to_its_caller_and_retried_by_the_next() {
    let (asked, answer) = (Gate::new(), Gate::new());
    let (was_asked, may_answer) = (asked.clone(), answer.clone());
    let upstream = Upstream::script(move |conn| {
        conn.request();
        was_asked.permit();
        may_answer.wait();
        match conn.number {
            0 => conn.reset(),
            _ => drop(conn.write(ok_chat("well"))),
        }
    });
    let luner = Gateway::in_front_of(upstream.url()).start();
    let mut leader = luner.connect();
    leader.send(cacheable("try"));
    asked.wait();
    let mut waiters: Vec<Raw> = (0..20).map(|_| luner.connect()).collect();
    for waiter in &mut waiters {
        waiter.send(cacheable("try"));
    }
    eventually("all are in flight", || luner.metric("luner_in_flight", &[]) == 21.0);
    answer.permit();
    assert_eq!(leader.answer().status, 502);
    asked.wait();
    answer.permit();
    for waiter in &mut waiters {
        assert_eq!(waiter.answer().status, 200);
    }
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn uncacheable_answer_makes_each_waiter_fetch_its_own() {
    let mock = mock_with(|options| options.latency = Duration::from_millis(200));
    let luner = Gateway::in_front_of(mock.base_url()).start();
    // The mock answers 400 to messages that it cannot parse.
    let unparsable = json!({ "model": "gpt-4o", "temperature": 0, "messages": "none" }).to_string();
    thread::scope(|scope| {
        for _ in 0..10 {
            let (luner, unparsable) = (&luner, &unparsable);
            scope.spawn(move || assert_eq!(luner.ask(post(CHAT, unparsable)).status, 400));
        }
    });
    assert_eq!(mock.totals().requests, 10);
}

#[test]
fn waiter_times_out_with_the_providers_timeout() {
    let upstream = Upstream::script(|conn| {
        conn.request();
        conn.hold();
    });
    let luner = Gateway::new()
        .provider_with("openai", upstream.url(), &["gpt-4o"], json!({ "timeout": "400ms", "retries": 0 }))
        .start();
    let mut clients: Vec<Raw> = (0..3).map(|_| luner.connect()).collect();
    for client in &mut clients {
        client.send(cacheable("slow"));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 504);
    }
}

#[test]
fn cache_keeps_max_items_and_counts_evictions() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).with(json!({ "cache": { "max_items": 10 } })).start();
    for nth in 0..25 {
        assert_cached(&luner.ask(cacheable(&format!("prompt {nth}"))), "MISS");
    }
    wait_for_entries(&luner, 10.0);
    assert_eq!(luner.metric("luner_cache_evictions_total", &["reason=\"capacity\""]), 15.0);
    // The last ten are still there, the first one is gone.
    assert_cached(&luner.ask(cacheable("prompt 24")), "HIT");
    assert_cached(&luner.ask(cacheable("prompt 0")), "MISS");
}

#[test]
fn large_answers_are_evicted_by_size() {
    let large = completion(&"x".repeat(900 * 1024));
    let upstream = Upstream::always(ok_json(large));
    let luner = Gateway::in_front_of(upstream.url()).with(json!({ "cache": { "max_bytes": "4MiB" } })).start();
    for nth in 0..8 {
        assert_cached(&luner.ask(cacheable(&format!("prompt {nth}"))), "MISS");
    }
    wait_for_entries(&luner, 4.0);
    assert_eq!(luner.metric("luner_cache_evictions_total", &["reason=\"capacity\""]), 4.0);
}

#[test]
fn answers_expire_after_their_ttl() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).with(json!({ "cache": { "default_ttl": "1s" } })).start();
    assert_cached(&luner.ask(cacheable("soon over")), "MISS");
    wait_for_entries(&luner, 1.0);
    eventually("the answer expires", || luner.metric("luner_cache_evictions_total", &["reason=\"ttl\""]) == 1.0);
    assert_cached(&luner.ask(cacheable("soon over")), "MISS");
}

#[test]
fn disabled_cache_keeps_nothing() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).with(json!({ "cache": { "enabled": false } })).start();
    for _ in 0..2 {
        assert_cached(&luner.ask(cacheable("off")), "BYPASS");
    }
    assert_eq!(mock.totals().requests, 2);
}

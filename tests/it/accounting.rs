//! All books against each other and against the provider's own, after ten thousand requests of every kind at once; and what
//! is left of them when the process is killed or the file is locked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A dollar for each 10 tokens read, and for each token made.
const PRICES: &str = r#"{ "gpt-4o": { "input_cost_per_token": 0.1, "output_cost_per_token": 1.0 } }"#;
const CALLERS: usize = 10;
const EACH: usize = 1_000;

/// Request number `nth` of a caller: plain, streamed, from the cache, blocked, failing, malformed.
fn request(caller: usize, nth: usize) -> Vec<u8> {
    let messages = json!([{ "role": "user", "content": format!("{caller} asks {nth}") }]);
    let plain = json!({ "model": "gpt-4o", "messages": messages });
    let user = format!("X-Luner-User: user {}\r\nX-Luner-Agent: agent {}\r\n", caller % 4, nth % 3);
    let of_user = |body: Value| post_with(CHAT, &user, body.to_string());
    match nth % 10 {
        0 => of_user(json!({ "model": "gpt-4o", "stream": true, "messages": messages })),
        1 | 2 => of_user(
            json!({ "model": "gpt-4o", "temperature": 0, "messages": [{ "role": "user", "content": "again" }] }),
        ),
        3 => post_with(CHAT, "X-Luner-User: blocked\r\n", plain.to_string()),
        4 => of_user(json!({ "model": "gpt-4o+fault=reset-before", "messages": messages })),
        5 => post(CHAT, "{\"model\": \"gpt-4o\", \"model\": \"gpt-4o\"}"),
        6 => post_with("/v1/completions", &user, json!({ "model": "gpt-4o", "prompt": "complete" }).to_string()),
        _ => of_user(plain),
    }
}

#[test]
fn every_book_agrees_with_every_other_and_with_the_providers_own() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let prices = Scratch::new(PRICES);
    let luner = Gateway::new()
        .provider_with("openai", mock.base_url(), &["gpt-4o", "*"], "retries: 0")
        .storage_sqlite()
        .workers(2)
        .log("info")
        .top(&format!("pricing: {{ file: \"{}\" }}", prices.path.display()))
        .start();
    luner.api().create(&json!({ "name": "blocked", "expression": "user_id == 'blocked'", "action": "block" }));
    let seen: Mutex<BTreeMap<u16, u64>> = Mutex::default();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (luner, seen) = (&luner, &seen);
            scope.spawn(move || {
                let mut client = luner.connect();
                for nth in 0..EACH {
                    let status = client.send(request(caller, nth)).answer().status;
                    *seen.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let sent = (CALLERS * EACH) as u64;
    assert_eq!(seen.values().sum::<u64>(), sent);
    assert!(seen.len() >= 4, "{seen:?}");

    let mut summary = Value::Null;
    eventually("every request is in the store", || {
        summary = luner.api().get("/api/dashboard/summary").json();
        summary["total_requests"] == sent
    });
    let totals = mock.totals();
    let (tokens, micro) = (
        totals.prompt_tokens + totals.completion_tokens,
        totals.prompt_tokens * 100_000 + totals.completion_tokens * 1_000_000,
    );
    assert_eq!(summary["total_tokens"], tokens, "{summary}");
    let cents = |value: f64| (value * 1e6).round() as u64;
    assert_eq!(cents(summary["total_cost_usd"].as_f64().expect("dollars")), micro);
    assert_eq!(summary["blocked"], seen[&403]);

    for (status, count) in &seen {
        assert_eq!(luner.metric("luner_requests_total", &[&format!("status=\"{status}\"")]), *count as f64, "{status}");
    }
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"total\""]), tokens as f64);
    assert_eq!(cents(luner.metric("luner_cost_usd_total", &[])), micro);
    let hits = luner.metric("luner_cache_hits_total", &[]);
    assert_eq!(hits + luner.metric("luner_cache_misses_total", &[]), (sent / 5) as f64);
    let saved = luner.metric("luner_saved_usd_total", &[]);
    assert_eq!(cents(saved), cents(summary["saved_usd"].as_f64().expect("dollars")));

    for by in ["agent", "user", "tenant", "model", "provider"] {
        let items = luner.api().get(&format!("/api/dashboard/cost?by={by}")).json()["items"].clone();
        let sum =
            |field: &str| items.as_array().expect("items").iter().filter_map(|it| it[field].as_f64()).sum::<f64>();
        assert_eq!(
            (sum("requests") as u64, sum("tokens") as u64, cents(sum("cost_usd"))),
            (sent, tokens, micro),
            "{by}"
        );
    }
}

/// What the store says were asked, in all.
fn stored(luner: &Running) -> u64 {
    luner.api().get("/api/dashboard/summary").json()["total_requests"].as_u64().expect("a count")
}

// 55
#[test]
fn thirty_kills_under_load_lose_one_flush_window_at_most_and_count_nothing_twice() {
    const KILLS: u64 = 30;
    /// A flush window and a report's (1 s together, as documented), and what a busy machine adds.
    const WINDOW: Duration = Duration::from_secs(3);
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = Gateway::before(mock.base_url()).storage_sqlite().workers(2).log("info");
    let scratch = Arc::new(Scratch::new(&gateway.text()));
    let (mut least, mut most) = (0, 0);
    for round in 0..KILLS {
        let mut luner = gateway.clone().start_in(scratch.clone());
        let before = stored(&luner);
        assert!((least..=most).contains(&before), "round {round}: {before} of {least} to {most}");
        // What one round may have lost is lost for good: from here on it is counted from what is there.
        let (stop, answered) = (AtomicBool::new(false), Mutex::<Vec<Instant>>::default());
        let sent = AtomicU64::new(0);
        // Some rounds end before anything was flushed, most after several flushes.
        let lasts = Duration::from_millis(100 + round % 6 * 300);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = luner.connect();
                    while !stop.load(Ordering::Acquire) {
                        sent.fetch_add(1, Ordering::AcqRel);
                        if client.send(post_chat("gpt-4o", "kill")).answer().status == 200 {
                            answered.lock().unwrap().push(Instant::now());
                        }
                    }
                });
            }
            let until = Instant::now() + lasts;
            while Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Release);
        });
        let killed = Instant::now();
        luner.signal(Signal::KILL);
        luner.wait_exit();
        let safe = answered.into_inner().unwrap().iter().filter(|at| killed.duration_since(**at) > WINDOW).count();
        (least, most) = (before + safe as u64, before + sent.into_inner());
        let database = rusqlite::Connection::open(scratch.folder.join("luner.db")).expect("the database opens");
        let check: String = database.query_row("PRAGMA quick_check", [], |row| row.get(0)).expect("it is checked");
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(stored(&gateway.start_in(scratch.clone())) > 0);
}

// 57
#[test]
fn a_locked_database_holds_no_request_up_and_loses_no_account() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let luner = Gateway::before(mock.base_url()).storage_sqlite().workers(2).log("info").start();
    let mut client = luner.connect();
    let mut ask = |times: u64| {
        for _ in 0..times {
            assert_eq!(client.send(post_chat("gpt-4o", "locked")).answer().status, 200);
        }
    };
    ask(100);
    eventually("they are stored", || stored(&luner) == 100);
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    database.execute_batch("BEGIN IMMEDIATE").expect("the lock is free at times");
    let mut asked = 100;
    eventually("the storage is degraded", || {
        ask(50);
        asked += 50;
        luner.health()["storage"] == "degraded"
    });
    assert_eq!(luner.health()["status"], "degraded");
    database.execute_batch("ROLLBACK").expect("the lock is given back");
    eventually("the storage is whole again", || luner.health()["storage"] == "ok");
    eventually("every request is in the store", || stored(&luner) == asked);
}

#[test]
fn without_traces_the_sums_are_kept_all_the_same() {
    let mock = mock();
    let gateway = Gateway::before(mock.base_url()).storage_sqlite();
    let with_traces = gateway.text();
    let without = with_traces.replace("storage: {", "storage: { traces: false,");
    assert_ne!(with_traces, without);
    let luner = gateway.start();
    let stored = || luner.api().get("/api/dashboard/summary").json()["total_requests"].as_u64();
    let asked = |text: &str| assert_eq!(luner.post_chat("gpt-4o", text).status, 200);
    asked("with a trace");
    eventually("it is stored", || stored() == Some(1));
    luner.scratch().rename(&without);
    luner.wait_plan(2);
    asked("without");
    eventually("its sums are stored", || stored() == Some(2));
    assert_eq!(luner.api().get("/api/traces").json()["total"], 1);
    luner.scratch().rename(&with_traces);
    luner.wait_plan(3);
    asked("with one again");
    eventually("it is stored", || stored() == Some(3));
    assert_eq!(luner.api().get("/api/traces").json()["total"], 2);
}

//! Totals over many requests: the REST API, the metrics and the provider's own counts must agree after ten thousand
//! requests of every kind, and survive kills and a locked database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A dollar per 10 prompt tokens, and a dollar per completion token.
const PRICES: &str = r#"{ "gpt-4o": { "input_cost_per_token": 0.1, "output_cost_per_token": 1.0 } }"#;
const CALLERS: usize = 10;
const REQUESTS_PER_CALLER: usize = 1_000;

/// The `nth` request of a caller: plain, streamed, cacheable, blocked, failing or malformed.
fn request(caller: usize, nth: usize) -> Vec<u8> {
    let messages = json!([{ "role": "user", "content": format!("{caller} asks {nth}") }]);
    let plain = json!({ "model": "gpt-4o", "messages": messages });
    let user = format!("X-Luner-User: user {}\r\nX-Luner-Agent: agent {}\r\n", caller % 4, nth % 3);
    let by_user = |body: Value| post_with(CHAT, &user, body.to_string());
    match nth % 10 {
        0 => by_user(json!({ "model": "gpt-4o", "stream": true, "messages": messages })),
        1 | 2 => by_user(
            json!({ "model": "gpt-4o", "temperature": 0, "messages": [{ "role": "user", "content": "again" }] }),
        ),
        3 => post_with(CHAT, "X-Luner-User: blocked\r\n", plain.to_string()),
        4 => by_user(json!({ "model": "gpt-4o+fault=reset-before", "messages": messages })),
        5 => post(CHAT, "{\"model\": \"gpt-4o\", \"model\": \"gpt-4o\"}"),
        6 => post_with("/v1/completions", &user, json!({ "model": "gpt-4o", "prompt": "complete" }).to_string()),
        _ => by_user(plain),
    }
}

#[test]
fn every_total_agrees_with_the_providers_own_counts() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let prices = Scratch::new(PRICES);
    let luner = Gateway::new()
        .provider_with("openai", mock.base_url(), &["gpt-4o", "*"], json!({ "retries": 0 }))
        .storage_sqlite()
        .workers(2)
        .log("info")
        .with(json!({ "pricing": { "file": prices.path } }))
        .start();
    luner.api().create(&json!({ "name": "blocked", "expression": "user_id == 'blocked'", "action": "block" }));
    let by_status: Mutex<BTreeMap<u16, u64>> = Mutex::default();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (luner, by_status) = (&luner, &by_status);
            scope.spawn(move || {
                let mut client = luner.connect();
                for nth in 0..REQUESTS_PER_CALLER {
                    let status = client.send(request(caller, nth)).answer().status;
                    *by_status.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
    });
    let by_status = by_status.into_inner().unwrap();
    let sent = (CALLERS * REQUESTS_PER_CALLER) as u64;
    assert_eq!(by_status.values().sum::<u64>(), sent);
    assert!(by_status.len() >= 4, "{by_status:?}");

    let mut summary = Value::Null;
    eventually("every request is in the store", || {
        summary = luner.api().get("/api/dashboard/summary").json();
        summary["total_requests"] == sent
    });
    let totals = mock.totals();
    let (tokens, microdollars) = (
        totals.prompt_tokens + totals.completion_tokens,
        totals.prompt_tokens * 100_000 + totals.completion_tokens * 1_000_000,
    );
    assert_eq!(summary["total_tokens"], tokens, "{summary}");
    let in_micros = |dollars: f64| (dollars * 1e6).round() as u64;
    assert_eq!(in_micros(summary["total_cost_usd"].as_f64().expect("dollars")), microdollars);
    assert_eq!(summary["blocked"], by_status[&403]);

    for (status, count) in &by_status {
        assert_eq!(luner.metric("luner_requests_total", &[&format!("status=\"{status}\"")]), *count as f64, "{status}");
    }
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"total\""]), tokens as f64);
    assert_eq!(in_micros(luner.metric("luner_cost_usd_total", &[])), microdollars);
    let hits = luner.metric("luner_cache_hits_total", &[]);
    assert_eq!(hits + luner.metric("luner_cache_misses_total", &[]), (sent / 5) as f64);
    let saved = luner.metric("luner_saved_usd_total", &[]);
    assert_eq!(in_micros(saved), in_micros(summary["saved_usd"].as_f64().expect("dollars")));

    for by in ["agent", "user", "tenant", "model", "provider"] {
        let items = luner.api().get(&format!("/api/dashboard/cost?by={by}")).json()["items"].clone();
        let sum =
            |field: &str| items.as_array().expect("items").iter().filter_map(|item| item[field].as_f64()).sum::<f64>();
        assert_eq!(
            (sum("requests") as u64, sum("tokens") as u64, in_micros(sum("cost_usd"))),
            (sent, tokens, microdollars),
            "{by}"
        );
    }
}

/// Number of requests in the store.
fn stored(luner: &Running) -> u64 {
    luner.api().get("/api/dashboard/summary").json()["total_requests"].as_u64().expect("a count")
}

/// FAULTS.md row 55.
#[test]
fn thirty_kills_under_load_lose_at_most_one_flush_window_and_count_nothing_twice() {
    const KILLS: u64 = 30;
    /// The documented second for a shard's report and the coordinator's flush, and two more for a busy machine.
    const FLUSH_WINDOW: Duration = Duration::from_secs(3);
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(2).log("info");
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    let (mut least, mut most) = (0, 0);
    for round in 0..KILLS {
        let mut luner = gateway.clone().start_in(scratch.clone());
        let before = stored(&luner);
        assert!((least..=most).contains(&before), "round {round}: {before} of {least} to {most}");
        // A lost request stays lost, so each round counts from what is stored at its start.
        let (stop, answered) = (AtomicBool::new(false), Mutex::<Vec<Instant>>::default());
        let sent = AtomicU64::new(0);
        // Some rounds end before the first flush, most after several.
        let round_length = Duration::from_millis(100 + round % 6 * 300);
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
            let until = Instant::now() + round_length;
            while Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Release);
        });
        let killed = Instant::now();
        luner.signal(Signal::KILL);
        luner.wait_exit();
        let answered = answered.into_inner().unwrap();
        let safe = answered.iter().filter(|at| killed.duration_since(**at) > FLUSH_WINDOW).count();
        (least, most) = (before + safe as u64, before + sent.into_inner());
        let database = rusqlite::Connection::open(scratch.folder.join("luner.db")).expect("the database opens");
        let check: String = database.query_row("PRAGMA quick_check", [], |row| row.get(0)).expect("the check runs");
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(stored(&gateway.start_in(scratch.clone())) > 0);
}

/// FAULTS.md row 57.
#[test]
fn locked_database_delays_no_request_and_loses_no_record() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let luner = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(2).log("info").start();
    let mut client = luner.connect();
    let mut ask = |times: u64| {
        for _ in 0..times {
            assert_eq!(client.send(post_chat("gpt-4o", "locked")).answer().status, 200);
        }
    };
    ask(100);
    eventually("the first requests are stored", || stored(&luner) == 100);
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    database.execute_batch("BEGIN IMMEDIATE").expect("luner does not hold the lock all the time");
    let mut asked = 100;
    eventually("the storage is degraded", || {
        ask(50);
        asked += 50;
        luner.health()["storage"] == "degraded"
    });
    assert_eq!(luner.health()["status"], "degraded");
    database.execute_batch("ROLLBACK").expect("the lock is released");
    eventually("the storage has recovered", || luner.health()["storage"] == "ok");
    eventually("every request is in the store", || stored(&luner) == asked);
}

#[test]
fn totals_are_kept_when_traces_are_off() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    let with_traces = gateway.config_text();
    let without = gateway.clone().with(json!({ "storage": { "traces": false } })).config_text();
    let luner = gateway.start();
    let stored = || luner.api().get("/api/dashboard/summary").json()["total_requests"].as_u64();
    let ask = |text: &str| assert_eq!(luner.post_chat("gpt-4o", text).status, 200);
    ask("with a trace");
    eventually("the first request is stored", || stored() == Some(1));
    luner.scratch().write_by_rename(&without);
    luner.wait_plan(2);
    ask("without");
    eventually("the totals of the second are stored", || stored() == Some(2));
    assert_eq!(luner.api().get("/api/traces").json()["total"], 1);
    luner.scratch().write_by_rename(&with_traces);
    luner.wait_plan(3);
    ask("with one again");
    eventually("the third is stored", || stored() == Some(3));
    assert_eq!(luner.api().get("/api/traces").json()["total"], 2);
}

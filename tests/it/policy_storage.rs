//! Policies in the database: they survive restarts, kills, failing storage and other programs (FAULTS.md rows 43, 55,
//! 56 and 58).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::api_policies::{gateway_with_storage, id, policy};
use crate::support::*;

#[test]
fn policies_survive_a_restart() {
    let mut luner = gateway_with_storage().start();
    let created = luner.api().create(&policy("kept"));
    assert_eq!(luner.health()["storage"], "ok");
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    let again = gateway_with_storage().start_in(luner.scratch().clone());
    assert_eq!(again.api().policies(), [created]);
}

/// Changes the database as another program could.
fn change_database(scratch: &Scratch, sql: &str) {
    let database = rusqlite::Connection::open(scratch.folder.join("luner.db")).expect("the database opens");
    database.busy_timeout(TIMEOUT).expect("a timeout can be set");
    database.execute_batch(sql).expect("the database takes it");
}

/// FAULTS.md row 43.
#[test]
fn stored_policy_that_does_not_compile_fails_the_reload_and_the_start() {
    let mut luner = gateway_with_storage().start();
    let api = luner.api();
    let good = api.create(&policy("good"));
    let reloaded = api.post("/api/policies/reload", &json!({}));
    assert_eq!((reloaded.status, reloaded.json()), (200, json!({ "compiled": 1, "failed": [] })));
    let plan = luner.health()["plan"].clone();
    change_database(luner.scratch(), "UPDATE policy SET expression = 'costs > 1', name = 'bad'");
    let answer = api.post("/api/policies/reload", &json!({})).json();
    assert_eq!((&answer["compiled"], &answer["failed"][0]["id"]), (&json!(0), &good["id"]));
    assert!(answer["failed"][0]["error"]["message"].as_str().unwrap().contains("costs"), "{answer}");
    assert_eq!(luner.health()["plan"], plan);
    assert_eq!(api.policies()[0]["name"], "good", "the old policies stay");

    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    let config = luner.scratch().path.to_str().unwrap();
    let folder = luner.scratch().folder.to_str().unwrap();
    let refused = run_luner_with_env(&["--config", config, "--listen", "127.0.0.1:0"], &[(FOLDER, folder)]);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains(good["id"].as_str().unwrap()) && stderr.contains("costs"), "{stderr}");

    change_database(luner.scratch(), "UPDATE policy SET expression = 'cost_usd > 1.0'");
    let again = gateway_with_storage().start_in(luner.scratch().clone());
    assert_eq!(again.api().policies()[0]["name"], "bad");
}

/// FAULTS.md row 58.
#[test]
fn corrupt_database_fails_the_start_and_is_left_unchanged() {
    let gateway = gateway_with_storage();
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    let database = scratch.folder.join("luner.db");
    std::fs::write(&database, "this is no database ".repeat(1000)).unwrap();
    let before = std::fs::read(&database).unwrap();
    let (config, folder) = (scratch.path.to_str().unwrap(), scratch.folder.to_str().unwrap());
    let refused = run_luner_with_env(&["--config", config, "--listen", "127.0.0.1:0"], &[(FOLDER, folder)]);
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("luner.db") && stderr.contains("corrupt"), "{stderr}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

/// FAULTS.md row 56, from outside: the database is moved away.
#[test]
fn failing_storage_is_reported_and_policies_stay_until_it_recovers() {
    let luner = gateway_with_storage().start();
    let api = luner.api();
    let kept = api.create(&policy("kept"));
    let (path, moved) = (luner.scratch().folder.join("luner.db"), luner.scratch().folder.join("elsewhere.db"));
    std::fs::rename(&path, &moved).unwrap();
    let answer = api.post("/api/policies", &policy("lost"));
    assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("storage_degraded")), "{}", answer.text());
    let health = luner.ask(get("/api/health"));
    assert_eq!(health.status, 200, "luner keeps serving");
    assert_eq!((&health.json()["status"], &health.json()["storage"]), (&json!("degraded"), &json!("degraded")));
    assert_eq!(api.policies(), std::slice::from_ref(&kept));
    std::fs::rename(&moved, &path).unwrap();
    eventually("the storage has recovered", || luner.health()["storage"] == "ok");
    luner.wait_log("storage works again");
    api.create(&policy("new"));
    assert_eq!(api.policies().len(), 2);
}

/// FAULTS.md row 55.
#[test]
fn fifty_kills_lose_no_policy_that_was_answered_201() {
    const KILLS: u64 = 50;
    let gateway = gateway_with_storage().log("info");
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    let mut known: HashSet<String> = HashSet::new();
    for round in 0..KILLS {
        let mut luner = gateway.clone().start_in(scratch.clone());
        let stored: HashSet<String> = luner.api().policies().iter().map(id).collect();
        let lost: Vec<&String> = known.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert!(stored.len() <= known.len() + 1, "round {round}: more than the unanswered policy was stored");
        known = stored;
        // One more policy is being created when the kill comes, at a different moment in each round.
        for n in 0..round % 5 {
            known.insert(id(&luner.api().create(&policy(&format!("{round}-{n}")))));
        }
        let mut client = luner.connect();
        let body = policy(&format!("{round}-last")).to_string();
        let head = "POST /api/policies HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        (0..round * 20_000).for_each(|_| std::hint::spin_loop());
        luner.signal(Signal::KILL);
        luner.wait_exit();
    }
    assert!(known.len() as u64 >= KILLS, "only {} policies were written", known.len());
}

#[test]
fn policy_limit_is_a_thousand() {
    let mut luner = gateway_with_storage().log("info").start();
    luner.api().create(&policy("the first"));
    luner.signal(Signal::TERM);
    luner.wait_exit();
    change_database(
        luner.scratch(),
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO policy SELECT printf('pol_%016x', i), 'policy ' || i, '', 'model == ''m' || i || '''', 'alert', NULL,
                NULL, 100, 1, 'enforce', 0, 0 FROM n",
    );
    let luner = gateway_with_storage().start_in(luner.scratch().clone());
    let api = luner.api();
    let all = api.policies();
    assert_eq!(all.len(), 1000);
    let full = api.post("/api/policies", &policy("one more"));
    assert_eq!((full.status, full.error_code().as_deref()), (400, Some("too_many_policies")), "{}", full.text());
    assert_eq!(api.delete(&format!("/api/policies/{}", id(&all[0]))).status, 204);
    api.create(&policy("one more"));
}

//! Policies in the database: what a kill, a failing disk or another program leaves of them (FAULTS.md rows 43, 55, 56, 58).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;

use crate::api_policies::{id, policy, with_storage};
use crate::support::*;

#[test]
fn policies_outlive_the_process() {
    let mut luner = with_storage().start();
    let created = luner.api().create(&policy("kept"));
    assert_eq!(luner.health()["storage"], "ok");
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    let again = with_storage().start_in(luner.scratch().clone());
    assert_eq!(again.api().policies(), [created]);
}

/// What another program does to the database beside the configuration.
fn bystander(scratch: &Scratch, sql: &str) {
    let database = rusqlite::Connection::open(scratch.folder.join("luner.db")).expect("the database opens");
    database.busy_timeout(GUARD).expect("a timeout can be set");
    database.execute_batch(sql).expect("the database takes it");
}

// Row 43.
#[test]
fn a_stored_policy_that_does_not_compile_changes_nothing_at_run_time_and_refuses_the_start() {
    let mut luner = with_storage().start();
    let api = luner.api();
    let good = api.create(&policy("good"));
    let reloaded = api.post("/api/policies/reload", &json!({}));
    assert_eq!((reloaded.status, reloaded.json()), (200, json!({ "compiled": 1, "failed": [] })));
    let plan = luner.health()["plan"].clone();
    bystander(luner.scratch(), "UPDATE policy SET expression = 'costs > 1', name = 'bad'");
    let answer = api.post("/api/policies/reload", &json!({})).json();
    assert_eq!((&answer["compiled"], &answer["failed"][0]["id"]), (&json!(0), &good["id"]));
    assert!(answer["failed"][0]["error"]["message"].as_str().unwrap().contains("costs"), "{answer}");
    assert_eq!(luner.health()["plan"], plan);
    assert_eq!(api.policies()[0]["name"], "good", "the old set stays");

    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    let config = luner.scratch().path.to_str().unwrap();
    let folder = luner.scratch().folder.to_str().unwrap();
    let refused = luner_with(&["--config", config, "--listen", "127.0.0.1:0"], &[("LUNER_IT_FOLDER", folder)]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(good["id"].as_str().unwrap()) && said.contains("costs"), "{said}");

    bystander(luner.scratch(), "UPDATE policy SET expression = 'cost_usd > 1.0'");
    let again = with_storage().start_in(luner.scratch().clone());
    assert_eq!(again.api().policies()[0]["name"], "bad");
}

// Row 58.
#[test]
fn a_database_that_is_none_is_a_clear_failure_and_left_alone() {
    let gateway = with_storage();
    let scratch = Arc::new(Scratch::new(&gateway.text()));
    let database = scratch.folder.join("luner.db");
    std::fs::write(&database, "this is no database ".repeat(1000)).unwrap();
    let before = std::fs::read(&database).unwrap();
    let (config, folder) = (scratch.path.to_str().unwrap(), scratch.folder.to_str().unwrap());
    let refused = luner_with(&["--config", config, "--listen", "127.0.0.1:0"], &[("LUNER_IT_FOLDER", folder)]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("luner.db") && said.contains("corrupt"), "{said}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

// Row 56, as far as it shows outside.
#[test]
fn storage_that_fails_is_shown_and_changes_nothing_until_it_is_whole_again() {
    let luner = with_storage().start();
    let api = luner.api();
    let kept = api.create(&policy("kept"));
    let (path, aside) = (luner.scratch().folder.join("luner.db"), luner.scratch().folder.join("elsewhere.db"));
    std::fs::rename(&path, &aside).unwrap();
    let answer = api.post("/api/policies", &policy("lost"));
    assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("storage_degraded")), "{}", answer.text());
    let health = luner.ask(get("/api/health"));
    assert_eq!(health.status, 200, "it serves on");
    assert_eq!((&health.json()["status"], &health.json()["storage"]), (&json!("degraded"), &json!("degraded")));
    assert_eq!(api.policies(), std::slice::from_ref(&kept));
    std::fs::rename(&aside, &path).unwrap();
    eventually("the storage is whole again", || luner.health()["storage"] == "ok");
    luner.wait_log("storage is whole again");
    api.create(&policy("new"));
    assert_eq!(api.policies().len(), 2);
}

// Row 55: fifty kills lose no policy that was told to be there.
#[test]
fn fifty_kills_lose_no_policy_that_was_answered_201() {
    const KILLS: u64 = 50;
    let gateway = with_storage().log("info");
    let scratch = Arc::new(Scratch::new(&gateway.text()));
    let mut known: HashSet<String> = HashSet::new();
    for round in 0..KILLS {
        let mut luner = gateway.clone().start_in(scratch.clone());
        let stored: HashSet<String> = luner.api().policies().iter().map(id).collect();
        let lost: Vec<&String> = known.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert!(stored.len() <= known.len() + 1, "round {round}: more than the one under way was stored");
        known = stored;
        // Another one is under way when the kill comes, at another moment each time.
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
fn there_is_room_for_a_thousand() {
    let mut luner = with_storage().log("info").start();
    luner.api().create(&policy("the first"));
    luner.signal(Signal::TERM);
    luner.wait_exit();
    bystander(
        luner.scratch(),
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO policy SELECT printf('pol_%016x', i), 'policy ' || i, '', 'model == ''m' || i || '''', 'alert', NULL,
                NULL, 100, 1, 'enforce', 0, 0 FROM n",
    );
    let luner = with_storage().start_in(luner.scratch().clone());
    let api = luner.api();
    let all = api.policies();
    assert_eq!(all.len(), 1000);
    let full = api.post("/api/policies", &policy("one more"));
    assert_eq!((full.status, full.error_code().as_deref()), (400, Some("too_many_policies")), "{}", full.text());
    assert_eq!(api.delete(&format!("/api/policies/{}", id(&all[0]))).status, 204);
    api.create(&policy("one more"));
}

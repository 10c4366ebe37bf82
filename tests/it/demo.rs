//! Parts of the demo for another gateway: its history in a database, and its traffic.

use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::*;

#[test]
fn seeded_history_is_written_once_and_usable_by_another_gateway() {
    let scratch = Scratch::new("");
    let database = scratch.folder.join("state/luner.db");
    let path = database.to_str().expect("a plain path");
    let stdout = |output: Output| String::from_utf8(output.stdout).expect("text");

    let first = run_luner(&["demo", "--seed", path]);
    assert!(first.status.success(), "{first:?}");
    assert!(stdout(first).contains("holds the sample history"));
    let written = std::fs::read(&database).expect("the database");
    let folder = database.parent().expect("its folder");
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 1, "the database is the only file");

    let second = run_luner(&["demo", "--seed", path]);
    assert!(second.status.success(), "{second:?}");
    assert!(stdout(second).contains("already exists"));
    assert!(std::fs::read(&database).expect("the database") == written, "the database has not changed");

    let gateway = Gateway::new().provider("openai", "http://127.0.0.1:9/v1", &["*"]);
    let storage = json!({ "backend": "sqlite", "sqlite": { "path": path } });
    let luner = gateway.with(json!({ "storage": storage })).start();
    assert!(luner.api().get("/api/traces").json()["total"].as_u64().expect("a number") >= 500);
    assert_eq!(luner.api().policies().len(), 4);
}

#[test]
fn demo_traffic_reaches_another_gateway() {
    let mock = mock();
    let luner = Gateway::new().provider("openai", mock.base_url(), &["*"]).start();
    let address = luner.addr().to_string();
    let mut sender = Command::new(binary());
    sender.args(["demo", "--traffic", &address]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut sender = sender.spawn().expect("luner starts");
    eventually("a request of the demo succeeds", || {
        luner.metrics().iter().any(|(name, value)| {
            name.starts_with("luner_requests_total") && name.contains("status=\"200\"") && *value > 0.0
        })
    });
    sender.kill().and_then(|()| sender.wait()).expect("the sender ends");
}

//! The demo in pieces, for a gateway of one's own: its past in a file, its traffic from elsewhere.

use std::process::{Command, Stdio};

use crate::support::*;

#[test]
fn the_past_is_written_once_and_serves_another_gateway() {
    let scratch = Scratch::new("");
    let database = scratch.folder.join("state/luner.db");
    let path = database.to_str().expect("a plain path");
    let said = |output: std::process::Output| String::from_utf8(output.stdout).expect("text");

    let first = luner(&["demo", "--seed", path]);
    assert!(first.status.success(), "{first:?}");
    assert!(said(first).contains("holds the demo's past"));
    let written = std::fs::read(&database).expect("the database");
    assert_eq!(std::fs::read_dir(database.parent().expect("its folder")).expect("a folder").count(), 1, "nothing else");

    let second = luner(&["demo", "--seed", path]);
    assert!(second.status.success(), "{second:?}");
    assert!(said(second).contains("is there already"));
    assert!(std::fs::read(&database).expect("the database") == written, "it is left as it is");

    let config = format!(
        "version: v1\nserver: {{ listen: \"127.0.0.1:0\" }}\nstorage: {{ sqlite: {{ path: {path:?} }} }}\n\
         providers: [{{ name: openai, base_url: \"http://127.0.0.1:9/v1\", models: [\"*\"] }}]\n"
    );
    let luner = Gateway::new().yaml(config).start();
    assert!(luner.api().get("/api/traces").json()["total"].as_u64().expect("a number") >= 500);
    assert_eq!(luner.api().policies().len(), 4);
}

#[test]
fn its_traffic_reaches_a_gateway_elsewhere() {
    let mock = mock();
    let luner = Gateway::new().provider("openai", mock.base_url(), &["*"]).start();
    let address = luner.addr().to_string();
    let mut sender = Command::new(binary());
    sender.args(["demo", "--traffic", &address]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut sender = sender.spawn().expect("luner starts");
    eventually("a request of the demo's", || {
        luner.metrics().iter().any(|(name, value)| {
            name.starts_with("luner_requests_total") && name.contains("status=\"200\"") && *value > 0.0
        })
    });
    sender.kill().and_then(|()| sender.wait()).expect("it ends");
}

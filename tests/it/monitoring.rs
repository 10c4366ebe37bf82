//! The monitoring files against a running luner: every metric that an alert or a dashboard asks for is there, and has a name
//! of its own.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::support::*;

/// Every `luner_…` in a text, without what Prometheus appends to a histogram's name.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter(|word| word.starts_with("luner_"));
    let base = |word: &str| {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| word.strip_suffix(suffix));
        suffix.unwrap_or(word).to_owned()
    };
    named.map(base).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A gateway that has done a little of everything.
fn busy(mock: &Mock) -> Running {
    let gateway = Gateway::before(mock.base_url()).storage_sqlite();
    // Nobody listens there; without a collector there are no metrics of one.
    let luner = gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", Upstream::nobody())).start();
    luner.api().create(&json!({ "name": "watch", "expression": "true", "action": "alert" }));
    luner.api().create(&json!({ "name": "odd", "expression": "1 / (max_tokens - max_tokens) > 0", "action": "alert" }));
    for _ in 0..2 {
        let body = json!({ "model": "gpt-4o", "temperature": 0, "messages": [{ "role": "user", "content": "x" }] });
        assert_eq!(luner.ask(post(CHAT, body.to_string())).status, 200);
    }
    assert_eq!(luner.post_chat("no-such-model", "x").status, 404);
    luner
}

#[test]
fn every_metric_that_alerts_and_dashboards_ask_for_is_there() {
    let mock = mock();
    let luner = busy(&mock);
    let served: BTreeSet<String> = luner.metrics().keys().flat_map(|key| names(key)).collect();
    let known = names(&read(&project("src/names.rs")));
    assert_eq!(served.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "names that names.rs lacks");
    let folder = project("deployments/monitoring");
    for file in ["alerts.yml", "alerts_test.yml", "grafana/dashboards/luner.json"] {
        let asked = names(&read(&folder.join(file)));
        assert!(asked.len() > 5, "{file} asks for {asked:?}");
        assert_eq!(asked.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
}

#[test]
fn every_metric_that_luner_has_is_served() {
    let mock = mock();
    let luner = busy(&mock);
    let served: BTreeSet<String> = luner.metrics().keys().flat_map(|key| names(key)).collect();
    let known = names(&read(&project("src/names.rs")));
    assert_eq!(known.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_alert_has_a_test() {
    let folder = project("deployments/monitoring");
    let (alerts, tests) = (read(&folder.join("alerts.yml")), read(&folder.join("alerts_test.yml")));
    let named = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 10, "{named:?}");
    for alert in named {
        // Firing: silence alone proves nothing.
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - ");
        assert!(tests.contains(&fires), "{alert} is never seen firing");
    }
}

#[test]
fn a_collector_that_cannot_be_had_is_said_and_changes_nothing() {
    let mock = mock();
    let endpoint = format!("http://{}", Upstream::nobody());
    let luner = Gateway::before(mock.base_url()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let luner = luner.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").start();
    luner.wait_log("luner speaks http/protobuf only");
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    assert!(!luner.metrics().keys().any(|key| key.contains("otlp")), "nothing is exported, nothing is counted");
}

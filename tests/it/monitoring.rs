//! The monitoring files, checked against a running luner: every metric that an alert or a dashboard uses exists.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::support::*;

/// Every metric name in a text, without the suffixes that Prometheus appends to a histogram's name.
fn metric_names(text: &str) -> BTreeSet<String> {
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

/// Starts a gateway and makes it serve requests of several kinds, so that every metric has samples.
fn start_and_use(mock: &Mock) -> Running {
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    // The collector refuses connections. Without one configured, the metrics of the export would be absent.
    let luner = gateway.env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", Upstream::closed_port())).start();
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
fn every_metric_in_alerts_and_dashboards_is_served() {
    let mock = mock();
    let luner = start_and_use(&mock);
    let served: BTreeSet<String> = luner.metrics().keys().flat_map(|key| metric_names(key)).collect();
    let known = metric_names(&read(&project_file("src/names.rs")));
    assert_eq!(served.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "served, but not in names.rs");
    let folder = project_file("deployments/monitoring");
    for file in ["alerts.yml", "alerts_test.yml", "grafana/dashboards/luner.json"] {
        let used = metric_names(&read(&folder.join(file)));
        assert!(used.len() > 5, "{file} uses {used:?}");
        assert_eq!(used.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new(), "{file}");
    }
}

#[test]
fn every_declared_metric_is_served() {
    let mock = mock();
    let luner = start_and_use(&mock);
    let served: BTreeSet<String> = luner.metrics().keys().flat_map(|key| metric_names(key)).collect();
    let known = metric_names(&read(&project_file("src/names.rs")));
    assert_eq!(known.difference(&served).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_alert_has_a_test() {
    let folder = project_file("deployments/monitoring");
    let (alerts, tests) = (read(&folder.join("alerts.yml")), read(&folder.join("alerts_test.yml")));
    let alert_names = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alert_names: Vec<&str> = alert_names.collect();
    assert!(alert_names.len() > 10, "{alert_names:?}");
    for alert in alert_names {
        // The test must make the alert fire: an alert that stays silent proves nothing.
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - ");
        assert!(tests.contains(&fires), "no test makes {alert} fire");
    }
}

#[test]
fn unsupported_collector_protocol_is_logged_and_changes_nothing() {
    let mock = mock();
    let endpoint = format!("http://{}", Upstream::closed_port());
    let luner = Gateway::in_front_of(mock.base_url()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let luner = luner.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").start();
    luner.wait_log("luner speaks http/protobuf only");
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    assert!(!luner.metrics().keys().any(|key| key.contains("otlp")), "without an export, its metrics are absent");
}

//! The REST API on the process itself: its config, live metrics and reload counters (FAULTS.md row 78).

use serde_json::{Value, json};

use crate::support::*;

const TOKEN: &str = "it-admin-token-4c1f9b27";

/// FAULTS.md row 78.
#[test]
fn config_is_shown_without_its_secrets() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .provider_with(
            "other",
            "http://127.0.0.1:8/v1",
            &["unheard-of", "gpt-4o", "x-*"],
            json!({ "api_key": "${OTHER_KEY}" }),
        )
        .env("OTHER_KEY", CANARY)
        .storage_sqlite()
        .token(TOKEN)
        .start();
    let answer = luner.api().get("/api/config");
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(CANARY) && !answer.text().contains(TOKEN), "{}", answer.text());
    let shown = answer.json();
    let config = &shown["config"];
    assert_eq!(config["providers"][0]["api_key"], "***");
    assert_eq!(config["providers"][1]["api_key"], "***");
    assert_eq!(config["server"]["admin"]["token"], "***");
    assert_eq!(config["providers"][0]["base_url"], "http://127.0.0.1:9");
    assert_eq!(config["server"]["listen"], "127.0.0.1:0", "the command line wins over the file");
    assert_eq!(config["server"]["workers"], 1);
    assert_eq!(shown["revision"], luner.health()["plan"]);
    assert_eq!(shown["source"], luner.scratch().path.to_str().unwrap());
    assert!(shown["loaded_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&shown["rejected"], &shown["needs_restart"]), (&Value::Null, &json!([])));
    assert_eq!(shown["prices"]["source"], "built-in");
    assert_eq!(shown["prices"]["unpriced"], json!(["unheard-of"]));
    assert!(shown["prices"]["models"].as_u64() > Some(10), "{}", shown["prices"]);
}

#[test]
fn config_warning_is_shown() {
    let luner = Gateway::new()
        .provider_with("a", "http://127.0.0.1:9/v1", &["m"], json!({ "timeout": "1s", "connect_timeout": "2s" }))
        .start();
    let shown = luner.api().config();
    let warning = &shown["warnings"][0];
    assert_eq!(warning["key"], "providers[0].connect_timeout", "{shown}");
    assert!(warning["line"].as_u64() > Some(0), "{warning}");
}

#[test]
fn live_metrics_add_up() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    for n in 0..3 {
        assert_eq!(luner.post_chat("gpt-4o", &format!("prompt {n}")).status, 200);
    }
    assert_eq!(luner.post_chat("no-such-model", "x").status, 404);
    let live = luner.ask(get("/api/metrics/live")).json();
    assert_eq!(live["requests_by_status"], json!({ "200": 3, "404": 1 }));
    let tokens = |kind: &str| live["tokens_by_type"][kind].as_u64().unwrap();
    assert!(tokens("prompt") > 0 && tokens("completion") > 0, "{live}");
    assert_eq!(tokens("prompt") + tokens("completion"), tokens("total"));
    assert_eq!(live["in_flight"], 0);
    assert!(live["requests_per_second"].as_f64().unwrap() > 0.0, "{live}");
    let cache = json!({ "hits": 0, "misses": 0, "hit_rate": 0.0, "evictions": 0, "size": 0, "max_items": 5000 });
    assert_eq!(live["cache"], cache);
}

#[test]
fn reload_counters_exist_from_the_start() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let metrics = luner.metrics();
    for result in ["ok", "rejected"] {
        assert_eq!(metrics.get(&format!("luner_config_reloads_total{{result=\"{result}\"}}")), Some(&0.0));
    }
}

#[test]
fn demo_stores_policies_and_removes_its_database() {
    for keep in [false, true] {
        let arguments: &[&str] = if keep { &["--keep"] } else { &[] };
        let mut luner = Gateway::demo_with(arguments).start();
        luner.api().create(&json!({ "name": "n", "expression": "cost_usd > 10.0", "action": "block" }));
        assert_eq!(luner.health()["storage"], "ok");
        let config = luner.api().config();
        assert_eq!(config["source"], "demo");
        let database = config["config"]["storage"]["sqlite"]["path"].as_str().unwrap().to_owned();
        assert!(std::fs::exists(&database).unwrap());
        luner.signal(Signal::INT);
        assert_eq!(luner.wait_exit().code(), Some(0));
        assert_eq!(std::fs::exists(&database).unwrap(), keep);
        assert_eq!(
            luner.logs().iter().any(|line| line.contains(&database)),
            keep,
            "it prints the path of a database that stays"
        );
        if keep {
            std::fs::remove_dir_all(std::path::Path::new(&database).parent().unwrap()).unwrap();
        }
    }
}

#[test]
fn variables_and_methods_are_served_without_storage() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let language = luner.api().get("/api/policies/language");
    assert_eq!(language.status, 200, "{}", language.text());
    let items = |list: &str| language.json()[list].as_array().cloned().unwrap_or_default();
    let (variables, methods) = (items("variables"), items("methods"));
    assert_eq!((variables.len(), methods.len()), (15, 15));
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&json!("model"), &json!("string")));
    let (name, on, argument) = (&methods[0]["name"], &methods[0]["on"], &methods[0]["argument"]);
    assert_eq!((name, on, argument), (&json!("startsWith"), &json!("string"), &json!("string")));
}

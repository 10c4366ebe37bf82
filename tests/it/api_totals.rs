//! The REST API on many requests at once: dashboard totals, policy replays, provider states.

use serde_json::{Value, json};

use crate::support::traffic::*;
use crate::support::*;

#[test]
fn totals_equal_the_sums_of_the_requests() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    send_mixed_traffic(&luner);
    let items = wait_for_mixed_traces(&luner);
    let sum = |field: &str| items.iter().map(|item| item[field].as_f64().unwrap()).sum::<f64>();
    let summary = luner.api().get("/api/dashboard/summary").json();
    assert_eq!((&summary["total_requests"], &summary["total_traces"]), (&json!(6), &json!(5)));
    assert!((summary["total_cost_usd"].as_f64().unwrap() - sum("cost_usd")).abs() < 1e-9, "{summary}");
    assert_eq!((&summary["blocked"], &summary["errors"]), (&json!(1), &json!(1)));
    assert!((summary["error_rate"].as_f64().unwrap() - 1.0 / 6.0).abs() < 1e-9, "{summary}");
    assert!(summary["p99_ms"].as_f64() >= summary["p50_ms"].as_f64(), "{summary}");
    assert_eq!((&summary["previous"]["total_requests"], &summary["previous"]["p50_ms"]), (&json!(0), &Value::Null));

    let cost = luner.api().get("/api/dashboard/cost?by=user").json();
    let by_user: Vec<_> =
        cost["items"].as_array().unwrap().iter().map(|item| (item["key"].clone(), item["requests"].clone())).collect();
    assert_eq!(by_user.len(), 4, "{cost}");
    assert!(by_user.contains(&(json!("dee"), json!(2))) && by_user.contains(&(json!("ann"), json!(2))), "{cost}");
    assert_eq!(luner.api().get("/api/dashboard/cost").json()["items"].as_array().unwrap().len(), 4, "by agent");

    for (metric, value, total) in [
        ("requests", "requests", 6.0),
        ("blocked", "blocked", 1.0),
        ("errors", "errors", 1.0),
        ("status", "2xx", 4.0),
        ("cost", "cost_usd", sum("cost_usd")),
        ("tokens", "prompt", items.iter().map(|item| item["tokens"]["prompt"].as_f64().unwrap()).sum()),
        ("cache", "hits", 0.0),
        ("saved", "saved_usd", 0.0),
    ] {
        let series = luner.api().get(&format!("/api/dashboard/series?metric={metric}&step=60")).json();
        let points = series["points"].as_array().unwrap();
        let counted: f64 = points.iter().map(|point| point["values"][value].as_f64().unwrap_or(0.0)).sum();
        assert!((counted - total).abs() < 1e-9, "{metric}: {counted} of {total}");
        assert_eq!((series["step_s"].as_u64(), points.len() >= 1440), (Some(60), true), "{metric}");
    }
    let latency = luner.api().get("/api/dashboard/series?metric=latency").json();
    assert!(latency["points"][0]["values"]["p50_ms"].is_null(), "a point without requests is null, not 0");

    let facets = luner.api().get("/api/traces/facets?user_id=ann").json();
    assert_eq!(facets["user_id"], json!([{ "value": "ann", "count": 2 }]));
    assert_eq!((facets["model"].as_array().unwrap().len(), &facets["status"][0]["value"]), (2, &json!("200")));
}

#[test]
fn policy_is_replayed_on_past_requests_and_shows_its_hourly_matches() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    send_mixed_traffic(&luner);
    wait_for_mixed_traces(&luner);
    let by_ann = json!({ "expression": "user_id == 'ann'", "action": "block", "last": 1000 });
    let replay = luner.api().post("/api/policies/test", &by_ann).json();
    assert_eq!((&replay["evaluated"], &replay["matched"], &replay["not_evaluable"]), (&json!(5), &json!(2), &json!(1)));
    assert_eq!(replay["why"], json!({ "never_judged": 1 }));
    assert_eq!((&replay["cost_usd"], replay["cost_usd"].as_f64() > Some(0.0)), (&replay["saving_usd"], true));
    let users: Vec<&str> = texts(replay["examples"].as_array().unwrap(), "user_id");
    assert_eq!(users, ["ann", "ann"]);
    let by_usage = json!({ "expression": "request_count > 5", "last": 10 });
    let replay = luner.api().post("/api/policies/test", &by_usage).json();
    assert_eq!(replay["why"]["usage_not_recorded"], 5, "{replay}");
    for (body, param) in [
        (json!({ "expression": "true", "last": 0 }), "last"),
        (json!({ "expression": "true", "last": 1001 }), "last"),
        (json!({ "expression": "true", "last": 5, "vars": { "model": "x" } }), "vars"),
        (json!({ "expression": "costs > 1", "last": 5 }), "expression"),
    ] {
        let answer = luner.api().post("/api/policies/test", &body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{body}");
    }
    let policies = luner.api().get("/api/policies").json();
    for policy in policies["items"].as_array().unwrap() {
        let series: Vec<u64> = policy["series"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        assert_eq!((series.len(), series.iter().sum::<u64>()), (24, 1), "{policy}");
    }
    let db = luner.scratch().folder.join("luner.db");
    let printed =
        run_luner(&["policy", "test", "--expr", "user_id == 'ann'", "--db", db.to_str().unwrap(), "--last", "10"]);
    let text = String::from_utf8_lossy(&printed.stdout);
    assert!(
        text.starts_with("2 of 5 requests match; they cost $0.")
            && text.contains("1 could not be judged: never_judged"),
        "{text}"
    );
    assert_eq!(printed.status.code(), Some(0));
}

#[test]
fn providers_are_listed_with_their_state() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url())
        .provider("dead", "http://127.0.0.1:9/v1", &["dead-*"])
        .with(
            json!({ "rate_limit": { "enabled": true, "providers": [{ "name": "openai", "qps": 0.001, "burst": 5 }] } }),
        )
        .start();
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    assert_eq!(luner.post_chat("dead-1", "x").status, 502);
    let answer = luner.api().get("/api/providers");
    assert!(!answer.text().contains(CANARY), "{}", answer.text());
    let shown = answer.json();
    let [openai, dead] = &shown["items"].as_array().unwrap()[..] else { panic!("{shown}") };
    assert_eq!(
        (&openai["name"], &openai["state"], &openai["attempts"]),
        (&json!("openai"), &json!("closed"), &json!(1))
    );
    assert_eq!(openai["limit"], json!({ "qps": 0.001, "burst": 5, "remaining": 4 }));
    assert_eq!((&openai["failures"], &openai["outcomes"]), (&json!(0), &json!({ "answered": 1 })));
    assert_eq!((&dead["limit"], &dead["models"]), (&Value::Null, &json!(["dead-*"])));
    assert!(dead["failures"].as_u64() >= Some(1) && dead["attempts"] == dead["failures"], "{dead}");
}

//! Traces of real requests over the REST API: lists, single traces, exports (FAULTS.md rows 77 and 81).

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::traffic::*;
use crate::support::*;

#[test]
fn trace_list_shows_each_request_and_filters_it() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    send_mixed_traffic(&luner);
    let items = wait_for_mixed_traces(&luner);
    assert_eq!(texts(&items, "user_id"), ["dee", "cem", "bob", "ann", "ann"]);
    assert_eq!(texts(&items, "outcome"), ["ok", "error", "blocked", "alerted", "ok"]);
    assert_eq!((&items[0]["trace_id"], &items[0]["requests"]), (&json!(RUN), &json!(2)));
    assert_eq!(items[1]["agent_name"], "<img src=x onerror=alert(1)>", "the text is returned unchanged");
    assert_eq!((&items[1]["refusal"]["code"], &items[1]["status"]), (&json!("model_not_found"), &json!(404)));
    assert_eq!((&items[2]["refusal"]["fault"], &items[2]["cost_usd"]), (&json!("policy"), &json!(0.0)));
    let watched = json!([{ "name": "watch", "action": "alert", "mode": "enforce", "effective": true }]);
    assert_eq!(items[3]["policies"], watched);
    assert_eq!((&items[4]["provider"], &items[4]["endpoint"]), (&json!("openai"), &json!(CHAT)));
    assert!(items[4]["cost_usd"].as_f64() > Some(0.0) && items[4]["tokens"]["total"].as_u64() > Some(0));
    for (query, users) in [
        ("user_id=ann", &["ann", "ann"][..]),
        ("agent_name=planner", &["dee", "ann"]),
        ("agent_name=planner&user_id=ann", &["ann"]),
        ("status=blocked", &["bob"]),
        ("status=404", &["cem"]),
        ("status=4xx", &["cem", "bob"]),
        ("status=ok", &["dee", "ann", "ann"]),
        ("model=gpt-4o-mini", &["ann"]),
        ("q=ONERROR", &["cem"]),
        ("q=4bf92f", &["dee"]),
        ("q=%25", &[]),
        ("q=x%27%20OR%201%3D1%20--", &[]),
        ("user_id=%27%20OR%20%27%27%3D%27", &[]),
        ("min_cost=1000", &[]),
        ("to=2020-01-01T00:00:00Z", &[]),
        ("from=1577836800&user_id=&q=", &["dee", "cem", "bob", "ann", "ann"]),
        ("page_size=2", &["dee", "cem"]),
        ("page_size=2&page=3", &["ann"]),
        ("page=4000000000", &[]),
    ] {
        let page = luner.api().get(&format!("/api/traces?{query}")).json();
        assert_eq!(texts(page["items"].as_array().unwrap(), "user_id"), users, "{query}");
        let total = if query.starts_with("page") { 5 } else { users.len() };
        assert_eq!(page["total"], total, "{query}");
    }
}

/// FAULTS.md row 81.
#[test]
fn bad_query_parameter_is_named() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().start();
    for (path, param) in [
        ("/api/traces?page_size=201", "page_size"),
        ("/api/traces?sort=cost", "sort"),
        ("/api/traces?status=OK", "status"),
        ("/api/traces?from=yesterday", "from"),
        ("/api/traces?from=2&to=1", "from"),
        ("/api/traces?min_cost=-1", "min_cost"),
        ("/api/traces?q=%ff", "q"),
        ("/api/traces/facets?page=1", "page"),
        ("/api/traces/stream?status=9", "status"),
        ("/api/traces/export?format=xml", "format"),
        ("/api/traces/export?page=2", "page"),
        ("/api/traces/zz", "trace_id"),
        ("/api/traces/4BF92F3577B34DA6A3CE929D0E0E4736", "trace_id"),
        ("/api/dashboard/cost?by=colour", "by"),
        ("/api/dashboard/series?metric=1%3B%20DROP", "metric"),
        ("/api/dashboard/series?step=59", "step"),
        ("/api/dashboard/summary?until=1", "until"),
        ("/api/providers?x", "x"),
    ] {
        let answer = luner.api().get(path);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{path}");
    }
    let none = luner.api().get(&format!("/api/traces/{RUN}"));
    assert_eq!((none.status, none.error_code().as_deref()), (404, Some("not_found")));
}

#[test]
fn trace_shows_its_calls_spans_and_neighbours() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    send_mixed_traffic(&luner);
    let items = wait_for_mixed_traces(&luner);
    let run = luner.api().get(&format!("/api/traces/{RUN}")).json();
    assert_eq!((&run["summary"]["requests"], run["spans"].as_array().unwrap().len()), (&json!(2), 2));
    let ids = |span: &Value| span["parent_id"].as_str().unwrap().to_owned();
    let parents: HashSet<String> = run["spans"].as_array().unwrap().iter().map(ids).collect();
    assert_eq!(parents, HashSet::from(["00f067aa0ba902b7".into(), "00f067aa0ba902b8".into()]));
    let children = run["spans"][0]["children"].as_array().unwrap();
    assert_eq!(texts(children, "name").last(), Some(&"attempt openai"));
    assert!(run["timeline"].as_array().unwrap().iter().any(|moment| moment["name"] == "first byte"), "{run}");
    assert_eq!(run["requests"][0]["request"], Value::Null, "bodies are recorded only when configured");
    assert_eq!((&run["neighbours"]["previous"], &run["neighbours"]["next"]), (&Value::Null, &items[1]["trace_id"]));

    let blocked = &items[2];
    let path = format!("/api/traces/{}", blocked["trace_id"].as_str().unwrap());
    let shown = luner.api().get(&path).json();
    assert_eq!(&shown["summary"], blocked);
    assert_eq!(
        (&shown["spans"][0]["status"], &shown["spans"][0]["children"][0]["status"]),
        (&json!("blocked"), &json!("blocked"))
    );
    assert_eq!(shown["requests"][0]["policies"][0]["name"], "no bob");
    let among = luner.api().get(&format!("{path}?user_id=ann")).json();
    assert_eq!((&among["neighbours"]["previous"], &among["neighbours"]["next"]), (&Value::Null, &items[3]["trace_id"]));
}

#[test]
fn recorded_bodies_are_shown() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    let luner = gateway.with(json!({ "storage": { "capture": "all" } })).start();
    assert_eq!(chat_as(&luner, "ann", "planner", "gpt-4o", "").status, 200);
    let id = luner.api().traces("", 1)[0]["trace_id"].as_str().unwrap().to_owned();
    let shown = luner.api().get(&format!("/api/traces/{id}")).json();
    let request = &shown["requests"][0]["request"];
    assert_eq!((request["text"].as_str(), &request["cut"]), (Some(&*chat("gpt-4o", "hello from ann")), &json!(false)));
    assert!(shown["requests"][0]["answer"]["text"].as_str().unwrap().contains("You said"), "{shown}");
}

#[test]
fn export_contains_the_same_traces_as_the_list() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    send_mixed_traffic(&luner);
    let items = wait_for_mixed_traces(&luner);
    let export = luner.api().get("/api/traces/export");
    assert_eq!(export.json(), Value::from(items));
    assert_eq!(export.header("x-luner-rows-total"), Some("5"));
    let disposition = export.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename=\"luner-traces-2"), "{disposition}");
    assert!(disposition.ends_with(".json\""), "{disposition}");
    let csv = luner.api().get("/api/traces/export?format=csv&status=blocked");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let lines: Vec<&str> = csv.text().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("trace_id,started_at,duration_ms,agent_name,"), "{}", lines[0]);
    assert!(lines[1].contains(",\"'=HYPERLINK(\"\"http://evil\"\")\",bob,"), "{}", lines[1]);
    let none = luner.api().get("/api/traces/export?user_id=nobody");
    assert_eq!((none.json(), none.header("x-luner-rows-total")), (json!([]), Some("0")));
}

#[test]
fn large_export_arrives_in_chunks() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).storage_sqlite().log("info").start();
    let mut client = luner.connect();
    // In waves, because a shard keeps only some hundred traces between two of its reports.
    for wave in 1..=3 {
        for n in 0..400 {
            assert_eq!(client.send(post_chat("no-such-model", &n.to_string())).answer().status, 404);
        }
        let is_stored = || luner.api().get("/api/traces?page_size=1").json()["total"] == 400 * wave;
        eventually("a wave is stored", is_stored);
    }
    let export = luner.api().get("/api/traces/export");
    let ids: HashSet<String> =
        export.json().as_array().unwrap().iter().map(|item| item["trace_id"].to_string()).collect();
    assert_eq!(ids.len(), 1_200, "each trace is exported once");
    assert!(export.chunks.len() > 2, "{}", export.chunks.len());
    assert_eq!(luner.api().get("/api/traces/export?format=csv").text().lines().count(), 1_201);
}

#[test]
fn trace_endpoints_refuse_when_storage_is_off() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    for path in [
        "/api/dashboard/summary",
        "/api/dashboard/cost",
        "/api/dashboard/series",
        "/api/traces",
        "/api/traces/facets",
        "/api/traces/stream",
        "/api/traces/export",
        &format!("/api/traces/{RUN}"),
    ] {
        let answer = luner.api().get(path);
        assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("storage_off")), "{path}");
    }
    let replay = luner.api().post("/api/policies/test", &json!({ "expression": "true", "last": 1 }));
    assert_eq!((replay.status, replay.error_code().as_deref()), (503, Some("storage_off")));
    assert_eq!(luner.api().get("/api/providers").status, 200);
}

#[test]
fn reload_with_another_database_shows_its_history() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    let text = gateway.config_text();
    let luner = gateway.start();
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    luner.api().traces("", 1);
    luner.scratch().write_by_rename(&text.replace("luner.db", "other.db"));
    luner.wait_plan(2);
    assert_eq!(luner.api().get("/api/traces").json()["total"], 0);
    assert_eq!(luner.post_chat("gpt-4o", "y").status, 200);
    assert_eq!(luner.api().traces("", 1).len(), 1);
}

#[test]
fn openapi_document_needs_no_token() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").token("it-admin-token-4c1f9b27").start();
    let answer = luner.ask(get("/api/openapi.json"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), std::fs::read_to_string(project_file("config/openapi.json")).unwrap());
    let printed = run_luner(&["openapi"]);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), answer.text());
}

//! What the REST API tells of requests that were: lists, sums, one trace, exports, the live stream, replays (FAULTS.md rows
//! 77, 81). Made of real requests.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::*;

const FORMULA: &str = "=HYPERLINK(\"http://evil\")";

fn with_storage(mock: &Mock) -> Running {
    Gateway::before(mock.base_url()).storage_sqlite().log("info").start()
}

#[track_caller]
fn chat_as(luner: &Running, user: &str, agent: &str, model: &str, more: &str) -> Answer {
    let lines = format!("X-Luner-User: {user}\r\nX-Luner-Agent: {agent}\r\n{more}");
    luner.ask(post_with(CHAT, &lines, chat(model, &format!("hello from {user}"))))
}

/// Six requests of every kind, newest last: two of ann, one of bob that is blocked, one for no model, one run of two calls.
#[track_caller]
fn some_traffic(luner: &Running) {
    luner.api().create(&json!({ "name": "no bob", "expression": "user_id == 'bob'", "action": "block" }));
    luner.api().create(&json!({ "name": "watch", "expression": "model == 'gpt-4o-mini'", "action": "alert" }));
    assert_eq!(chat_as(luner, "ann", "planner", "gpt-4o", "").status, 200);
    assert_eq!(chat_as(luner, "ann", "coder", "gpt-4o-mini", "").status, 200);
    assert_eq!(chat_as(luner, "bob", FORMULA, "gpt-4o", "").status, 403);
    assert_eq!(chat_as(luner, "cem", "<img src=x onerror=alert(1)>", "no-such-model", "").status, 404);
    for parent in ["00f067aa0ba902b7", "00f067aa0ba902b8"] {
        let joined = format!("traceparent: 00-{RUN}-{parent}-01\r\n");
        assert_eq!(chat_as(luner, "dee", "planner", "gpt-4o", &joined).status, 200);
    }
}

const RUN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What `some_traffic` amounts to, once it is stored.
#[track_caller]
fn all(luner: &Running) -> Vec<Value> {
    let items = luner.api().traces("", 5);
    assert_eq!(items.len(), 5, "{items:#?}");
    eventually("both calls of the run are stored", || {
        luner.api().get(&format!("/api/traces/{RUN}")).json()["requests"].as_array().is_some_and(|all| all.len() == 2)
    });
    luner.api().traces("", 5)
}

fn names<'v>(items: &'v [Value], field: &str) -> Vec<&'v str> {
    items.iter().map(|item| item[field].as_str().expect("a text")).collect()
}

#[test]
fn a_list_shows_what_happened_and_filters_by_it() {
    let mock = mock();
    let luner = with_storage(&mock);
    some_traffic(&luner);
    let items = all(&luner);
    assert_eq!(names(&items, "user_id"), ["dee", "cem", "bob", "ann", "ann"]);
    assert_eq!(names(&items, "outcome"), ["ok", "error", "blocked", "alerted", "ok"]);
    assert_eq!((&items[0]["trace_id"], &items[0]["requests"]), (&json!(RUN), &json!(2)));
    assert_eq!(items[1]["agent_name"], "<img src=x onerror=alert(1)>", "text, as it came");
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
        assert_eq!(names(page["items"].as_array().unwrap(), "user_id"), users, "{query}");
        let total = if query.starts_with("page") { 5 } else { users.len() };
        assert_eq!(page["total"], total, "{query}");
    }
}

// Row 81.
#[test]
fn a_bad_parameter_is_named() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").storage_sqlite().start();
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
fn sums_are_those_of_the_requests() {
    let mock = mock();
    let luner = with_storage(&mock);
    some_traffic(&luner);
    let items = all(&luner);
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
    assert!(latency["points"][0]["values"]["p50_ms"].is_null(), "nothing is not 0");

    let facets = luner.api().get("/api/traces/facets?user_id=ann").json();
    assert_eq!(facets["user_id"], json!([{ "value": "ann", "count": 2 }]));
    assert_eq!((facets["model"].as_array().unwrap().len(), &facets["status"][0]["value"]), (2, &json!("200")));
}

#[test]
fn one_trace_has_its_calls_their_spans_and_its_neighbours() {
    let mock = mock();
    let luner = with_storage(&mock);
    some_traffic(&luner);
    let items = all(&luner);
    let run = luner.api().get(&format!("/api/traces/{RUN}")).json();
    assert_eq!((&run["summary"]["requests"], run["spans"].as_array().unwrap().len()), (&json!(2), 2));
    let ids = |span: &Value| span["parent_id"].as_str().unwrap().to_owned();
    let parents: HashSet<String> = run["spans"].as_array().unwrap().iter().map(ids).collect();
    assert_eq!(parents, HashSet::from(["00f067aa0ba902b7".into(), "00f067aa0ba902b8".into()]));
    let children = run["spans"][0]["children"].as_array().unwrap();
    assert_eq!(names(children, "name").last(), Some(&"attempt openai"));
    assert!(run["timeline"].as_array().unwrap().iter().any(|moment| moment["name"] == "first byte"), "{run}");
    assert_eq!(run["requests"][0]["request"], Value::Null, "bodies are not recorded unless that is wanted");
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
    let text = Gateway::before(mock.base_url()).storage_sqlite().text();
    let luner = Gateway::new().yaml(text.replace("storage: { sqlite", "storage: { capture: all, sqlite")).start();
    assert_eq!(chat_as(&luner, "ann", "planner", "gpt-4o", "").status, 200);
    let id = luner.api().traces("", 1)[0]["trace_id"].as_str().unwrap().to_owned();
    let shown = luner.api().get(&format!("/api/traces/{id}")).json();
    let request = &shown["requests"][0]["request"];
    assert_eq!((request["text"].as_str(), &request["cut"]), (Some(&*chat("gpt-4o", "hello from ann")), &json!(false)));
    assert!(shown["requests"][0]["answer"]["text"].as_str().unwrap().contains("You said"), "{shown}");
}

#[test]
fn an_export_holds_what_the_list_holds() {
    let mock = mock();
    let luner = with_storage(&mock);
    some_traffic(&luner);
    let items = all(&luner);
    let export = luner.api().get("/api/traces/export");
    assert_eq!(export.json(), Value::from(items));
    assert_eq!(export.header("x-luner-rows-total"), Some("5"));
    let named = export.header("content-disposition").unwrap();
    assert!(named.starts_with("attachment; filename=\"luner-traces-2") && named.ends_with(".json\""), "{named}");
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
fn an_export_of_many_comes_in_pieces() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).storage_sqlite().log("info").start();
    let mut client = luner.connect();
    // In waves: a shard keeps no more traces than some hundred between two of its reports.
    for wave in 1..=3 {
        for n in 0..400 {
            assert_eq!(client.send(post_chat("no-such-model", &n.to_string())).answer().status, 404);
        }
        let all = || luner.api().get("/api/traces?page_size=1").json()["total"] == 400 * wave;
        eventually("a wave is stored", all);
    }
    let export = luner.api().get("/api/traces/export");
    let ids: HashSet<String> =
        export.json().as_array().unwrap().iter().map(|item| item["trace_id"].to_string()).collect();
    assert_eq!(ids.len(), 1_200, "each once");
    assert!(export.chunks.len() > 2, "{}", export.chunks.len());
    assert_eq!(luner.api().get("/api/traces/export?format=csv").text().lines().count(), 1_201);
}

/// Events of a live stream until there are `count` of them, as `(name, data)`.
#[track_caller]
fn events(stream: &mut Raw, count: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    loop {
        let all: Vec<&str> = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n")).collect();
        let told: Vec<(String, Value)> = all
            .iter()
            .filter_map(|event| {
                let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
                let name = name.split_once("\nid: ").map_or(name, |(name, _)| name);
                Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
            })
            .collect();
        if told.len() >= count {
            return told;
        }
        text.push_str(&String::from_utf8(stream.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
}

#[test]
fn the_live_stream_tells_of_each_request_that_passes() {
    let mock = mock();
    let mut luner = with_storage(&mock);
    let follow = |query: &str| {
        let mut stream = luner.connect();
        let head = stream.send(format!("GET /api/traces/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")).head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(stream.chunk().as_deref(), Some(&b": following\n\n"[..]));
        stream
    };
    let (mut every, mut of_ann) = (follow(""), follow("user_id=ann"));
    some_traffic(&luner);
    let told = events(&mut every, 6);
    assert!(told.iter().all(|(name, _)| name == "trace"), "{told:?}");
    let users: Vec<&str> = told.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "ann", "bob", "cem", "dee", "dee"]);
    let ann = events(&mut of_ann, 2);
    let listed = luner.api().traces("user_id=ann", 2);
    let told: Vec<&Value> = ann.iter().rev().map(|(_, item)| item).collect();
    assert_eq!(told, listed.iter().collect::<Vec<_>>(), "the items of the list");
    luner.signal(Signal::TERM);
    assert_eq!(every.chunk(), None, "the end of the process ends the stream");
    assert_eq!(luner.wait_exit().code(), Some(0));
}

#[test]
fn who_follows_again_is_told_what_it_missed() {
    let mock = mock();
    let luner = with_storage(&mock);
    let follow = |last: &str| {
        let mut stream = luner.connect();
        stream.send(format!("GET /api/traces/stream HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"));
        assert_eq!(stream.head().status, 200);
        stream
    };
    let mut first = follow("");
    some_traffic(&luner);
    let mut text = String::new();
    while text.matches("event: trace").count() < 6 {
        text.push_str(&String::from_utf8(first.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 6, "{text}");
    drop(first);
    // A browser's EventSource sends the last one that it saw.
    let mut again = follow(&format!("Last-Event-ID: {}\r\n", ids[3]));
    let missed = events(&mut again, 2);
    let users: Vec<&str> = missed.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["dee", "dee"], "{missed:?}");
    luner.post_chat("gpt-4o", "and on");
    assert_eq!(events(&mut again, 1).len(), 1, "and goes on");
}

#[test]
fn a_policy_is_tried_on_what_was_and_shows_its_matches_by_the_hour() {
    let mock = mock();
    let luner = with_storage(&mock);
    some_traffic(&luner);
    all(&luner);
    let trial = json!({ "expression": "user_id == 'ann'", "action": "block", "last": 1000 });
    let replay = luner.api().post("/api/policies/test", &trial).json();
    assert_eq!((&replay["evaluated"], &replay["matched"], &replay["not_evaluable"]), (&json!(5), &json!(2), &json!(1)));
    assert_eq!(replay["why"], json!({ "never_judged": 1 }));
    assert_eq!((&replay["cost_usd"], replay["cost_usd"].as_f64() > Some(0.0)), (&replay["saving_usd"], true));
    let users: Vec<&str> = names(replay["examples"].as_array().unwrap(), "user_id");
    assert_eq!(users, ["ann", "ann"]);
    let usage = json!({ "expression": "request_count > 5", "last": 10 });
    let replay = luner.api().post("/api/policies/test", &usage).json();
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
    let told = crate::support::luner(&[
        "policy",
        "test",
        "--expr",
        "user_id == 'ann'",
        "--db",
        db.to_str().unwrap(),
        "--last",
        "10",
    ]);
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(
        text.starts_with("2 of 5 requests match; they cost $0.")
            && text.contains("1 could not be judged: never_judged"),
        "{text}"
    );
    assert_eq!(told.status.code(), Some(0));
}

#[test]
fn providers_are_shown_with_how_they_stand() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url())
        .provider("dead", "http://127.0.0.1:9/v1", &["dead-*"])
        .top("rate_limit: { enabled: true, providers: [ { name: openai, qps: 0.001, burst: 5 } ] }")
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

#[test]
fn without_storage_what_needs_it_says_so() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
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
fn another_database_after_a_reload_is_another_history() {
    let mock = mock();
    let gateway = Gateway::before(mock.base_url()).storage_sqlite();
    let text = gateway.text();
    let luner = gateway.start();
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    luner.api().traces("", 1);
    luner.scratch().rename(&text.replace("luner.db", "other.db"));
    luner.wait_plan(2);
    assert_eq!(luner.api().get("/api/traces").json()["total"], 0);
    assert_eq!(luner.post_chat("gpt-4o", "y").status, 200);
    assert_eq!(luner.api().traces("", 1).len(), 1);
}

#[test]
fn the_description_is_served_to_everyone() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").token("it-admin-token-4c1f9b27").start();
    let answer = luner.ask(get("/api/openapi.json"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), std::fs::read_to_string(project("config/openapi.json")).unwrap());
    let told = crate::support::luner(&["openapi"]);
    assert_eq!(String::from_utf8_lossy(&told.stdout), answer.text());
}

//! Changes of the configuration while luner runs (FAULTS.md rows 70 to 73): found however the file changes, taken up whole or
//! not at all, without disturbing what is under way.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::*;

/// The configuration of a gateway before `url`, with `models`.
fn models(url: &str, models: &[&str]) -> String {
    Gateway::new().provider("openai", url, models).text()
}

fn listed(luner: &Running) -> Vec<String> {
    let list = luner.ask(get("/v1/models")).json();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until every shard answers by the new configuration: connections are spread over them.
#[track_caller]
fn wait_models(luner: &Running, models: &[&str]) {
    eventually(&format!("{models:?} are served"), || (0..8).all(|_| listed(luner) == models));
}

// Row 71.
#[test]
fn a_change_is_found_whether_written_renamed_or_swapped() {
    let mock = mock();
    let url = mock.base_url();
    let gateway = || Gateway::new().workers(2);
    let plain = gateway().start_in(Arc::new(Scratch::new(&models(&url, &["a"]))));
    assert_eq!(listed(&plain), ["a"]);
    plain.scratch().write(&models(&url, &["a", "b"]));
    wait_models(&plain, &["a", "b"]);
    plain.scratch().rename(&models(&url, &["b"]));
    wait_models(&plain, &["b"]);
    // After a rename there is another file behind the name.
    plain.scratch().write(&models(&url, &["c"]));
    wait_models(&plain, &["c"]);
    std::fs::remove_file(&plain.scratch().path).unwrap();
    assert_eq!(listed(&plain), ["c"]);
    plain.scratch().write(&models(&url, &["d"]));
    wait_models(&plain, &["d"]);
    assert_eq!(plain.post_chat("d", "x").said(), reply("x"));

    let mounted = gateway().start_in(Arc::new(Scratch::config_map(&models(&url, &["a"]))));
    for model in ["b", "c", "d"] {
        mounted.scratch().swap(&models(&url, &[model]));
        wait_models(&mounted, &[model]);
    }
    assert_eq!(mounted.metric("luner_config_reloads_total", &["ok"]), 3.0);
    assert_eq!(mounted.health()["plan"], 4);
}

// Row 70.
#[test]
fn a_bad_file_keeps_the_old_plan_and_is_told_once() {
    let mock = mock();
    let gateway = Gateway::before(mock.base_url()).storage_sqlite();
    let good = gateway.text();
    let luner = gateway.workers(2).start();
    let bad = good.replace("models:", "modles:").replace(CANARY, "sk-canary-of-the-new-file");
    for (n, bad) in [bad.as_str(), "", "version: v1\nproviders: [\n", &good[..good.len() / 2]].into_iter().enumerate() {
        luner.scratch().rename(bad);
        let count = n as f64 + 1.0;
        eventually("it was rejected", || luner.metric("luner_config_reloads_total", &["rejected"]) == count);
        assert_eq!(luner.post_chat("gpt-4o", "x").said(), reply("x"), "the old plan goes on");
        assert_eq!(luner.health()["plan"], 1);
        let shown = luner.api().config();
        assert!(shown["rejected"]["at"].as_str().unwrap().ends_with('Z'), "{shown}");
        assert!(!shown["rejected"]["problems"].as_array().unwrap().is_empty(), "{shown}");
        if n == 0 {
            let problems = shown["rejected"]["problems"].to_string();
            assert!(problems.contains("providers[0].modles") && problems.contains("\"line\":"), "{problems}");
            assert!(!shown.to_string().contains("sk-canary-of"), "{shown}");
            let differences = json!([
                { "key": "providers[openai].models", "running": "gpt-4o, gpt-4o-mini", "refused": null },
                { "key": "providers[openai].modles", "running": null, "refused": "***" },
            ]);
            assert_eq!(shown["rejected"]["differences"], differences);
        }
    }
    let told = luner.logs().iter().filter(|line| line.contains("configuration rejected")).count();
    assert_eq!(told, 4, "once each");
    assert_eq!(luner.api().audit().iter().filter(|entry| entry["action"] == "config.rejected").count(), 4);
    luner.scratch().rename(&good);
    eventually("it is in order again", || luner.api().config()["rejected"].is_null());
    assert_eq!(luner.health()["plan"], 1, "what runs already is not published again");
    assert!(luner.logs().iter().all(|line| !line.contains("sk-canary-of")));
    assert!(!luner.api().get("/api/audit?page_size=200").text().contains("sk-canary-of"));
}

// Row 78.
#[test]
fn a_reload_is_audited_without_secrets() {
    let gateway = Gateway::before("http://127.0.0.1:9/v1").storage_sqlite();
    let good = gateway.text();
    let luner = gateway.start();
    luner.scratch().write(&good.replace("gpt-4o-mini", "gpt-5").replace(CANARY, "sk-canary-of-the-new-file"));
    luner.wait_plan(2);
    let audit = luner.api().audit();
    let entry = &audit[0];
    assert_eq!((&entry["action"], &entry["actor"]), (&json!("config.reload"), &json!("file")));
    assert_eq!(entry["subject"], luner.scratch().path.to_str().unwrap());
    let models = |side: &str| entry[side]["config"]["providers"][0]["models"][1].clone();
    assert_eq!((models("before"), models("after")), (json!("gpt-4o-mini"), json!("gpt-5")));
    assert!(!Value::Array(audit).to_string().contains("sk-canary"));
    assert!(luner.logs().iter().all(|line| !line.contains("sk-canary-of")));
}

// Row 73.
#[test]
fn a_request_under_way_finishes_by_the_plan_that_it_began_with() {
    let gate = Gate::new();
    let held = gate.clone();
    let old = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("from the old one"));
        conn.hold();
    });
    let new = Upstream::always(ok_chat("from the new one"));
    let luner = Gateway::before(old.url()).workers(2).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("it is under way", || old.requests().len() == 1);
    luner.scratch().rename(&Gateway::before(new.url()).text());
    luner.wait_plan(2);
    assert_eq!(luner.post_chat("gpt-4o", "y").said(), "from the new one");
    gate.permit();
    assert_eq!(client.answer().said(), "from the old one");
    // The connection goes on by the new plan.
    assert_eq!(client.send(post_chat("gpt-4o", "z")).answer().said(), "from the new one");
    assert_eq!(old.requests().len(), 1);
}

// Row 73.
#[test]
fn a_rotated_key_is_the_next_requests() {
    let upstream = Upstream::script(|conn| while conn.next_request().is_some() && conn.write(ok_chat("well")) {});
    let gateway = Gateway::before(upstream.url());
    let good = gateway.text();
    let luner = gateway.start();
    let mut client = luner.connect();
    assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200);
    luner.scratch().write(&good.replace(CANARY, "sk-rotated"));
    luner.wait_plan(2);
    assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200);
    let keys: Vec<String> =
        upstream.requests().iter().map(|request| request.header("authorization").expect("a key").to_owned()).collect();
    assert_eq!(keys, [format!("Bearer {CANARY}"), "Bearer sk-rotated".to_owned()]);
    assert!(luner.logs().iter().all(|line| !line.contains("sk-rotated")));
}

// Row 73.
#[test]
fn a_removed_provider_is_gone_and_its_name_forgotten() {
    let mock = mock();
    // By name, so that it is looked up.
    let by_name = mock.base_url().replace("127.0.0.1", "localhost");
    let both = Gateway::before(mock.base_url()).provider("second", &by_name, &["second-model"]);
    let first = Gateway::before(mock.base_url()).text();
    let luner = both.workers(2).start();
    for round in 0..3 {
        eventually("both are served", || luner.post_chat("second-model", "x").status == 200);
        luner.scratch().rename(&first);
        luner.wait_plan(2 + 2 * round);
        let answer = luner.post_chat("second-model", "x");
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")));
        assert_eq!(luner.post_chat("gpt-4o", "y").said(), reply("y"));
        eventually("nobody looks its name up any more", || threads(&luner, "dns localhost") == 0);
        let both = Gateway::before(mock.base_url()).provider("second", &by_name, &["second-model"]).text();
        luner.scratch().rename(&both);
        luner.wait_plan(3 + 2 * round);
    }
}

/// Threads of luner's by that name, as the kernel cuts it.
fn threads(luner: &Running, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", luner.pid())).expect("the process's threads");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[test]
fn the_log_level_changes_without_a_restart() {
    let mock = mock();
    let quiet = Gateway::before(mock.base_url()).log("warn");
    // At warn, luner does not say where it listens: it begins with debug.
    let loud = Gateway::before(mock.base_url()).text();
    let luner = Gateway::before(mock.base_url()).workers(2).start();
    let lines = |luner: &Running| luner.logs().iter().filter(|line| line.contains("\"request\"")).count();
    luner.post_chat("gpt-4o", "x");
    eventually("a request is logged", || lines(&luner) == 1);
    luner.scratch().write(&quiet.text());
    luner.wait_plan(2);
    for _ in 0..8 {
        assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    }
    luner.scratch().write(&loud);
    luner.wait_plan(3);
    luner.post_chat("gpt-4o", "x");
    eventually("requests are logged again", || lines(&luner) >= 2);
    assert_eq!(lines(&luner), 2, "those between were not: {:#?}", luner.logs());
}

#[test]
fn a_price_file_that_changes_is_taken_up_and_a_bad_one_refused() {
    let gateway = Gateway::before("http://127.0.0.1:9/v1").top("pricing: { file: \"${LUNER_IT_FOLDER}/prices.json\" }");
    let scratch = Arc::new(Scratch::new(&gateway.text()));
    let prices = scratch.folder.join("prices.json");
    let (config, folder) = (scratch.path.to_str().unwrap(), scratch.folder.to_str().unwrap());

    let env = [("LUNER_IT_FOLDER", folder)];
    for arguments in [&["--config", config, "--listen", "127.0.0.1:0"][..], &["check", "--config", config]] {
        let missing = luner_with(arguments, &env);
        assert_eq!(missing.status.code(), Some(78));
        let said = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(said.contains("pricing.file") && said.contains("prices.json"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    let table = |models: &[&str]| {
        let entries = models
            .iter()
            .map(|model| (model.to_string(), json!({ "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6 })));
        Value::Object(entries.collect()).to_string()
    };
    std::fs::write(&prices, table(&["gpt-4o"])).unwrap();
    assert_eq!(luner_with(&["check", "--config", config], &env).status.code(), Some(0));
    let luner = gateway.start_in(scratch);
    let shown = luner.api().config();
    assert_eq!((&shown["prices"]["models"], &shown["prices"]["unpriced"]), (&json!(1), &json!(["gpt-4o-mini"])));
    assert!(shown["prices"]["source"].as_str().unwrap().ends_with("prices.json"));
    std::fs::write(&prices, table(&["gpt-4o", "gpt-4o-mini"])).unwrap();
    luner.wait_plan(2);
    assert_eq!(luner.api().config()["prices"]["unpriced"], json!([]));
    std::fs::write(&prices, "{\n  \"gpt-4o\": {\n").unwrap();
    eventually("it was rejected", || !luner.api().config()["rejected"].is_null());
    let shown = luner.api().config();
    let problem = &shown["rejected"]["problems"][0];
    assert_eq!(problem["key"], "pricing.file");
    assert!(problem["message"].as_str().unwrap().contains("prices.json:"), "{problem}");
    assert_eq!((&shown["prices"]["models"], &shown["revision"]), (&json!(2), &json!(2)));
}

#[test]
fn access_and_limits_change_without_a_restart() {
    let gateway = Gateway::before("http://127.0.0.1:9/v1").storage_sqlite();
    let luner = Gateway::before("http://127.0.0.1:9/v1").storage_sqlite().workers(2).start();
    assert_eq!(luner.api().get("/api/policies").status, 200);
    let token = "it-admin-token-4c1f9b27";
    let guarded = gateway.clone().token(token).server("limits: { body_bytes: 1KiB }");
    luner.scratch().write(&guarded.text());
    luner.wait_plan(2);
    assert_eq!(luner.api().get("/api/policies").status, 401);
    let with_token = luner.api().with(&format!("Host: x\r\nAuthorization: Bearer {token}\r\n"));
    assert_eq!(with_token.get("/api/policies").status, 200);
    assert_eq!(luner.post_chat("gpt-4o", &"x".repeat(2_000)).status, 413);
    assert_eq!(with_token.config()["config"]["server"]["limits"]["body_bytes"], "1KiB");
    luner.scratch().write(&gateway.text());
    luner.wait_plan(3);
    assert_eq!(luner.api().get("/api/policies").status, 200);
}

#[test]
fn what_needs_a_restart_is_told() {
    let gateway = Gateway::before("http://127.0.0.1:9/v1");
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
    luner.scratch().write(&gateway.clone().server("listen: \":1\"\nworkers: 9\nwrite_timeout: 5s").text());
    luner.wait_log("need a restart");
    let shown = luner.api().config();
    assert_eq!(shown["needs_restart"], json!(["server.write_timeout"]), "the command line decides the others");
    assert_eq!(shown["config"]["server"]["write_timeout"], "2m");
    assert_eq!(luner.health()["plan"], 1);
}

#[test]
fn storage_can_be_switched_on_and_off() {
    let none = Gateway::before("http://127.0.0.1:9/v1");
    let sqlite = none.clone().storage_sqlite().text();
    let luner = none.clone().start();
    luner.scratch().write(&sqlite);
    luner.wait_plan(2);
    luner.api().create(&json!({ "name": "n", "expression": "cost_usd > 10.0", "action": "block" }));
    luner.scratch().write(&none.text());
    eventually("it is off", || luner.health()["storage"] == "off");
    assert_eq!(luner.api().get("/api/policies").status, 503);
    luner.scratch().write(&sqlite);
    eventually("it is on again", || luner.health()["storage"] == "ok");
    assert_eq!(luner.api().policies().len(), 1);
    // A database that cannot be used is refused with everything else in that file.
    std::fs::write(luner.scratch().folder.join("other.db"), "no database".repeat(500)).unwrap();
    luner.scratch().write(&sqlite.replace("/luner.db", "/other.db").replace("gpt-4o-mini", "gpt-5"));
    eventually("it was rejected", || !luner.api().config()["rejected"].is_null());
    assert_eq!(luner.api().config()["rejected"]["problems"][0]["key"], "storage.sqlite.path");
    assert_eq!(listed(&luner), ["gpt-4o", "gpt-4o-mini"]);
    assert_eq!(luner.api().policies().len(), 1);
}

// Row 72.
#[test]
fn a_thousand_changes_under_load_leave_every_core_with_the_last_and_nothing_behind() {
    const CHANGES: usize = 1_000;
    let mock = mock();
    let url = mock.base_url();
    let luner =
        Gateway::new().workers(2).log("info").start_in(Arc::new(Scratch::new(&models(&url, &["gpt-4o", "m-0"]))));
    let warm = |luner: &Running| {
        for _ in 0..50 {
            assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
        }
    };
    warm(&luner);
    let tasks = || std::fs::read_dir(format!("/proc/{}/task", luner.pid())).map_or(0, Iterator::count);
    let (fds, threads, memory) = (luner.open_fds(), tasks(), luner.rss_bytes());
    let mut client = luner.connect();
    for n in 1..=CHANGES {
        luner.scratch().rename(&models(&url, &["gpt-4o", &format!("m-{n}")]));
        assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200, "after change {n}");
    }
    drop(client);
    wait_models(&luner, &["gpt-4o", &format!("m-{CHANGES}")]);
    warm(&luner);
    assert_eq!(luner.metric("luner_config_reloads_total", &["rejected"]), 0.0, "a rename is never half a file");
    eventually("descriptors return", || luner.open_fds() <= fds + 2);
    eventually("threads return", || tasks() <= threads);
    let grown = luner.rss_bytes().saturating_sub(memory);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

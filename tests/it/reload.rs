//! Changes of the config file while luner runs (FAULTS.md rows 70 to 73 and 78): found however the file changes,
//! applied as a whole or not at all, without disturbing running requests.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::*;

/// A config with one provider at `url` that serves `models`.
fn config_with(url: &str, models: &[&str]) -> String {
    Gateway::new().provider("openai", url, models).config_text()
}

/// The models that `GET /v1/models` lists.
fn listed_models(luner: &Running) -> Vec<String> {
    let list = luner.ask(get("/v1/models")).json();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until every shard uses the new config. The eight connections are spread over the shards.
#[track_caller]
fn wait_models(luner: &Running, models: &[&str]) {
    eventually(&format!("{models:?} are served"), || (0..8).all(|_| listed_models(luner) == models));
}

/// FAULTS.md row 71.
#[test]
fn change_is_found_whether_written_renamed_or_relinked() {
    let mock = mock();
    let url = mock.base_url();
    let gateway = || Gateway::new().workers(2);
    let plain = gateway().start_in(Arc::new(Scratch::new(&config_with(&url, &["a"]))));
    assert_eq!(listed_models(&plain), ["a"]);
    plain.scratch().write(&config_with(&url, &["a", "b"]));
    wait_models(&plain, &["a", "b"]);
    plain.scratch().write_by_rename(&config_with(&url, &["b"]));
    wait_models(&plain, &["b"]);
    // After a rename, the name belongs to another file.
    plain.scratch().write(&config_with(&url, &["c"]));
    wait_models(&plain, &["c"]);
    std::fs::remove_file(&plain.scratch().path).unwrap();
    assert_eq!(listed_models(&plain), ["c"]);
    plain.scratch().write(&config_with(&url, &["d"]));
    wait_models(&plain, &["d"]);
    assert_eq!(plain.post_chat("d", "x").content(), reply("x"));

    let mounted = gateway().start_in(Arc::new(Scratch::config_map(&config_with(&url, &["a"]))));
    for model in ["b", "c", "d"] {
        mounted.scratch().swap_link(&config_with(&url, &[model]));
        wait_models(&mounted, &[model]);
    }
    assert_eq!(mounted.metric("luner_config_reloads_total", &["ok"]), 3.0);
    assert_eq!(mounted.health()["plan"], 4);
}

/// FAULTS.md row 70.
#[test]
fn bad_file_keeps_the_old_plan_and_is_reported_once() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    let good = gateway.config_text();
    let luner = gateway.workers(2).start();
    let misspelt = good.replace("\"models\"", "\"modles\"").replace(CANARY, "sk-canary-of-the-new-file");
    let bad_files = [misspelt.as_str(), "", "version: v1\nproviders: [\n", &good[..good.len() / 2]];
    for (n, bad) in bad_files.into_iter().enumerate() {
        luner.scratch().write_by_rename(bad);
        let count = n as f64 + 1.0;
        eventually("the file is rejected", || luner.metric("luner_config_reloads_total", &["rejected"]) == count);
        assert_eq!(luner.post_chat("gpt-4o", "x").content(), reply("x"), "the old plan stays");
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
    let lines = luner.logs().iter().filter(|line| line.contains("configuration rejected")).count();
    assert_eq!(lines, 4, "each file is reported once");
    assert_eq!(luner.api().audit().iter().filter(|entry| entry["action"] == "config.rejected").count(), 4);
    luner.scratch().write_by_rename(&good);
    eventually("the good file is accepted", || luner.api().config()["rejected"].is_null());
    assert_eq!(luner.health()["plan"], 1, "an unchanged config makes no new plan");
    assert!(luner.logs().iter().all(|line| !line.contains("sk-canary-of")));
    assert!(!luner.api().get("/api/audit?page_size=200").text().contains("sk-canary-of"));
}

/// FAULTS.md row 78.
#[test]
fn reload_is_audited_without_secrets() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite();
    let good = gateway.config_text();
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

/// FAULTS.md row 73.
#[test]
fn running_request_finishes_with_the_plan_it_started_with() {
    let gate = Gate::new();
    let held = gate.clone();
    let old = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("from the old one"));
        conn.hold();
    });
    let new = Upstream::always(ok_chat("from the new one"));
    let luner = Gateway::in_front_of(old.url()).workers(2).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("the request is in flight", || old.requests().len() == 1);
    luner.scratch().write_by_rename(&Gateway::in_front_of(new.url()).config_text());
    luner.wait_plan(2);
    assert_eq!(luner.post_chat("gpt-4o", "y").content(), "from the new one");
    gate.permit();
    assert_eq!(client.answer().content(), "from the old one");
    // The next request on the same connection uses the new plan.
    assert_eq!(client.send(post_chat("gpt-4o", "z")).answer().content(), "from the new one");
    assert_eq!(old.requests().len(), 1);
}

/// FAULTS.md row 73.
#[test]
fn rotated_key_is_used_by_the_next_request() {
    let upstream = Upstream::script(|conn| while conn.next_request().is_some() && conn.write(ok_chat("well")) {});
    let gateway = Gateway::in_front_of(upstream.url());
    let good = gateway.config_text();
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

/// FAULTS.md row 73.
#[test]
fn removed_provider_is_gone_and_its_name_no_longer_resolved() {
    let mock = mock();
    // With a host name, so that luner resolves it.
    let by_name = mock.base_url().replace("127.0.0.1", "localhost");
    let both = Gateway::in_front_of(mock.base_url()).provider("second", &by_name, &["second-model"]);
    let without_second = Gateway::in_front_of(mock.base_url()).config_text();
    let with_second = both.config_text();
    let luner = both.workers(2).start();
    for round in 0..3 {
        eventually("both are served", || luner.post_chat("second-model", "x").status == 200);
        luner.scratch().write_by_rename(&without_second);
        luner.wait_plan(2 + 2 * round);
        let answer = luner.post_chat("second-model", "x");
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("model_not_found")));
        assert_eq!(luner.post_chat("gpt-4o", "y").content(), reply("y"));
        eventually("its name is no longer resolved", || threads(&luner, "dns localhost") == 0);
        luner.scratch().write_by_rename(&with_second);
        luner.wait_plan(3 + 2 * round);
    }
}

/// Number of luner's threads of this name, which the kernel truncates to 15 characters.
fn threads(luner: &Running, name: &str) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", luner.pid())).expect("the process's threads");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[test]
fn log_level_changes_without_a_restart() {
    let mock = mock();
    let quiet = Gateway::in_front_of(mock.base_url()).log("warn");
    // Starts at debug, because at warn luner does not log the address that it listens on.
    let loud = Gateway::in_front_of(mock.base_url()).config_text();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    let lines = |luner: &Running| luner.logs().iter().filter(|line| line.contains("\"request\"")).count();
    luner.post_chat("gpt-4o", "x");
    eventually("a request is logged", || lines(&luner) == 1);
    luner.scratch().write(&quiet.config_text());
    luner.wait_plan(2);
    for _ in 0..8 {
        assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
    }
    luner.scratch().write(&loud);
    luner.wait_plan(3);
    luner.post_chat("gpt-4o", "x");
    eventually("requests are logged again", || lines(&luner) >= 2);
    assert_eq!(lines(&luner), 2, "no request was logged at warn: {:#?}", luner.logs());
}

#[test]
fn changed_price_file_is_loaded_and_a_bad_one_refused() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .with(json!({ "pricing": { "file": "${LUNER_IT_FOLDER}/prices.json" } }));
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    let prices = scratch.folder.join("prices.json");
    let (config, folder) = (scratch.path.to_str().unwrap(), scratch.folder.to_str().unwrap());

    let env = [(FOLDER, folder)];
    for arguments in [&["--config", config, "--listen", "127.0.0.1:0"][..], &["check", "--config", config]] {
        let missing = run_luner_with_env(arguments, &env);
        assert_eq!(missing.status.code(), Some(78));
        let stderr = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(stderr.contains("pricing.file") && stderr.contains("prices.json"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }

    let table = |models: &[&str]| {
        let entries = models
            .iter()
            .map(|model| (model.to_string(), json!({ "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6 })));
        Value::Object(entries.collect()).to_string()
    };
    std::fs::write(&prices, table(&["gpt-4o"])).unwrap();
    assert_eq!(run_luner_with_env(&["check", "--config", config], &env).status.code(), Some(0));
    let luner = gateway.start_in(scratch);
    let shown = luner.api().config();
    assert_eq!((&shown["prices"]["models"], &shown["prices"]["unpriced"]), (&json!(1), &json!(["gpt-4o-mini"])));
    assert!(shown["prices"]["source"].as_str().unwrap().ends_with("prices.json"));
    std::fs::write(&prices, table(&["gpt-4o", "gpt-4o-mini"])).unwrap();
    luner.wait_plan(2);
    assert_eq!(luner.api().config()["prices"]["unpriced"], json!([]));
    std::fs::write(&prices, "{\n  \"gpt-4o\": {\n").unwrap();
    eventually("the price file is rejected", || !luner.api().config()["rejected"].is_null());
    let shown = luner.api().config();
    let problem = &shown["rejected"]["problems"][0];
    assert_eq!(problem["key"], "pricing.file");
    assert!(problem["message"].as_str().unwrap().contains("prices.json:"), "{problem}");
    assert_eq!((&shown["prices"]["models"], &shown["revision"]), (&json!(2), &json!(2)));
}

#[test]
fn access_and_limits_change_without_a_restart() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite();
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().workers(2).start();
    assert_eq!(luner.api().get("/api/policies").status, 200);
    let token = "it-admin-token-4c1f9b27";
    let guarded = gateway.clone().token(token).server(json!({ "limits": { "body_bytes": "1KiB" } }));
    luner.scratch().write(&guarded.config_text());
    luner.wait_plan(2);
    assert_eq!(luner.api().get("/api/policies").status, 401);
    let with_token = luner.api().with_headers(&format!("Host: x\r\nAuthorization: Bearer {token}\r\n"));
    assert_eq!(with_token.get("/api/policies").status, 200);
    assert_eq!(luner.post_chat("gpt-4o", &"x".repeat(2_000)).status, 413);
    assert_eq!(with_token.config()["config"]["server"]["limits"]["body_bytes"], "1KiB");
    luner.scratch().write(&gateway.config_text());
    luner.wait_plan(3);
    assert_eq!(luner.api().get("/api/policies").status, 200);
}

#[test]
fn settings_that_need_a_restart_are_reported() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1");
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    luner
        .scratch()
        .write(&gateway.clone().server(json!({ "listen": ":1", "workers": 9, "write_timeout": "5s" })).config_text());
    luner.wait_log("need a restart");
    let shown = luner.api().config();
    assert_eq!(shown["needs_restart"], json!(["server.write_timeout"]), "the command line overrides the other two");
    assert_eq!(shown["config"]["server"]["write_timeout"], "2m");
    assert_eq!(luner.health()["plan"], 1);
}

#[test]
fn storage_can_be_switched_on_and_off() {
    let none = Gateway::in_front_of("http://127.0.0.1:9/v1");
    let sqlite = none.clone().storage_sqlite().config_text();
    let luner = none.clone().start();
    luner.scratch().write(&sqlite);
    luner.wait_plan(2);
    luner.api().create(&json!({ "name": "n", "expression": "cost_usd > 10.0", "action": "block" }));
    luner.scratch().write(&none.config_text());
    eventually("the storage is off", || luner.health()["storage"] == "off");
    assert_eq!(luner.api().get("/api/policies").status, 503);
    luner.scratch().write(&sqlite);
    eventually("the storage is on again", || luner.health()["storage"] == "ok");
    assert_eq!(luner.api().policies().len(), 1);
    // An unusable database rejects the whole file, the new models included.
    std::fs::write(luner.scratch().folder.join("other.db"), "no database".repeat(500)).unwrap();
    luner.scratch().write(&sqlite.replace("/luner.db", "/other.db").replace("gpt-4o-mini", "gpt-5"));
    eventually("the file is rejected", || !luner.api().config()["rejected"].is_null());
    assert_eq!(luner.api().config()["rejected"]["problems"][0]["key"], "storage.sqlite.path");
    assert_eq!(listed_models(&luner), ["gpt-4o", "gpt-4o-mini"]);
    assert_eq!(luner.api().policies().len(), 1);
}

/// FAULTS.md row 72.
#[test]
fn thousand_reloads_under_load_reach_every_shard_and_leak_nothing() {
    const CHANGES: usize = 1_000;
    let mock = mock();
    let url = mock.base_url();
    let luner =
        Gateway::new().workers(2).log("info").start_in(Arc::new(Scratch::new(&config_with(&url, &["gpt-4o", "m-0"]))));
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
        luner.scratch().write_by_rename(&config_with(&url, &["gpt-4o", &format!("m-{n}")]));
        assert_eq!(client.send(post_chat("gpt-4o", "x")).answer().status, 200, "after change {n}");
    }
    drop(client);
    wait_models(&luner, &["gpt-4o", &format!("m-{CHANGES}")]);
    warm(&luner);
    assert_eq!(
        luner.metric("luner_config_reloads_total", &["rejected"]),
        0.0,
        "a file replaced by rename is never read in half"
    );
    eventually("descriptors return", || luner.open_fds() <= fds + 2);
    eventually("threads return", || tasks() <= threads);
    let grown = luner.rss_bytes().saturating_sub(memory);
    assert!(grown < 32 << 20, "memory grew by {grown} bytes");
}

//! Policies over REST: every way to change them and every way to get it wrong (FAULTS.md rows 45, 76 and 81).

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::*;

pub fn gateway_with_storage() -> Gateway {
    Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite()
}

pub fn policy(name: &str) -> Value {
    json!({ "name": name, "expression": "cost_usd > 10.0", "action": "block" })
}

pub fn id(policy: &Value) -> String {
    policy["id"].as_str().expect("an id").to_owned()
}

#[test]
fn policy_is_created_read_replaced_and_deleted() {
    let luner = gateway_with_storage().workers(2).start();
    let api = luner.api();
    let answer = api.post("/api/policies", &policy("costs"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let created = answer.json();
    let path = format!("/api/policies/{}", id(&created));
    assert_eq!(answer.header("location"), Some(path.as_str()));
    let digits = id(&created);
    let digits = digits.strip_prefix("pol_").expect("an id");
    assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digits}");
    for (field, value) in [
        ("name", json!("costs")),
        ("description", json!("")),
        ("expression", json!("cost_usd > 10.0")),
        ("action", json!("block")),
        ("target_model", Value::Null),
        ("message", Value::Null),
        ("priority", json!(100)),
        ("enabled", json!(true)),
        ("mode", json!("enforce")),
        ("matches", json!(0)),
        ("errors", json!(0)),
        ("warnings", json!([])),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    let created_at = created["created_at"].as_str().unwrap();
    assert!(created_at.len() == "2026-01-31T12:00:00.000Z".len() && created_at.ends_with('Z'), "{created_at}");
    assert_eq!(created["updated_at"], created_at);
    assert_eq!(api.policy(&path), created);
    assert_eq!(api.policies(), std::slice::from_ref(&created));

    let full = json!({
        "name": "cheaper", "description": "a\nb", "expression": "model == 'gpt-4o'", "action": "downgrade",
        "target_model": "gpt-4o-mini", "message": "m", "priority": -5, "enabled": false, "mode": "shadow",
    });
    let answer = api.put(&path, &full);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let replaced = answer.json();
    for (field, value) in full.as_object().unwrap() {
        assert_eq!(&replaced[field], value, "{field}");
    }
    assert_eq!((&replaced["id"], &replaced["created_at"]), (&created["id"], &created["created_at"]));
    assert!(replaced["updated_at"].as_str() >= created["updated_at"].as_str());
    // A replacement resets the fields that it leaves out to their defaults.
    assert_eq!(api.put(&path, &policy("costs")).json()["priority"], 100);

    let deleted = api.delete(&path);
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    for answer in [api.get(&path), api.delete(&path), api.put(&path, &policy("costs"))] {
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("not_found")));
    }
    assert!(api.policies().is_empty());
    assert_eq!(luner.health()["plan"], 5, "each change makes a new plan");
}

#[test]
fn policies_are_listed_in_evaluation_order() {
    let luner = gateway_with_storage().start();
    let api = luner.api();
    for (name, priority) in [("c", 7), ("a", -7), ("b", 0)] {
        let mut policy = policy(name);
        policy["priority"] = priority.into();
        api.create(&policy);
    }
    let names: Vec<Value> = api.policies().iter().map(|policy| policy["name"].clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

/// FAULTS.md rows 45 and 76.
#[test]
fn every_mistake_gets_a_clear_400_and_changes_nothing() {
    let luner = gateway_with_storage().start();
    let api = luner.api();
    let kept = api.create(&policy("kept"));
    let path = format!("/api/policies/{}", id(&kept));
    let plan = luner.health()["plan"].clone();
    let draft = |change: &[(&str, Value)]| {
        let mut draft = policy("new");
        for (field, value) in change {
            draft[*field] = value.clone();
        }
        draft.to_string()
    };
    let with = |expression: &str| draft(&[("expression", expression.into())]);
    let long = format!("model == '{}'", "x".repeat(4096));
    let deep = format!("{}true{}", "!(".repeat(40), ")".repeat(40));
    let nested = format!("{}1{} > 0", "(".repeat(2000), ")".repeat(2000));
    let chain = format!("1{} > 0", " + 1".repeat(400));
    let heavy = r"model.matches('(\\w{1,50}){1,50}')";
    for (what, body, param, code) in [
        ("malformed JSON", "{".into(), None, "invalid_json"),
        ("an empty body", String::new(), None, "invalid_json"),
        ("a list", "[]".into(), None, "invalid_type"),
        ("a repeated key", r#"{"name":"a","name":"b"}"#.into(), Some("name"), "duplicate_key"),
        ("no fields", "{}".into(), Some("name"), "invalid_value"),
        ("a number for a name", draft(&[("name", json!(5))]), Some("name"), "invalid_value"),
        ("an empty name", draft(&[("name", json!(""))]), Some("name"), "invalid_value"),
        ("a long name", draft(&[("name", json!("n".repeat(200)))]), Some("name"), "invalid_value"),
        ("a name with a line break", draft(&[("name", json!("a\nb"))]), Some("name"), "invalid_value"),
        ("an unknown action", draft(&[("action", json!("explode"))]), Some("action"), "invalid_value"),
        ("an unknown mode", draft(&[("mode", json!("maybe"))]), Some("mode"), "invalid_value"),
        ("a text for a number", draft(&[("priority", json!("1"))]), Some("priority"), "invalid_value"),
        ("a fraction", draft(&[("priority", json!(1.5))]), Some("priority"), "invalid_value"),
        ("a target for a block", draft(&[("target_model", json!("m"))]), Some("target_model"), "invalid_value"),
        ("an id", draft(&[("id", json!("pol_1"))]), Some("id"), "invalid_value"),
        ("an upstream", draft(&[("base_url", json!("http://evil.example"))]), Some("base_url"), "invalid_value"),
        ("an unknown variable", with("costs > 1"), Some("expression"), "invalid_value"),
        ("a result that is not a boolean", with("cost_usd + 1.0"), Some("expression"), "invalid_value"),
        ("types that cannot be compared", with("model > 1"), Some("expression"), "invalid_value"),
        ("an unfinished expression", with("model =="), Some("expression"), "invalid_value"),
        ("an empty expression", with(""), Some("expression"), "invalid_value"),
        ("an unknown function", with("system('reboot')"), Some("expression"), "invalid_value"),
        ("an expression over 4 KiB", with(&long), Some("expression"), "invalid_value"),
        ("40 nested negations", with(&deep), Some("expression"), "invalid_value"),
        ("2,000 nested brackets", with(&nested), Some("expression"), "invalid_value"),
        ("a chain of 400 operators", with(&chain), Some("expression"), "invalid_value"),
        ("a pattern from the request", with("'x'.matches(model)"), Some("expression"), "invalid_value"),
        ("a pattern of exponential cost", with(heavy), Some("expression"), "invalid_value"),
        ("a broken pattern", with("model.matches('(')"), Some("expression"), "invalid_value"),
    ] {
        for (method, path) in [("POST", "/api/policies"), ("PUT", path.as_str())] {
            let answer = api.send(method, path, &body);
            assert_eq!(answer.status, 400, "{what}: {}", answer.text());
            assert_eq!(answer.error_code().as_deref(), Some(code), "{what}: {}", answer.text());
            assert_eq!(answer.json()["error"]["param"].as_str(), param, "{what}: {}", answer.text());
        }
    }
    let too_large = draft(&[("description", json!("x".repeat(70_000)))]);
    assert_eq!(api.send("POST", "/api/policies", too_large).status, 413);
    assert_eq!(api.policies(), [kept], "nothing has changed");
    assert_eq!(luner.health()["plan"], plan);
    assert_eq!(api.audit().len(), 1);
}

#[test]
fn several_mistakes_are_reported_together_with_their_position() {
    let luner = gateway_with_storage().start();
    let body = json!({ "name": "", "expression": "true &&\n costs > 1", "action": "x", "colour": "red" });
    let answer = luner.api().post("/api/policies", &body);
    assert_eq!(answer.status, 400);
    let body = answer.json();
    let details = body["details"].as_array().unwrap();
    let params: HashSet<&str> = details.iter().map(|detail| detail["param"].as_str().unwrap()).collect();
    assert_eq!(params, HashSet::from(["name", "expression", "action", "colour"]));
    let expression = details.iter().find(|detail| detail["param"] == "expression").unwrap();
    assert_eq!(expression["position"], json!({ "line": 2, "column": 2, "offset": 9 }));
    assert!(expression["message"].as_str().unwrap().contains("costs"), "{expression}");
}

#[test]
fn duplicate_policy_name_is_refused() {
    let luner = gateway_with_storage().start();
    let api = luner.api();
    api.create(&policy("one"));
    let two = api.create(&policy("two"));
    for answer in
        [api.post("/api/policies", &policy("one")), api.put(&format!("/api/policies/{}", id(&two)), &policy("one"))]
    {
        assert_eq!((answer.status, answer.error_code().as_deref()), (409, Some("name_taken")), "{}", answer.text());
        assert_eq!(answer.json()["error"]["param"], "name");
    }
    let names: HashSet<String> =
        api.policies().iter().map(|policy| policy["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, HashSet::from(["one".to_owned(), "two".to_owned()]));
    assert_eq!(
        api.put(&format!("/api/policies/{}", id(&two)), &policy("two")).status,
        200,
        "a policy may keep its name"
    );
}

#[test]
fn downgrade_target_without_provider_gets_a_warning() {
    let luner = gateway_with_storage().start();
    let body = json!({ "name": "n", "expression": "true", "action": "downgrade", "target_model": "gpt-5-nano" });
    let created = luner.api().create(&body);
    assert!(created["warnings"][0].as_str().unwrap().contains("gpt-5-nano"), "{created}");
    let body = json!({ "name": "m", "expression": "true", "action": "downgrade", "target_model": "gpt-4o-mini" });
    assert_eq!(luner.api().create(&body)["warnings"], json!([]));
}

#[test]
fn expression_is_tried_without_being_stored() {
    let luner = gateway_with_storage().start();
    let api = luner.api();
    let try_out = |body: Value| {
        let answer = api.post("/api/policies/test", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let blocked = try_out(json!({
        "expression": "cost_usd > 10.0", "action": "block", "vars": { "cost_usd": 11, "model": "gpt-4o" },
    }));
    assert_eq!(blocked["matched"], true);
    assert_eq!((&blocked["verdict"], &blocked["model"]), (&json!("block"), &Value::Null));
    assert_eq!(blocked["variables"], json!(["cost_usd"]));
    let downgraded = try_out(json!({
        "expression": "request_count > 100 && model == 'gpt-4o'", "action": "downgrade", "target_model": "gpt-4o-mini",
        "vars": { "request_count": 101, "model": "gpt-4o" },
    }));
    assert_eq!((&downgraded["verdict"], &downgraded["model"]), (&json!("downgrade"), &json!("gpt-4o-mini")));
    assert_eq!(try_out(json!({ "expression": "tokens_used > 50000" }))["matched"], false);
    let failing = try_out(json!({ "expression": "1 / request_count > 0", "action": "block" }));
    assert_eq!(failing["error"], "division_by_zero");
    assert_eq!((&failing["matched"], &failing["verdict"]), (&json!(false), &json!("block")));
    let early =
        json!({ "expression": "now < timestamp('2026-01-01T00:00:00Z')", "vars": { "now": "2025-12-31T00:00:00Z" } });
    assert_eq!(try_out(early)["matched"], true);

    for (body, params) in [
        (json!({}), vec!["expression"]),
        (json!({ "expression": "costs > 1" }), vec!["expression"]),
        (json!({ "expression": 5 }), vec!["expression"]),
        (json!({ "expression": "true", "last": 0 }), vec!["last"]),
        (json!({ "expression": "true", "action": "explode" }), vec!["action"]),
        (json!({ "expression": "true", "vars": [] }), vec!["vars"]),
        (
            json!({ "expression": "nope", "vars": { "cost": 1, "stream": "yes", "now": "noon" } }),
            vec!["vars.cost", "vars.now", "vars.stream", "expression"],
        ),
    ] {
        let answer = api.post("/api/policies/test", &body);
        assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("invalid_value")), "{body}");
        let refusal = answer.json();
        let named: Vec<&str> =
            refusal["details"].as_array().unwrap().iter().map(|detail| detail["param"].as_str().unwrap()).collect();
        assert_eq!(named, params, "{body}");
    }
    assert!(api.policies().is_empty());
    assert_eq!(luner.health()["plan"], 1);
}

#[test]
fn policy_changes_are_audited_with_actor_and_content() {
    let luner = gateway_with_storage().token("it-admin-token-4c1f9b27").start();
    let api = luner.api();
    let created = api.create(&policy("a"));
    let path = format!("/api/policies/{}", id(&created));
    api.put(&path, &policy("b"));
    api.delete(&path);
    let audit = api.audit();
    let entries: Vec<(&str, &str, &str)> = audit
        .iter()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_else(|| panic!("{field} of {entry}"));
            (text("action"), text("actor"), text("subject"))
        })
        .collect();
    let id = id(&created);
    let actions = ["policy.delete", "policy.update", "policy.create"];
    assert_eq!(entries, actions.map(|action| (action, "token", id.as_str())));
    assert_eq!((&audit[1]["before"]["name"], &audit[1]["after"]["name"]), (&json!("a"), &json!("b")));
    assert!(audit[0]["at"].as_str().unwrap().ends_with('Z'), "{}", audit[0]["at"]);
    let page = api.get("/api/audit?page=2&page_size=2").json();
    assert_eq!((&page["total"], &page["page"], &page["page_size"]), (&json!(3), &json!(2), &json!(2)));
    assert_eq!(page["items"], json!([audit[2]]));
    for query in ["page=0", "page_size=201", "page=x", "page=1&page=2", "q=1' OR 1=1 --"] {
        let request = format!("/api/audit?{}", query.replace(' ', "%20"));
        assert_eq!(api.get(&request).status, 400, "{query}");
    }
}

#[test]
fn policy_endpoints_refuse_when_storage_is_off() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let api = luner.api();
    for answer in [
        api.get("/api/policies"),
        api.get("/api/policies/pol_1"),
        api.post("/api/policies", &policy("a")),
        api.put("/api/policies/pol_1", &policy("a")),
        api.delete("/api/policies/pol_1"),
        api.post("/api/policies/reload", &json!({})),
        api.get("/api/audit"),
    ] {
        assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("storage_off")), "{}", answer.text());
        assert!(answer.text().contains("storage.backend"), "{}", answer.text());
    }
    assert_eq!(
        api.post("/api/policies/test", &json!({ "expression": "true" })).status,
        200,
        "trying an expression needs no storage"
    );
    assert_eq!((&luner.health()["storage"], &luner.health()["status"]), (&json!("off"), &json!("ok")));
}

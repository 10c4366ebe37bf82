//! Some requests of every kind, and what the REST API shows of them.

use serde_json::{Value, json};

use super::{Answer, CHAT, Gateway, Mock, Running, chat, eventually, post_with};

pub const FORMULA: &str = "=HYPERLINK(\"http://evil\")";

pub fn with_storage(mock: &Mock) -> Running {
    Gateway::before(mock.base_url()).storage_sqlite().log("info").start()
}

#[track_caller]
pub fn chat_as(luner: &Running, user: &str, agent: &str, model: &str, more: &str) -> Answer {
    let lines = format!("X-Luner-User: {user}\r\nX-Luner-Agent: {agent}\r\n{more}");
    luner.ask(post_with(CHAT, &lines, chat(model, &format!("hello from {user}"))))
}

/// Six requests of every kind, newest last: two of ann, one of bob that is blocked, one for no model, one run of two calls.
#[track_caller]
pub fn some_traffic(luner: &Running) {
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

pub const RUN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What `some_traffic` amounts to, once it is stored.
#[track_caller]
pub fn all(luner: &Running) -> Vec<Value> {
    let items = luner.api().traces("", 5);
    assert_eq!(items.len(), 5, "{items:#?}");
    eventually("both calls of the run are stored", || {
        luner.api().get(&format!("/api/traces/{RUN}")).json()["requests"].as_array().is_some_and(|all| all.len() == 2)
    });
    luner.api().traces("", 5)
}

pub fn names<'v>(items: &'v [Value], field: &str) -> Vec<&'v str> {
    items.iter().map(|item| item[field].as_str().expect("a text")).collect()
}

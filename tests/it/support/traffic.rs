//! A few requests of every kind, and the traces that they leave.

use serde_json::{Value, json};

use super::{Answer, CHAT, Gateway, Mock, Running, chat, eventually, post_with};

/// An agent name that a spreadsheet would run as a formula.
pub const FORMULA: &str = "=HYPERLINK(\"http://evil\")";

/// The trace that two calls of one agent run share.
pub const RUN: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub fn start_with_storage(mock: &Mock) -> Running {
    Gateway::in_front_of(mock.base_url()).storage_sqlite().log("info").start()
}

/// Sends a chat request as this user and agent, with further header lines.
#[track_caller]
pub fn chat_as(luner: &Running, user: &str, agent: &str, model: &str, headers: &str) -> Answer {
    let headers = format!("X-Luner-User: {user}\r\nX-Luner-Agent: {agent}\r\n{headers}");
    luner.ask(post_with(CHAT, &headers, chat(model, &format!("hello from {user}"))))
}

/// Sends six requests: two by ann, one by bob that is blocked, one by cem for an unknown model, and a run of two calls
/// by dee.
#[track_caller]
pub fn send_mixed_traffic(luner: &Running) {
    luner.api().create(&json!({ "name": "no bob", "expression": "user_id == 'bob'", "action": "block" }));
    luner.api().create(&json!({ "name": "watch", "expression": "model == 'gpt-4o-mini'", "action": "alert" }));
    assert_eq!(chat_as(luner, "ann", "planner", "gpt-4o", "").status, 200);
    assert_eq!(chat_as(luner, "ann", "coder", "gpt-4o-mini", "").status, 200);
    assert_eq!(chat_as(luner, "bob", FORMULA, "gpt-4o", "").status, 403);
    assert_eq!(chat_as(luner, "cem", "<img src=x onerror=alert(1)>", "no-such-model", "").status, 404);
    for parent in ["00f067aa0ba902b7", "00f067aa0ba902b8"] {
        let traceparent = format!("traceparent: 00-{RUN}-{parent}-01\r\n");
        assert_eq!(chat_as(luner, "dee", "planner", "gpt-4o", &traceparent).status, 200);
    }
}

/// Waits until the traces of [`send_mixed_traffic`] are stored and returns all five, newest first.
#[track_caller]
pub fn wait_for_mixed_traces(luner: &Running) -> Vec<Value> {
    let items = luner.api().traces("", 5);
    assert_eq!(items.len(), 5, "{items:#?}");
    eventually("both calls of the run are stored", || {
        luner.api().get(&format!("/api/traces/{RUN}")).json()["requests"].as_array().is_some_and(|all| all.len() == 2)
    });
    luner.api().traces("", 5)
}

/// This field of each item.
pub fn texts<'v>(items: &'v [Value], field: &str) -> Vec<&'v str> {
    items.iter().map(|item| item[field].as_str().expect("a text")).collect()
}

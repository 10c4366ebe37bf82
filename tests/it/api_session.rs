//! Signing in to the console, on the wire (FAULTS.md rows 74, 75, 78).

use serde_json::{Value, json};

use crate::support::*;

const TOKEN: &str = "it-admin-token-4c1f9b27";

fn with_token() -> Running {
    Gateway::before("http://127.0.0.1:9/v1").storage_sqlite().token(TOKEN).start()
}

/// What a browser sends with each request to its own page's origin.
fn own_page(luner: &Running) -> String {
    let port = luner.addr().port();
    format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n")
}

/// Signs in; the lines that a browser sends from then on, and the whole `Set-Cookie`.
#[track_caller]
fn sign_in(luner: &Running) -> (String, String) {
    let page = own_page(luner);
    let answer = luner.api().with(&page).post("/api/session", &json!({ "token": TOKEN }));
    assert_eq!((answer.status, answer.text()), (204, ""), "{:?}", answer.headers);
    let set = answer.header("set-cookie").expect("a cookie").to_owned();
    (format!("{page}Cookie: theme=dark; {}\r\n", set.split(';').next().unwrap()), set)
}

#[track_caller]
fn state(luner: &Running, lines: &str) -> Value {
    let answer = luner.api().with(lines).get("/api/session");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn who_signs_in_may_read_and_write_from_the_page_until_signing_out() {
    let luner = with_token();
    assert_eq!(state(&luner, &own_page(&luner)), json!({ "needed": true, "signed_in": false }));
    let (lines, set) = sign_in(&luner);
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains(TOKEN), "{set}");
    assert_eq!(state(&luner, &lines), json!({ "needed": true, "signed_in": true }));
    let page = luner.api().with(&lines);
    assert_eq!(page.get("/api/config").status, 200);
    page.create(&json!({ "name": "n", "expression": "true", "action": "alert" }));
    assert_eq!(luner.api().audit()[0]["actor"], "session");
    let left = page.delete("/api/session");
    assert_eq!(left.status, 204);
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(page.get("/api/config").status, 401);
    assert_eq!(page.delete("/api/session").status, 204, "twice is as good as once");
    assert!(luner.logs().iter().all(|line| !line.contains(TOKEN)));
}

#[test]
fn over_tls_the_cookie_is_for_tls_alone() {
    let luner = Gateway::before("http://127.0.0.1:9/v1")
        .server(&format!("admin: {{ token: {TOKEN:?}, hosts: [luner.example] }}"))
        .start();
    let lines = "Host: luner.example\r\nOrigin: https://luner.example\r\n";
    let answer = luner.api().with(lines).post("/api/session", &json!({ "token": TOKEN }));
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{:?}", answer.headers);
}

// Row 74.
#[test]
fn a_session_is_of_no_use_to_a_foreign_page() {
    let luner = with_token();
    let (lines, set) = sign_in(&luner);
    let cookie = set.split(';').next().unwrap();
    let port = luner.addr().port();
    let policy = json!({ "name": "n", "expression": "true", "action": "alert" });
    for origin in ["Origin: http://evil.example\r\n", "Origin: null\r\n", ""] {
        let foreign = format!("Host: localhost:{port}\r\n{origin}Cookie: {cookie}\r\n");
        let answer = luner.api().with(&foreign).post("/api/policies", &policy);
        assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("forbidden_origin")), "{origin}");
    }
    let renamed = format!("Host: evil.example\r\nCookie: {cookie}\r\n");
    let answer = luner.api().with(&renamed).get("/api/config");
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("forbidden_host")));
    let form =
        format!("POST /api/session HTTP/1.1\r\n{lines}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}");
    assert_eq!(luner.ask(form).status, 415);
    let stolen = luner.api().with("Host: localhost\r\nOrigin: http://evil.example\r\n");
    assert_eq!(stolen.post("/api/session", &json!({ "token": TOKEN })).status, 403);
    assert!(luner.api().policies().is_empty());
}

// Row 75.
#[test]
fn a_wrong_token_signs_nobody_in_and_is_guessed_ten_times_at_most() {
    let luner = with_token();
    let page = own_page(&luner);
    let api = luner.api().with(&page);
    for body in [json!({}), json!({ "token": 1 }), json!({ "token": TOKEN, "more": 1 }), json!([])] {
        assert_eq!(api.post("/api/session", &body).status, 400, "{body}");
    }
    for _ in 0..10 {
        let answer = api.post("/api/session", &json!({ "token": "wrong" }));
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None));
    }
    let answer = api.post("/api/session", &json!({ "token": TOKEN }));
    assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
}

#[test]
fn another_token_ends_all_sessions() {
    let gateway = Gateway::before("http://127.0.0.1:9/v1").storage_sqlite().token(TOKEN);
    let text = gateway.text();
    let luner = gateway.start();
    let (lines, _) = sign_in(&luner);
    assert_eq!(luner.api().with(&lines).get("/api/config").status, 200);
    luner.scratch().rename(&text.replace(TOKEN, "another-token-0b5d"));
    luner.wait_plan(2);
    assert_eq!(luner.api().with(&lines).get("/api/config").status, 401);
}

#[test]
fn without_a_token_there_is_nothing_to_sign_in_with() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
    assert_eq!(state(&luner, "Host: localhost\r\n"), json!({ "needed": false, "signed_in": true }));
    assert_eq!(state(&luner, "Host: evil.example\r\n"), json!({ "needed": false, "signed_in": false }));
    let answer = luner.api().post("/api/session", &json!({ "token": "x" }));
    assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("no_admin_token")));
}

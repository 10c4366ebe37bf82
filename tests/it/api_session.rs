//! Signing in to the console (FAULTS.md rows 74, 75 and 78).

use serde_json::{Value, json};

use crate::support::*;

const TOKEN: &str = "it-admin-token-4c1f9b27";

fn start_with_token() -> Running {
    Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().token(TOKEN).start()
}

/// The headers that a browser sends with each request from luner's own page.
fn own_page(luner: &Running) -> String {
    let port = luner.addr().port();
    format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n")
}

/// Signs in. Returns the headers that a browser sends from then on, and the whole `Set-Cookie`.
#[track_caller]
fn sign_in(luner: &Running) -> (String, String) {
    let page = own_page(luner);
    let answer = luner.api().with_headers(&page).post("/api/session", &json!({ "token": TOKEN }));
    assert_eq!((answer.status, answer.text()), (204, ""), "{:?}", answer.headers);
    let set_cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    (format!("{page}Cookie: theme=dark; {}\r\n", set_cookie.split(';').next().unwrap()), set_cookie)
}

#[track_caller]
fn session_state(luner: &Running, headers: &str) -> Value {
    let answer = luner.api().with_headers(headers).get("/api/session");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn session_may_read_and_write_until_it_signs_out() {
    let luner = start_with_token();
    assert_eq!(session_state(&luner, &own_page(&luner)), json!({ "needed": true, "signed_in": false }));
    let (headers, set_cookie) = sign_in(&luner);
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set_cookie.contains(part), "{set_cookie}");
    }
    assert!(!set_cookie.contains("Secure") && !set_cookie.contains(TOKEN), "{set_cookie}");
    assert_eq!(session_state(&luner, &headers), json!({ "needed": true, "signed_in": true }));
    let page = luner.api().with_headers(&headers);
    assert_eq!(page.get("/api/config").status, 200);
    page.create(&json!({ "name": "n", "expression": "true", "action": "alert" }));
    assert_eq!(luner.api().audit()[0]["actor"], "session");
    let left = page.delete("/api/session");
    assert_eq!(left.status, 204);
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(page.get("/api/config").status, 401);
    assert_eq!(page.delete("/api/session").status, 204, "signing out twice is not an error");
    assert!(luner.logs().iter().all(|line| !line.contains(TOKEN)));
}

#[test]
fn cookie_set_over_tls_is_secure() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .token(TOKEN)
        .server(json!({ "admin": { "hosts": ["luner.example"] } }))
        .start();
    let headers = "Host: luner.example\r\nOrigin: https://luner.example\r\n";
    let answer = luner.api().with_headers(headers).post("/api/session", &json!({ "token": TOKEN }));
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{:?}", answer.headers);
}

/// FAULTS.md row 74.
#[test]
fn foreign_page_cannot_use_a_session() {
    let luner = start_with_token();
    let (headers, set_cookie) = sign_in(&luner);
    let cookie = set_cookie.split(';').next().unwrap();
    let port = luner.addr().port();
    let policy = json!({ "name": "n", "expression": "true", "action": "alert" });
    for origin in ["Origin: http://evil.example\r\n", "Origin: null\r\n", ""] {
        let foreign = format!("Host: localhost:{port}\r\n{origin}Cookie: {cookie}\r\n");
        let answer = luner.api().with_headers(&foreign).post("/api/policies", &policy);
        assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("forbidden_origin")), "{origin}");
    }
    let foreign_host = format!("Host: evil.example\r\nCookie: {cookie}\r\n");
    let answer = luner.api().with_headers(&foreign_host).get("/api/config");
    assert_eq!((answer.status, answer.error_code().as_deref()), (403, Some("forbidden_host")));
    let form =
        format!("POST /api/session HTTP/1.1\r\n{headers}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}");
    assert_eq!(luner.ask(form).status, 415);
    let foreign_page = luner.api().with_headers("Host: localhost\r\nOrigin: http://evil.example\r\n");
    assert_eq!(foreign_page.post("/api/session", &json!({ "token": TOKEN })).status, 403);
    assert!(luner.api().policies().is_empty());
}

/// FAULTS.md row 75.
#[test]
fn wrong_token_opens_no_session_and_may_be_tried_ten_times() {
    let luner = start_with_token();
    let page = own_page(&luner);
    let api = luner.api().with_headers(&page);
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
fn changed_token_ends_all_sessions() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().token(TOKEN);
    let text = gateway.config_text();
    let luner = gateway.start();
    let (headers, _) = sign_in(&luner);
    assert_eq!(luner.api().with_headers(&headers).get("/api/config").status, 200);
    luner.scratch().write_by_rename(&text.replace(TOKEN, "another-token-0b5d"));
    luner.wait_plan(2);
    assert_eq!(luner.api().with_headers(&headers).get("/api/config").status, 401);
}

#[test]
fn sign_in_is_refused_when_no_token_is_set() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    assert_eq!(session_state(&luner, "Host: localhost\r\n"), json!({ "needed": false, "signed_in": true }));
    assert_eq!(session_state(&luner, "Host: evil.example\r\n"), json!({ "needed": false, "signed_in": false }));
    let answer = luner.api().post("/api/session", &json!({ "token": "x" }));
    assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("no_admin_token")));
}

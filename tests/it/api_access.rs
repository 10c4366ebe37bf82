//! Who may call the REST API (FAULTS.md rows 74 to 76). The rules have their own tests next to their code; these tests
//! show that the rules apply to every path.

use serde_json::{Value, json};

use crate::support::*;

const TOKEN: &str = "it-admin-token-4c1f9b27";

/// A call that is not open to everyone.
#[derive(Debug)]
struct GuardedCall {
    method: &'static str,
    path: &'static str,
    body: Value,
}

/// Every method and path that is not open to everyone, with a body that would have an effect.
fn guarded() -> Vec<GuardedCall> {
    let policy = json!({ "name": "n", "expression": "true", "action": "alert" });
    let calls = [
        ("GET", "/api/policies", json!({})),
        ("HEAD", "/api/policies", json!({})),
        ("GET", "/api/policies/pol_0000000000000000", json!({})),
        ("GET", "/api/audit", json!({})),
        ("GET", "/api/config", json!({})),
        ("GET", "/api/providers", json!({})),
        ("GET", "/api/dashboard/summary", json!({})),
        ("GET", "/api/dashboard/cost", json!({})),
        ("GET", "/api/dashboard/series", json!({})),
        ("GET", "/api/traces", json!({})),
        ("GET", "/api/traces/facets", json!({})),
        ("GET", "/api/traces/stream", json!({})),
        ("GET", "/api/traces/export", json!({})),
        ("GET", "/api/traces/0af7651916cd43dd8448eb211c80319c", json!({})),
        ("POST", "/api/policies", policy.clone()),
        ("PUT", "/api/policies/pol_0000000000000000", policy),
        ("DELETE", "/api/policies/pol_0000000000000000", json!({})),
        ("POST", "/api/policies/test", json!({ "expression": "true" })),
        ("POST", "/api/policies/reload", json!({})),
    ];
    calls.into_iter().map(|(method, path, body)| GuardedCall { method, path, body }).collect()
}

/// Calls one of them. Returns status, error code and answer; the answer to a HEAD has no body and so no code.
fn call(luner: &Running, headers: &str, call: &GuardedCall) -> (u16, Option<String>, Answer) {
    let GuardedCall { method, path, body } = call;
    if *method == "HEAD" {
        let mut client = luner.connect();
        let answer = client.send(format!("HEAD {path} HTTP/1.1\r\n{headers}\r\n")).answer_to_head();
        return (answer.status, None, answer);
    }
    let answer = luner.api().with_headers(headers).send(method, path, body.to_string());
    let code = if answer.status < 400 { None } else { answer.error_code() };
    (answer.status, code, answer)
}

/// FAULTS.md row 75.
#[test]
fn guarded_endpoints_refuse_callers_without_the_token() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().token(TOKEN).start();
    for guarded in guarded() {
        for headers in [
            "Host: localhost\r\n".to_owned(),
            "Host: localhost\r\nAuthorization: Basic YTpi\r\n".into(),
            format!("Host: localhost\r\nAuthorization: {TOKEN}\r\n"),
            format!("Host: localhost\r\nX-Api-Key: {TOKEN}\r\n"),
        ] {
            let (status, code, answer) = call(&luner, &headers, &guarded);
            assert_eq!(status, 401, "{guarded:?} {headers}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{guarded:?}");
            assert!(guarded.method == "HEAD" || code.as_deref() == Some("invalid_api_key"), "{code:?}");
        }
    }
    for path in ["/api/health", "/api/metrics/live", "/metrics", "/api/openapi.json", "/api/session"] {
        assert_eq!(luner.ask(get(path)).status, 200, "{path} is open");
    }
    assert!(luner.api().policies().is_empty(), "nothing has changed");
    // Any host name will do: a foreign page does not have the token.
    let headers = format!("Host: gateway.example\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(luner.api().with_headers(&headers).get("/api/policies").status, 200);
}

/// FAULTS.md row 75.
#[test]
fn foreign_host_is_refused_when_no_token_is_set_and_told_how_to_set_one() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .storage_sqlite()
        .server(json!({ "admin": { "hosts": ["luner.example.com"] } }))
        .start();
    for guarded in guarded() {
        for host in ["gateway", "evil.example", "localhost.evil.example", "192.0.2.1"] {
            let (status, code, answer) = call(&luner, &format!("Host: {host}\r\n"), &guarded);
            assert_eq!(status, 401, "{guarded:?} {host}");
            if guarded.method != "HEAD" {
                assert_eq!(code.as_deref(), Some("invalid_api_key"));
                assert!(answer.text().contains("server.admin.token"), "{}", answer.text());
            }
        }
    }
    for host in ["localhost", "127.0.0.1:8080", "[::1]", "luner.example.com:443"] {
        assert_eq!(luner.api().with_headers(&format!("Host: {host}\r\n")).get("/api/policies").status, 200, "{host}");
    }
    assert!(luner.api().policies().is_empty(), "nothing has changed");
}

/// FAULTS.md row 75: brute force.
#[test]
fn caller_is_rate_limited_after_ten_wrong_tokens() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").token(TOKEN).workers(2).start();
    let wrong = luner.api().with_headers("Host: localhost\r\nAuthorization: Bearer wrong\r\n");
    for _ in 0..10 {
        let answer = wrong.get("/api/config");
        assert_eq!((answer.status, answer.error_code().as_deref()), (401, Some("invalid_api_key")));
    }
    for api in [&wrong, &luner.api()] {
        let answer = api.get("/api/config");
        assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
        let wait_s: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait_s), "{wait_s}");
    }
    assert_eq!(luner.ask(get("/api/health")).status, 200, "open endpoints stay open");
    assert!(luner.logs().iter().all(|line| !line.contains(TOKEN)));
}

/// FAULTS.md row 74: a form on a foreign page, and a script that wants to read the answer.
#[test]
fn foreign_page_changes_nothing() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().start();
    let port = luner.addr().port();
    let host = format!("Host: localhost:{port}\r\n");
    for guarded in guarded().into_iter().filter(|guarded| !["GET", "HEAD"].contains(&guarded.method)) {
        for origin in ["http://evil.example", "null", "http://localhost", &format!("https://localhost:{}", port + 1)] {
            let (status, code, answer) = call(&luner, &format!("{host}Origin: {origin}\r\n"), &guarded);
            assert_eq!((status, code.as_deref()), (403, Some("forbidden_origin")), "{guarded:?} {origin}");
            assert!(answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("access-control")));
        }
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let body = r#"{"name":"n","expression":"true","action":"alert"}"#;
        let request = format!(
            "POST /api/policies HTTP/1.1\r\n{host}Content-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = luner.ask(request);
        assert_eq!((answer.status, answer.error_code().as_deref()), (415, Some("unsupported_media_type")), "{media}");
    }
    let preflight = luner.ask(format!("OPTIONS /api/policies HTTP/1.1\r\n{host}Origin: http://evil.example\r\n\r\n"));
    assert_eq!(preflight.status, 405);
    assert!(luner.api().policies().is_empty(), "nothing has changed");
    // luner's own page may.
    let own_page = format!("{host}Origin: http://localhost:{port}\r\n");
    let policy = json!({ "name": "n", "expression": "true", "action": "alert" });
    assert_eq!(luner.api().with_headers(&own_page).post("/api/policies", &policy).status, 201);
}

/// FAULTS.md row 74.
#[test]
fn open_api_still_refuses_foreign_hosts() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1")
        .storage_sqlite()
        .server(json!({ "admin": { "open": true } }))
        .start();
    for guarded in guarded() {
        let (status, code, _) = call(&luner, "Host: evil.example\r\n", &guarded);
        assert_eq!(status, 403, "{guarded:?}");
        assert!(guarded.method == "HEAD" || code.as_deref() == Some("forbidden_host"), "{code:?}");
    }
    for host in ["localhost", "192.0.2.1:8080", "[2001:db8::1]"] {
        assert_eq!(luner.api().with_headers(&format!("Host: {host}\r\n")).get("/api/policies").status, 200, "{host}");
    }
}

/// FAULTS.md rows 33 and 75.
#[test]
fn proxied_caller_is_not_treated_as_local() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().start();
    assert_eq!(luner.api().get("/api/policies").status, 200);
    for line in ["Forwarded: for=192.0.2.1", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Real-IP: ::1"]
    {
        for guarded in guarded() {
            let (status, code, _) = call(&luner, &format!("Host: localhost\r\n{line}\r\n"), &guarded);
            assert_eq!(status, 401, "{line} {guarded:?}");
            assert!(guarded.method == "HEAD" || code.as_deref() == Some("invalid_api_key"), "{code:?}");
        }
    }
}

#[test]
fn unknown_paths_methods_and_parameters_are_refused() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").storage_sqlite().start();
    let api = luner.api();
    for path in ["/api/", "/api/policy", "/api/policies/", "/api/policies/a/b", "/api/Policies", "/api//policies"] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.error_code().as_deref()), (404, Some("not_found")), "{path}");
    }
    for (method, path, allowed) in [
        ("PATCH", "/api/policies", "GET, HEAD, POST"),
        ("DELETE", "/api/policies", "GET, HEAD, POST"),
        ("POST", "/api/policies/pol_1", "GET, HEAD, PUT, DELETE"),
        ("GET", "/api/policies/test", "POST"),
        ("PUT", "/api/policies/reload", "POST"),
        // FAULTS.md row 76: no endpoint sets an upstream.
        ("PUT", "/api/config", "GET, HEAD"),
        ("POST", "/api/config", "GET, HEAD"),
        ("PATCH", "/api/config", "GET, HEAD"),
        ("DELETE", "/api/audit", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ] {
        let answer = api.send(method, path, "{}");
        assert_eq!(
            (answer.status, answer.error_code().as_deref()),
            (405, Some("method_not_allowed")),
            "{method} {path}"
        );
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for path in ["/api/policies?x=1", "/api/config?x=1", "/api/audit?sort=at", "/api/metrics/live?x="] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.error_code().as_deref()), (400, Some("unknown_parameter")), "{path}");
    }
}

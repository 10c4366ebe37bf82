//! The console's files over HTTP (FAULTS.md row 35). A build without `web/dist` serves a placeholder page instead.

use serde_json::json;

use crate::support::*;

fn page(luner: &Running, path: &str, headers: &str) -> Answer {
    luner.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
}

#[test]
fn page_is_served_with_strict_headers_and_not_counted_as_a_request() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let root = page(&luner, "/", "");
    assert_eq!(root.status, 200);
    assert_eq!(root.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(root.text().contains("luner"), "{}", root.text());
    let policy = root.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(root.header("x-content-type-options"), Some("nosniff"));
    assert_eq!((root.header("x-frame-options"), root.header("cache-control")), (Some("DENY"), Some("no-cache")));
    let etag = root.header("etag").unwrap();
    let again = page(&luner, "/", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let deep = page(&luner, "/traces/0af7651916cd43dd8448eb211c80319c?tab=spans", "Accept: text/html,*/*;q=0.8\r\n");
    assert_eq!((deep.status, &deep.body), (200, &root.body));
    let head = luner.connect().send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").answer_to_head();
    assert_eq!((head.status, head.header("content-length")), (200, root.header("content-length")));
    assert_eq!(luner.metric("luner_requests_total", &[]), 0.0);
}

/// FAULTS.md row 35.
#[test]
fn paths_outside_the_console_serve_no_file() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    for path in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%5c..%5c..%5cetc%5cpasswd",
        "//etc/passwd",
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e/index.html",
        "/traces%00",
        "/Cargo.toml",
        "/.env",
        "/api/../index.html",
        "/v1/index.html",
        "/v1",
        "/api",
    ] {
        let answer = page(&luner, path, "Accept: text/html\r\n");
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    assert_eq!(page(&luner, "/traces", "Accept: application/json\r\n").status, 404);
    assert_eq!(luner.ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").status, 404);
}

#[test]
fn base_path_serves_everything_with_and_without_it() {
    let upstream = Upstream::always(ok_chat("hello"));
    let luner = Gateway::in_front_of(upstream.url()).server(json!({ "base_path": "/tools/luner" })).start();
    let root = page(&luner, "/", "Accept-Encoding: br, gzip\r\n");
    assert_eq!((root.status, root.header("content-encoding")), (200, None));
    assert_eq!(root.text().matches("<base href=\"/tools/luner/\"").count(), 1, "{}", root.text());
    assert_eq!(root.text().matches("<base ").count(), 1);
    assert!(root.header("content-security-policy").unwrap().contains("base-uri 'self'"));
    for path in ["/tools/luner/", "/tools/luner", "/tools/luner/traces", "/traces"] {
        let same = page(&luner, path, "Accept: text/html\r\n");
        assert_eq!((same.status, &same.body), (200, &root.body), "{path}");
    }
    let etag = root.header("etag").unwrap();
    assert_eq!(page(&luner, "/tools/luner/", &format!("If-None-Match: {etag}\r\n")).status, 304);
    for path in ["/api/health", "/metrics", "/v1/models", "/v1/models/gpt-4o"] {
        let [plain, below] = [path.to_owned(), format!("/tools/luner{path}")].map(|path| page(&luner, &path, ""));
        assert_eq!((plain.status, below.status), (200, 200), "{path}");
        assert_eq!(plain.header("content-type"), below.header("content-type"), "{path}");
    }
    let chat = post(&format!("/tools/luner{CHAT}"), chat("gpt-4o", "hello"));
    assert_eq!((luner.ask(chat).status, luner.post_chat("gpt-4o", "hello").status), (200, 200));
    assert!(upstream.requests().iter().all(|request| request.line().starts_with("POST /v1/chat/completions ")));
    for path in [
        "/tools/api/health",
        "/tools/lunerapi/health",
        "/tools/luner/tools/luner/api/health",
        "/tools/luner/../api/health",
    ] {
        assert_eq!(page(&luner, path, "").status, 404, "{path}");
    }
    assert_eq!(luner.ask("GET /tools/luner/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
}

#[test]
fn base_path_reloads_and_scopes_the_session_cookie() {
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1").token("a-token-of-sixteen-bytes");
    let with_base_path = gateway.clone().server(json!({ "base_path": "/luner/" })).config_text();
    let luner = gateway.start();
    let sign_in = |luner: &Running| {
        let body = r#"{"token":"a-token-of-sixteen-bytes"}"#;
        let answer = luner.ask(format!(
            "POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(answer.status, 204, "{}", answer.text());
        answer.header("set-cookie").unwrap().to_owned()
    };
    assert!(sign_in(&luner).contains("; Path=/; "));
    let before = page(&luner, "/", "");
    luner.scratch().write(&with_base_path);
    luner.wait_plan(2);
    assert!(sign_in(&luner).contains("; Path=/luner/; "));
    let after = page(&luner, "/", "");
    assert_ne!(before.header("etag"), after.header("etag"));
    assert!(after.text().contains("<base href=\"/luner/\""));
}

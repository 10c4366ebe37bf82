//! The console's files, on the wire (FAULTS.md row 35). Without `web/dist` at the time of the build a page stands in for it.

use crate::support::*;

fn page(luner: &Running, path: &str, lines: &str) -> Answer {
    luner.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))
}

#[test]
fn the_page_is_served_strictly_and_counts_as_no_request() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
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

// Row 35.
#[test]
fn no_path_leads_to_a_file_that_is_none_of_the_consoles() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
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

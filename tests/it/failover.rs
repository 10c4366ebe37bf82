//! Several providers for one model: their order, when the next one is tried, and when it must not be.

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

const MODELS: [&str; 1] = ["gpt-4o"];

/// Starts a gateway in front of two providers, each with a key and a path of its own.
fn start_with_two(first: &str, second: &str) -> Running {
    Gateway::new()
        .provider_with(
            "first",
            format!("{first}/one/v1"),
            &MODELS,
            json!({ "retries": 0, "connect_timeout": "300ms", "api_key": "sk-first" }),
        )
        .provider_with("second", format!("{second}/two/v1"), &MODELS, json!({ "retries": 0, "api_key": "sk-second" }))
        .start()
}

/// The provider's URL without a path.
fn root_url(upstream: &Upstream) -> String {
    format!("http://{}", upstream.addr())
}

/// Asserts that the second provider gave this answer, to a request made for it.
#[track_caller]
fn assert_answered_by_second(answer: &Answer, second: &Upstream) {
    assert_eq!((answer.status, answer.header("x-luner-provider")), (200, Some("second")), "{}", answer.text());
    let requests = second.requests();
    let received = requests.last().expect("the second provider was asked");
    assert_eq!(received.line(), "POST /two/v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("authorization"), Some("Bearer sk-second"));
    assert_eq!(received.header("host"), Some(second.addr().to_string().as_str()));
    assert_eq!(received.body, chat("gpt-4o", "hello?").as_bytes());
}

/// FAULTS.md row 1.
#[test]
fn refused_connection_fails_over_to_the_next_provider() {
    let second = Upstream::always(ok_chat("well"));
    let gateway = start_with_two(&format!("http://{}", Upstream::closed_port()), &root_url(&second));
    for _ in 0..3 {
        assert_answered_by_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
    }
    let attempts = |labels: &[&str]| gateway.metric("luner_upstream_attempts_total", labels);
    eventually("both attempts are counted", || attempts(&["provider=\"second\"", "outcome=\"answered\""]) == 3.0);
    assert_eq!(gateway.metric("luner_requests_total", &["provider=\"second\"", "status=\"200\""]), 3.0);
}

#[test]
fn error_status_fails_over_at_once() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let first = Upstream::always(format!("HTTP/1.1 {status}\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"));
        let second = Upstream::always(ok_chat("well"));
        let gateway = start_with_two(&root_url(&first), &root_url(&second));
        assert_answered_by_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
        assert_eq!(first.requests().len(), 1, "{status}");
    }
}

/// FAULTS.md row 2.
#[test]
fn connect_timeout_fails_over_to_the_next_provider() {
    let hole = BlackHole::new();
    let second = Upstream::always(ok_chat("well"));
    let gateway = start_with_two(&format!("http://{}", hole.address), &root_url(&second));
    assert_answered_by_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
}

#[test]
fn started_answer_is_never_failed_over() {
    let second = Upstream::always(ok_chat("well"));
    for started in ["HTTP/1.1 200 OK\r\nContent-Len", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"] {
        let first = Upstream::script(move |conn| {
            conn.request();
            conn.write(started);
        });
        let gateway = start_with_two(&root_url(&first), &root_url(&second));
        assert_eq!(gateway.ask(post_chat("gpt-4o", "hello?")).status, 502);
    }
    assert_eq!(second.requests().len(), 0);
}

#[test]
fn last_providers_own_429_reaches_the_caller() {
    let rate_limited = |name: &str| {
        let body = format!("{{\"error\":{{\"message\":\"{name}\"}}}}");
        let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\n";
        Upstream::always(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let (first, second) = (rate_limited("one is full"), rate_limited("two is full"));
    let answer = start_with_two(&root_url(&first), &root_url(&second)).ask(post_chat("gpt-4o", "hello?"));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.json()["error"]["message"], "two is full");
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[test]
fn rate_limited_answer_keeps_retry_after_when_no_other_provider_may_be_asked() {
    let rate_limited = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let (first, second) = (Upstream::always(rate_limited), Upstream::always(ok_chat("well")));
    let gateway = Gateway::new()
        .provider("first", first.url(), &MODELS)
        .provider("second", second.url(), &MODELS)
        .with(json!({ "rate_limit": { "providers": [{ "name": "second", "qps": 0.001, "burst": 1 }] } }))
        .start();
    assert_eq!(gateway.post_chat("gpt-4o", "hello?").header("x-luner-provider"), Some("second"));
    let answer = gateway.post_chat("gpt-4o", "hello?");
    assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[test]
fn refusal_names_the_last_provider_when_all_fail() {
    let gateway =
        start_with_two(&format!("http://{}", Upstream::closed_port()), &format!("http://{}", Upstream::closed_port()));
    let answer = gateway.ask(post_chat("gpt-4o", "hello?"));
    assert_refusal(&answer, BAD_GATEWAY);
    assert!(answer.text().contains("`second`"), "{}", answer.text());
}

#[test]
fn pattern_is_not_tried_after_an_exact_match_fails() {
    let (closed, catch_all) = (Upstream::closed_port(), Upstream::always(ok_chat("well")));
    let gateway = Gateway::new()
        .provider_with("named", format!("http://{closed}"), &MODELS, json!({ "retries": 0 }))
        .provider("everything", catch_all.url(), &["*"])
        .start();
    assert_refusal(&gateway.ask(post_chat("gpt-4o", "hello?")), BAD_GATEWAY);
    assert_eq!(catch_all.requests().len(), 0);
    assert_eq!(gateway.post_chat("gpt-5", "hello?").status, 200);
}

#[test]
fn weights_share_the_load() {
    let upstreams: Vec<Upstream> = (0..3).map(|_| Upstream::always(ok_chat("well"))).collect();
    let mut gateway = Gateway::new();
    for ((name, weight), upstream) in [("a", 1), ("b", 3), ("spare", 0)].into_iter().zip(&upstreams) {
        gateway = gateway.provider_with(name, upstream.url(), &MODELS, json!({ "weight": weight }));
    }
    let gateway = gateway.start();
    let mut client = gateway.connect();
    for _ in 0..400 {
        assert_eq!(client.send(post_chat("gpt-4o", "hello?")).answer().status, 200);
    }
    let [a, b, spare] = [0, 1, 2].map(|at: usize| upstreams[at].requests().len());
    // 100 and 300 on average. The bounds are nine standard deviations away.
    assert!((20..180).contains(&a) && a + b == 400 && spare == 0, "{a}, {b}, {spare}");
}

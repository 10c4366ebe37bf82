//! Several providers for one model: who is asked first, who next, and when nobody else may be asked.

use crate::support::upstream_cases::*;
use crate::support::*;

const MODELS: [&str; 1] = ["gpt-4o"];

/// A gateway before a provider at `first` and one at `second`, each with a key and a path of its own.
fn before(first: &str, second: &str) -> Running {
    Gateway::new()
        .provider_with(
            "first",
            format!("{first}/one/v1"),
            &MODELS,
            "retries: 0\nconnect_timeout: 300ms\napi_key: sk-first",
        )
        .provider_with("second", format!("{second}/two/v1"), &MODELS, "retries: 0\napi_key: sk-second")
        .start()
}

fn url(upstream: &Upstream) -> String {
    format!("http://{}", upstream.addr())
}

/// Asserts that the second provider gave this answer, to a request of its own.
#[track_caller]
fn assert_second(answer: &Answer, second: &Upstream) {
    assert_eq!((answer.status, answer.header("x-luner-provider")), (200, Some("second")), "{}", answer.text());
    let requests = second.requests();
    let received = requests.last().expect("the second was asked");
    assert_eq!(received.line(), "POST /two/v1/chat/completions HTTP/1.1");
    assert_eq!(received.header("authorization"), Some("Bearer sk-second"));
    assert_eq!(received.header("host"), Some(second.addr().to_string().as_str()));
    assert_eq!(received.body, chat("gpt-4o", "hello?").as_bytes());
}

// 1
#[test]
fn a_provider_that_refuses_the_connection_is_followed_by_the_next_of_the_model() {
    let second = Upstream::always(ok_chat("well"));
    let gateway = before(&format!("http://{}", Upstream::nobody()), &url(&second));
    for _ in 0..3 {
        assert_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
    }
    let attempts = |labels: &[&str]| gateway.metric("luner_upstream_attempts_total", labels);
    eventually("both attempts are counted", || attempts(&["provider=\"second\"", "outcome=\"answered\""]) == 3.0);
    assert_eq!(gateway.metric("luner_requests_total", &["provider=\"second\"", "status=\"200\""]), 3.0);
}

#[test]
fn an_error_of_the_first_is_followed_by_the_next_at_once() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let first = Upstream::always(format!("HTTP/1.1 {status}\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"));
        let second = Upstream::always(ok_chat("well"));
        let gateway = before(&url(&first), &url(&second));
        assert_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
        assert_eq!(first.requests().len(), 1, "{status}");
    }
}

// 2
#[test]
fn a_provider_that_cannot_be_reached_in_time_is_followed_by_the_next() {
    let hole = BlackHole::new();
    let second = Upstream::always(ok_chat("well"));
    let gateway = before(&format!("http://{}", hole.address), &url(&second));
    assert_second(&gateway.ask(post_chat("gpt-4o", "hello?")), &second);
}

#[test]
fn an_answer_that_began_is_never_followed_by_another_provider() {
    let second = Upstream::always(ok_chat("well"));
    for (torn, status) in
        [("HTTP/1.1 200 OK\r\nContent-Len", 502), ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", 502)]
    {
        let first = Upstream::script(move |conn| {
            conn.request();
            conn.write(torn);
        });
        let gateway = before(&url(&first), &url(&second));
        assert_eq!(gateway.ask(post_chat("gpt-4o", "hello?")).status, status);
    }
    assert_eq!(second.requests().len(), 0);
}

#[test]
fn the_last_provider_that_has_no_room_says_so_itself() {
    let full = |name: &str| {
        let body = format!("{{\"error\":{{\"message\":\"{name}\"}}}}");
        let head = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\n";
        Upstream::always(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let (first, second) = (full("one is full"), full("two is full"));
    let answer = before(&url(&first), &url(&second)).ask(post_chat("gpt-4o", "hello?"));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.json()["error"]["message"], "two is full");
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[test]
fn a_full_provider_is_told_of_when_the_next_may_not_be_asked() {
    let full = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let (first, second) = (Upstream::always(full), Upstream::always(ok_chat("well")));
    let gateway = Gateway::new()
        .provider("first", first.url(), &MODELS)
        .provider("second", second.url(), &MODELS)
        .top("rate_limit: { providers: [{ name: second, qps: 0.001, burst: 1 }] }")
        .start();
    assert_eq!(gateway.post_chat("gpt-4o", "hello?").header("x-luner-provider"), Some("second"));
    let answer = gateway.post_chat("gpt-4o", "hello?");
    assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[test]
fn when_all_fail_the_caller_hears_of_the_last() {
    let gateway = before(&format!("http://{}", Upstream::nobody()), &format!("http://{}", Upstream::nobody()));
    let answer = gateway.ask(post_chat("gpt-4o", "hello?"));
    assert_refusal(&answer, BROKEN);
    assert!(answer.text().contains("`second`"), "{}", answer.text());
}

#[test]
fn a_pattern_is_no_substitute_for_who_names_the_model() {
    let (nobody, everyone) = (Upstream::nobody(), Upstream::always(ok_chat("well")));
    let gateway = Gateway::new()
        .provider_with("named", format!("http://{nobody}"), &MODELS, "retries: 0")
        .provider("everything", everyone.url(), &["*"])
        .start();
    assert_refusal(&gateway.ask(post_chat("gpt-4o", "hello?")), BROKEN);
    assert_eq!(everyone.requests().len(), 0);
    assert_eq!(gateway.post_chat("gpt-5", "hello?").status, 200);
}

#[test]
fn weights_share_the_load() {
    let upstreams: Vec<Upstream> = (0..3).map(|_| Upstream::always(ok_chat("well"))).collect();
    let mut gateway = Gateway::new();
    for ((name, weight), upstream) in [("a", 1), ("b", 3), ("spare", 0)].into_iter().zip(&upstreams) {
        gateway = gateway.provider_with(name, upstream.url(), &MODELS, &format!("weight: {weight}"));
    }
    let gateway = gateway.start();
    let mut client = gateway.connect();
    for _ in 0..400 {
        assert_eq!(client.send(post_chat("gpt-4o", "hello?")).answer().status, 200);
    }
    let [a, b, spare] = [0, 1, 2].map(|at: usize| upstreams[at].requests().len());
    // 100 and 300 on average; nine standard deviations.
    assert!((20..180).contains(&a) && a + b == 400 && spare == 0, "{a}, {b}, {spare}");
}

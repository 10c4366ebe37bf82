//! Providers that refuse: their statuses, retries, redirects.

use crate::support::upstream_cases::*;
use crate::support::*;

fn error_with(status: &str, headers: &str) -> String {
    let body = "{\"error\":{\"message\":\"no\"}}";
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

// 17
#[test]
fn a_429_passes_as_it_came_and_is_not_tried_again() {
    for retry_after in ["7", "Wed, 21 Oct 2026 07:28:00 GMT", "1000000000000", "soon"] {
        let headers = format!("Retry-After: {retry_after}\r\nx-ratelimit-remaining-requests: 0\r\n");
        let upstream = Upstream::always(error_with("429 Too Many Requests", &headers));
        let gateway = gateway(&upstream, "retries: 3");
        let answer = gateway.ask(question());
        assert_eq!((answer.status, answer.text()), (429, "{\"error\":{\"message\":\"no\"}}"));
        assert_eq!(answer.header("retry-after"), Some(retry_after));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(upstream.requests().len(), 1);
    }
}

// 17
#[test]
fn a_503_keeps_a_bounded_retry_after() {
    let said = [
        ("7", Some("7")),
        ("1000000000000", Some("3600")),
        ("99999999999999999999999999", None),
        ("-1", None),
        ("Wed, 21 Oct 2099 07:28:00 GMT", None),
    ];
    for (retry_after, told) in said {
        println!("Retry-After: {retry_after}");
        let answer = error_with("503 Service Unavailable", &format!("Retry-After: {retry_after}\r\n"));
        let upstream = Upstream::always(answer);
        let gateway = gateway(&upstream, "retries: 0");
        let answer = gateway.ask(question());
        assert_refusal(&answer, OVERLOADED);
        let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().expect("seconds"));
        assert!(seconds.is_none_or(|seconds| seconds <= 3600), "{seconds:?}");
        assert!(told.is_none() || answer.header("retry-after") == told, "{:?}", answer.headers);
    }
}

// 17
#[test]
fn a_server_error_is_tried_again_as_often_as_configured_and_then_refused() {
    let table = [
        ("500 Internal Server Error", BROKEN),
        ("502 Bad Gateway", BROKEN),
        ("503 Service Unavailable", OVERLOADED),
        ("504 Gateway Timeout", LATE),
        ("529 Overloaded", BROKEN),
    ];
    for (status, refusal) in table {
        println!("{status}");
        let upstream = Upstream::always(error_with(status, ""));
        // Below the five failures in a row after which the provider is given a pause.
        let gateway = gateway(&upstream, "retries: 1");
        assert_refusal(&gateway.ask(question()), refusal);
        assert_eq!(upstream.requests().len(), 2);
        assert_refusal(&gateway.ask(post_stream("gpt-4o", "hello?")), refusal);
        assert_eq!(upstream.requests().len(), 4);
        eventually("the attempts are counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"server_error\""]) == 4.0
        });
    }
}

// 17
#[test]
fn a_second_attempt_that_succeeds_is_the_callers_200() {
    let upstream = Upstream::script(|conn| {
        while let Some(request) = conn.next_request() {
            let first = request.json()["messages"][0]["content"] == "how are you?" && conn.number == 0;
            conn.write(if first {
                error_with("500 Internal Server Error", "Connection: close\r\n")
            } else {
                ok_chat("well")
            });
        }
    });
    let gateway = gateway(&upstream, "retries: 1");
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body, "both attempts are the same request");
    // But for the span that the provider's join: of one trace, each attempt's own.
    let spans = [0, 1].map(|at: usize| seen[at].header("traceparent").expect("a traceparent").to_owned());
    let [first, second] = spans.each_ref().map(|span| span.split('-').collect::<Vec<_>>());
    assert_eq!((first[1], first[3]), (second[1], second[3]));
    assert_ne!(first[2], second[2]);
    assert_eq!(seen[0].head.replace(&spans[0], &spans[1]), seen[1].head);
    assert_goes_on(&mut caller);
}

// 18
#[test]
fn a_redirect_is_not_followed_and_no_key_travels() {
    let second = Upstream::always(ok_chat("redirected"));
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let location = format!("Location: {}\r\nConnection: close\r\n", second.url());
        let scenes = [scene("a redirect", error_with(status, &location), End::Fin)];
        assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
    }
    assert_eq!(second.connections(), 0);
}

#[test]
fn a_providers_own_4xx_passes_byte_for_byte() {
    let answers = [
        ("400 Bad Request", "application/json", "{\"error\": {\"message\":\"bad\",  \"type\":\"x\"}}\n"),
        ("401 Unauthorized", "application/problem+json; charset=utf-8", "{\"title\":\"who?\"}"),
        ("403 Forbidden", "text/html; charset=ISO-8859-1", "<html>no</html>"),
        ("404 Not Found", "text/plain", "not here"),
        ("409 Conflict", "application/json", ""),
        ("418 I'm a teapot", "text/plain", "short and stout"),
        ("422 Unprocessable Content", "application/json", "{\"detail\":[{\"loc\":[\"body\"]}]}"),
    ];
    let upstream = Upstream::script(move |conn| {
        for (status, media, body) in answers {
            conn.request();
            let length = body.len();
            conn.write(format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
        conn.hold();
    });
    let gateway = gateway(&upstream, "retries: 3");
    let mut caller = gateway.connect();
    for (status, media, body) in answers {
        let answer = caller.send(question()).answer();
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.text(), body);
    }
    assert_eq!(upstream.requests().len(), answers.len(), "none was tried again");
}

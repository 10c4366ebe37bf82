//! Error statuses of a provider, retries, and redirects (FAULTS.md rows 17 and 18).

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

fn error_with(status: &str, headers: &str) -> String {
    let body = "{\"error\":{\"message\":\"no\"}}";
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// FAULTS.md row 17.
#[test]
fn answer_429_passes_unchanged_without_retry() {
    for retry_after in ["7", "Wed, 21 Oct 2026 07:28:00 GMT", "1000000000000", "soon"] {
        let headers = format!("Retry-After: {retry_after}\r\nx-ratelimit-remaining-requests: 0\r\n");
        let upstream = Upstream::always(error_with("429 Too Many Requests", &headers));
        let gateway = start_with(&upstream, json!({ "retries": 3 }));
        let answer = gateway.ask(chat_request());
        assert_eq!((answer.status, answer.text()), (429, "{\"error\":{\"message\":\"no\"}}"));
        assert_eq!(answer.header("retry-after"), Some(retry_after));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(upstream.requests().len(), 1);
    }
}

/// FAULTS.md row 17.
#[test]
fn answer_503_keeps_a_bounded_retry_after() {
    let table = [
        ("7", Some("7")),
        ("1000000000000", Some("3600")),
        ("99999999999999999999999999", None),
        ("-1", None),
        ("Wed, 21 Oct 2099 07:28:00 GMT", None),
    ];
    for (retry_after, expected) in table {
        println!("Retry-After: {retry_after}");
        let answer = error_with("503 Service Unavailable", &format!("Retry-After: {retry_after}\r\n"));
        let upstream = Upstream::always(answer);
        let gateway = start_with(&upstream, json!({ "retries": 0 }));
        let answer = gateway.ask(chat_request());
        assert_refusal(&answer, OVERLOADED);
        let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().expect("seconds"));
        assert!(seconds.is_none_or(|seconds| seconds <= 3600), "{seconds:?}");
        assert!(expected.is_none() || answer.header("retry-after") == expected, "{:?}", answer.headers);
    }
}

/// FAULTS.md row 17.
#[test]
fn server_error_is_retried_as_configured_then_refused() {
    let table = [
        ("500 Internal Server Error", BAD_GATEWAY),
        ("502 Bad Gateway", BAD_GATEWAY),
        ("503 Service Unavailable", OVERLOADED),
        ("504 Gateway Timeout", GATEWAY_TIMEOUT),
        ("529 Overloaded", BAD_GATEWAY),
    ];
    for (status, refusal) in table {
        println!("{status}");
        let upstream = Upstream::always(error_with(status, ""));
        // Four attempts stay below the five failures in a row that open the circuit breaker.
        let gateway = start_with(&upstream, json!({ "retries": 1 }));
        assert_refusal(&gateway.ask(chat_request()), refusal);
        assert_eq!(upstream.requests().len(), 2);
        assert_refusal(&gateway.ask(post_stream("gpt-4o", "hello?")), refusal);
        assert_eq!(upstream.requests().len(), 4);
        eventually("the attempts are counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"server_error\""]) == 4.0
        });
    }
}

/// FAULTS.md row 17.
#[test]
fn successful_second_attempt_gets_200() {
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
    let gateway = start_with(&upstream, json!({ "retries": 1 }));
    let mut caller = gateway.connect();
    assert_next_is_answered(&mut caller);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body, "both attempts are the same request");
    // Only the traceparent differs: each attempt has its own span in the same trace.
    let spans = [0, 1].map(|at: usize| seen[at].header("traceparent").expect("a traceparent").to_owned());
    let [first, second] = spans.each_ref().map(|span| span.split('-').collect::<Vec<_>>());
    assert_eq!((first[1], first[3]), (second[1], second[3]));
    assert_ne!(first[2], second[2]);
    assert_eq!(seen[0].head.replace(&spans[0], &spans[1]), seen[1].head);
    assert_next_is_answered(&mut caller);
}

/// FAULTS.md row 18.
#[test]
fn redirect_is_not_followed_and_no_key_is_sent() {
    let second = Upstream::always(ok_chat("redirected"));
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let location = format!("Location: {}\r\nConnection: close\r\n", second.url());
        let cases = [case("a redirect", error_with(status, &location), Ending::Close)];
        assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
    }
    assert_eq!(second.connections(), 0);
}

#[test]
fn providers_4xx_passes_byte_for_byte() {
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
    let gateway = start_with(&upstream, json!({ "retries": 3 }));
    let mut caller = gateway.connect();
    for (status, media, body) in answers {
        let answer = caller.send(chat_request()).answer();
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.text(), body);
    }
    assert_eq!(upstream.requests().len(), answers.len(), "none was retried");
}

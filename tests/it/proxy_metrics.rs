//! Metrics and their labels, checked against the provider's ledger.

use crate::support::*;

#[test]
fn metrics_agree_with_the_providers_ledger() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(2).start();
    for turn in 0..30 {
        let prompt = "word ".repeat(turn + 1);
        let request = if turn % 3 == 0 { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o-mini", &prompt) };
        assert_eq!(luner.ask(request).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(luner.post_chat("nobody-has-this", "x").status, 404);
    }
    mock.arm("status=400".parse().unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(luner.post_chat("gpt-4o", "x").status, 400);
    }
    assert!(mock.wait_until_idle(TIMEOUT));
    let totals = mock.totals();
    // A request is counted after its answer was sent, so a test may have the answer a moment earlier.
    eventually("all requests are counted", || luner.metric("luner_requests_total", &["provider=\"openai\""]) == 32.0);
    assert_eq!(totals.requests, 32);
    let count = |labels: &[&str]| luner.metric("luner_requests_total", labels);
    assert_eq!(count(&["model=\"gpt-4o\"", "status=\"200\""]), 10.0);
    assert_eq!(count(&["model=\"gpt-4o-mini\"", "status=\"200\""]), 20.0);
    assert_eq!(count(&["model=\"gpt-4o\"", "status=\"400\""]), 2.0);
    assert_eq!(count(&["status=\"404\""]), 3.0);
    assert_eq!(luner.metric("luner_refusals_total", &["code=\"model_not_found\"", "fault=\"caller\""]), 3.0);
    assert_eq!(luner.metric("luner_upstream_attempts_total", &["provider=\"openai\""]), 32.0);
    let (prompt, completion) = (totals.prompt_tokens as f64, totals.completion_tokens as f64);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"prompt\""]), prompt);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"completion\""]), completion);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"total\""]), prompt + completion);
    assert_eq!(luner.metric("luner_request_duration_seconds_count", &["provider=\"openai\""]), 32.0);
    assert_eq!(luner.metric("luner_build_info", &[]), 1.0);
}

#[test]
fn scrape_is_not_counted_as_in_flight() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    assert_eq!(luner.metric("luner_in_flight", &[]), 0.0);
}

/// FAULTS.md row 53: values that callers invent never become labels.
#[test]
fn labels_come_only_from_the_config() {
    let mock = mock();
    let luner = Gateway::new().provider("any", mock.base_url(), &["known", "wild-*"]).start();
    for model in ["known", "wild-1", "wild-2", "unknown-1", "unknown-2"] {
        let headers = "X-Luner-User: made-up-user\r\nX-Luner-Tenant: made-up-tenant\r\n";
        luner.ask(post_with(CHAT, headers, chat(model, "x")));
    }
    let answer = luner.ask(get("/metrics"));
    assert_eq!(answer.header("content-type").map(|media| media.starts_with("text/plain")), Some(true));
    for invented in ["wild", "unknown", "made-up"] {
        assert!(!answer.text().contains(invented), "{invented} in {}", answer.text());
    }
    assert_eq!(luner.metric("luner_requests_total", &["model=\"known\""]), 1.0);
    assert_eq!(luner.metric("luner_requests_total", &["model=\"other\""]), 4.0);
}

#[test]
fn in_flight_requests_are_counted() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("hi"));
        conn.hold();
    });
    let luner = Gateway::in_front_of(upstream.url()).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("the request is in flight", || upstream.requests().len() == 1);
    let during = luner.metric("luner_in_flight", &[]);
    gate.permit();
    assert_eq!(client.answer().status, 200);
    eventually("the request is no longer in flight", || luner.metric("luner_in_flight", &[]) == during - 1.0);
}

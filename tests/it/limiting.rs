//! Rate limits and circuit breakers: how often a provider is asked, counted by the provider itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::*;

fn limited(url: &str, workers: usize, limit: &str) -> Running {
    let limits = format!("rate_limit: {{ providers: [{{ name: openai, {limit} }}] }}");
    Gateway::before(url).top(&limits).workers(workers).log("info").start()
}

#[test]
fn what_is_beyond_the_limit_is_told_when_to_come_back() {
    let mock = mock();
    let luner = limited(&mock.base_url(), 1, "qps: 0.5, burst: 2");
    for _ in 0..2 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 200);
    }
    let answer = luner.post_chat("gpt-4o", "hello");
    assert_eq!((answer.status, answer.error_code().as_deref()), (429, Some("rate_limit_exceeded")));
    assert_eq!(answer.json()["error"]["type"], "requests");
    let number = |name: &str| answer.header(name).and_then(|value| value.parse::<u64>().ok()).expect(name);
    assert!((1..=2).contains(&number("retry-after")) && (1..=2_000).contains(&number("retry-after-ms")));
    assert_eq!((number("x-ratelimit-limit-requests"), number("x-ratelimit-remaining-requests")), (2, 0));
    assert!(answer.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
    assert_eq!(mock.totals().requests, 2);
    assert_eq!(luner.metric("luner_refusals_total", &["code=\"rate_limit_exceeded\""]), 1.0);
}

/// When each request reached the provider.
fn timed() -> (Upstream, std::sync::Arc<Mutex<Vec<Instant>>>) {
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let theirs = seen.clone();
    let upstream = Upstream::script(move |conn| {
        while conn.next_request().is_some() {
            theirs.lock().unwrap().push(Instant::now());
            conn.write(ok_chat("well"));
        }
    });
    (upstream, seen)
}

// 51
#[test]
fn fifty_connections_never_get_more_through_than_the_limit() {
    let (upstream, seen) = timed();
    let luner = limited(&upstream.url(), 2, "qps: 10, burst: 2");
    let until = Instant::now() + Duration::from_secs(10);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut client = luner.connect();
                while Instant::now() < until {
                    let answer = client.send(post_chat("gpt-4o", "hello")).answer();
                    assert!([200, 429].contains(&answer.status), "{}", answer.text());
                    if answer.status == 429 {
                        // As a client that obeys; otherwise it is a test of the loopback.
                        let ms = answer.header("retry-after-ms").and_then(|ms| ms.parse().ok()).expect("a time");
                        thread::sleep(Duration::from_millis(ms).min(Duration::from_millis(20)));
                    }
                }
            });
        }
    });
    let seen = seen.lock().unwrap();
    let first = *seen.first().expect("some got through");
    for (nth, at) in seen.iter().enumerate() {
        let allowed = 2.0 + 10.0 * at.duration_since(first).as_secs_f64() + 1.0;
        assert!((nth + 1) as f64 <= allowed, "{} after {:?}", nth + 1, at.duration_since(first));
    }
    let span = seen.last().unwrap().duration_since(first).as_secs_f64();
    assert!(seen.len() as f64 >= 0.95 * (10.0 * span), "{} in {span} s", seen.len());
}

#[test]
fn one_connection_reaches_the_whole_limit() {
    let (upstream, seen) = timed();
    let luner = limited(&upstream.url(), 2, "qps: 50, burst: 1");
    let mut client = luner.connect();
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        client.send(post_chat("gpt-4o", "hello")).answer();
    }
    let seen = seen.lock().unwrap();
    let span = seen.last().unwrap().duration_since(*seen.first().unwrap()).as_secs_f64();
    let rate = (seen.len() - 1) as f64 / span;
    // Half of it would be 25. A busy machine leaves some of a limit without a burst unused.
    assert!((40.0..=50.5).contains(&rate), "{rate} a second");
}

#[test]
fn a_changed_limit_goes_on_from_where_the_old_one_stands() {
    let mock = mock();
    let luner = limited(&mock.base_url(), 1, "qps: 0.001, burst: 3");
    for _ in 0..3 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 200);
    }
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 429);
    let plan = luner.health()["plan"].as_u64().expect("a plan");
    let text = std::fs::read_to_string(&luner.scratch().path).expect("the configuration");
    luner.scratch().write(&text.replace("burst: 3", "burst: 5"));
    luner.wait_plan(plan + 1);
    let statuses: Vec<u16> = (0..3).map(|_| luner.post_chat("gpt-4o", "hello").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_limited_provider_is_followed_by_the_next_of_the_model() {
    let (first, second) = (mock(), mock());
    let luner = Gateway::new()
        .provider("one", first.base_url(), &["gpt-4o"])
        .provider("two", second.base_url(), &["gpt-4o"])
        .top("rate_limit: { providers: [{ name: one, qps: 0.001, burst: 1 }, { name: two, qps: 0.001, burst: 1 }] }")
        .start();
    let providers: Vec<_> = (0..3)
        .map(|_| {
            let answer = luner.post_chat("gpt-4o", "hello");
            (answer.status, answer.header("x-luner-provider").map(str::to_owned))
        })
        .collect();
    assert_eq!(providers, [(200, Some("one".into())), (200, Some("two".into())), (429, None)]);
}

#[test]
fn a_hit_needs_no_room_at_the_provider_and_no_provider_at_all() {
    let mut mock = mock();
    let luner = limited(&mock.base_url(), 1, "qps: 0.001, burst: 1");
    let cold = post(CHAT, r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"a"}]}"#);
    assert_eq!(luner.ask(&cold).header("x-luner-cache"), Some("MISS"));
    eventually("it is stored", || luner.metric("luner_cache_size", &[]) == 1.0);
    mock.stop();
    for _ in 0..5 {
        assert_eq!(luner.ask(&cold).header("x-luner-cache"), Some("HIT"));
    }
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 429);
}

#[test]
fn a_refused_request_counts_in_no_window() {
    let mock = mock();
    let gateway = Gateway::before(mock.base_url()).storage_sqlite();
    let luner = gateway.top("rate_limit: { providers: [{ name: openai, qps: 0.001, burst: 1 }] }").start();
    luner.api().create(&serde_json::json!({ "name": "two", "expression": "request_count > 2", "action": "block" }));
    let statuses: Vec<u16> = (0..6).map(|_| luner.post_chat("gpt-4o", "hello").status).collect();
    assert_eq!(statuses, [200, 429, 429, 429, 429, 429]);
}

/// The state of this provider's breaker.
fn breaker(luner: &Running, provider: &str) -> &'static str {
    let is = |state: &str| {
        let labels = [format!("provider=\"{provider}\""), format!("state=\"{state}\"")];
        luner.metric("luner_breaker_state", &[&labels[0], &labels[1]]) == 1.0
    };
    ["closed", "open", "half_open"].into_iter().find(|state| is(state)).expect("one of them")
}

#[test]
fn a_provider_that_keeps_failing_is_given_a_pause_and_comes_back() {
    let up = std::sync::Arc::new(AtomicU64::new(0));
    let theirs = up.clone();
    let upstream = Upstream::script(move |conn| {
        while conn.next_request().is_some() {
            let answer = match theirs.load(Ordering::Acquire) {
                0 => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => ok_chat("well"),
            };
            conn.write(answer);
        }
    });
    let luner = Gateway::new().provider_with("openai", upstream.url(), &["gpt-4o"], "retries: 0").start();
    assert_eq!(breaker(&luner, "openai"), "closed");
    for _ in 0..5 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 502);
    }
    let answer = luner.post_chat("gpt-4o", "hello");
    assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("overloaded")));
    assert!(answer.header("retry-after").is_some());
    assert_eq!((breaker(&luner, "openai"), upstream.requests().len()), ("open", 5));
    assert_eq!(luner.health()["breakers"]["open"], 1);
    up.store(1, Ordering::Release);
    eventually("it is asked again", || luner.post_chat("gpt-4o", "hello").status == 200);
    assert_eq!(breaker(&luner, "openai"), "closed");
}

#[test]
fn a_provider_that_dies_is_passed_over_and_traffic_returns_to_it() {
    let second = mock();
    let (socket, address) = crate::support::upstream_cases::unheard();
    let luner = Gateway::new()
        .provider_with("first", format!("http://{address}"), &["gpt-4o"], "retries: 0")
        .provider("second", second.base_url(), &["gpt-4o"])
        .start();
    for _ in 0..20 {
        let answer = luner.post_chat("gpt-4o", "hello");
        assert_eq!((answer.status, answer.header("x-luner-provider")), (200, Some("second")));
    }
    // Five connections were refused; after that it was not asked.
    let refused = luner.metric("luner_upstream_attempts_total", &["provider=\"first\"", "outcome=\"unreachable\""]);
    assert_eq!(refused, 5.0);
    socket.listen(64).expect("it listens");
    let listener = std::net::TcpListener::from(socket);
    let provider = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the gateway's connection");
        let _ = std::io::Write::write_all(
            &mut &stream,
            crate::support::upstream_cases::last(&completion("well")).as_bytes(),
        );
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    eventually("traffic returns", || luner.post_chat("gpt-4o", "hello").header("x-luner-provider") == Some("first"));
    provider.join().expect("the provider ends");
}

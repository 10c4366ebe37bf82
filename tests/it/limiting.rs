//! Rate limits and circuit breakers: how often a provider is called, as the provider itself counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::upstream_cases::*;
use crate::support::*;

/// A gateway whose provider may be called `qps` times a second, and `burst` times at once.
fn limited(url: &str, qps: f64, burst: u32) -> Gateway {
    Gateway::in_front_of(url).with(rate_limits(&[("openai", qps, burst)])).log("info")
}

fn rate_limits(limits: &[(&str, f64, u32)]) -> Value {
    let limits = limits.iter().map(|(name, qps, burst)| json!({ "name": name, "qps": qps, "burst": burst }));
    json!({ "rate_limit": { "providers": limits.collect::<Vec<_>>() } })
}

#[test]
fn request_over_the_limit_is_told_when_to_retry() {
    let mock = mock();
    let luner = limited(&mock.base_url(), 0.5, 2).start();
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

/// A provider, and the times at which requests reached it.
fn upstream_with_times() -> (Upstream, Arc<Mutex<Vec<Instant>>>) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let recorded = times.clone();
    let upstream = Upstream::script(move |conn| {
        while conn.next_request().is_some() {
            recorded.lock().unwrap().push(Instant::now());
            conn.write(ok_chat("well"));
        }
    });
    (upstream, times)
}

/// FAULTS.md row 51.
#[test]
fn fifty_connections_together_never_exceed_the_limit() {
    let (upstream, times) = upstream_with_times();
    let luner = limited(&upstream.url(), 10.0, 2).workers(2).start();
    let until = Instant::now() + Duration::from_secs(10);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut client = luner.connect();
                while Instant::now() < until {
                    let answer = client.send(post_chat("gpt-4o", "hello")).answer();
                    assert!([200, 429].contains(&answer.status), "{}", answer.text());
                    if answer.status == 429 {
                        // Waits as a well-behaved client does. Without the wait, this would be a load test of the
                        // loopback.
                        let ms = answer.header("retry-after-ms").and_then(|ms| ms.parse().ok()).expect("a time");
                        thread::sleep(Duration::from_millis(ms).min(Duration::from_millis(20)));
                    }
                }
            });
        }
    });
    let times = times.lock().unwrap();
    let first = *times.first().expect("some requests got through");
    for (nth, at) in times.iter().enumerate() {
        let allowed = 2.0 + 10.0 * at.duration_since(first).as_secs_f64() + 1.0;
        assert!((nth + 1) as f64 <= allowed, "{} after {:?}", nth + 1, at.duration_since(first));
    }
    let span_s = times.last().unwrap().duration_since(first).as_secs_f64();
    assert!(times.len() as f64 >= 0.95 * (10.0 * span_s), "{} in {span_s} s", times.len());
}

#[test]
fn one_connection_can_use_the_whole_limit() {
    let (upstream, times) = upstream_with_times();
    let luner = limited(&upstream.url(), 50.0, 1).workers(2).start();
    let mut client = luner.connect();
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        client.send(post_chat("gpt-4o", "hello")).answer();
    }
    let times = times.lock().unwrap();
    let span_s = times.last().unwrap().duration_since(*times.first().unwrap()).as_secs_f64();
    let rate = (times.len() - 1) as f64 / span_s;
    // If the limit were divided between the two shards, it would be 25. Without a burst, a busy machine loses some of
    // it.
    assert!((40.0..=50.5).contains(&rate), "{rate} a second");
}

#[test]
fn changed_limit_continues_from_the_old_level() {
    let mock = mock();
    let luner = limited(&mock.base_url(), 0.001, 3).start();
    for _ in 0..3 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 200);
    }
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 429);
    luner.scratch().write(&limited(&mock.base_url(), 0.001, 5).config_text());
    luner.wait_plan(2);
    let statuses: Vec<u16> = (0..3).map(|_| luner.post_chat("gpt-4o", "hello").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn only_requests_that_reach_the_provider_use_up_the_limit() {
    let (socket, address) = bound_but_not_listening();
    let luner = Gateway::new()
        .provider_with("openai", format!("http://{address}"), &["gpt-4o"], json!({ "retries": 0 }))
        .with(rate_limits(&[("openai", 0.001, 1)]))
        .start();
    for _ in 0..3 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 502);
    }
    socket.listen(64).expect("it listens");
    let listener = std::net::TcpListener::from(socket);
    // A provider that reads the request and breaks off: the request has left, so its charge stays.
    let provider = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the gateway's connection");
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
    });
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 502);
    provider.join().expect("the provider ends");
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 429);
}

#[test]
fn rate_limited_provider_fails_over_to_the_next() {
    let (first, second) = (mock(), mock());
    let luner = Gateway::new()
        .provider("one", first.base_url(), &["gpt-4o"])
        .provider("two", second.base_url(), &["gpt-4o"])
        .with(rate_limits(&[("one", 0.001, 1), ("two", 0.001, 1)]))
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
fn cache_hit_ignores_the_limit_and_needs_no_provider() {
    let mut mock = mock();
    let luner = limited(&mock.base_url(), 0.001, 1).start();
    let cacheable = post(CHAT, r#"{"model":"gpt-4o","temperature":0,"messages":[{"role":"user","content":"a"}]}"#);
    assert_eq!(luner.ask(&cacheable).header("x-luner-cache"), Some("MISS"));
    eventually("the answer is stored", || luner.metric("luner_cache_size", &[]) == 1.0);
    mock.stop();
    for _ in 0..5 {
        assert_eq!(luner.ask(&cacheable).header("x-luner-cache"), Some("HIT"));
    }
    assert_eq!(luner.post_chat("gpt-4o", "hello").status, 429);
}

#[test]
fn rate_limited_request_does_not_count_in_any_window() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite();
    let luner = gateway.with(rate_limits(&[("openai", 0.001, 1)])).start();
    luner.api().create(&json!({ "name": "two", "expression": "request_count > 2", "action": "block" }));
    let statuses: Vec<u16> = (0..6).map(|_| luner.post_chat("gpt-4o", "hello").status).collect();
    assert_eq!(statuses, [200, 429, 429, 429, 429, 429]);
}

/// The state of this provider's circuit breaker.
fn breaker_state(luner: &Running, provider: &str) -> &'static str {
    let is = |state: &str| {
        let labels = [format!("provider=\"{provider}\""), format!("state=\"{state}\"")];
        luner.metric("luner_breaker_state", &[&labels[0], &labels[1]]) == 1.0
    };
    ["closed", "open", "half_open"].into_iter().find(|state| is(state)).expect("one of them")
}

#[test]
fn breaker_opens_for_a_failing_provider_and_closes_again() {
    let recovered = Arc::new(AtomicBool::new(false));
    let has_recovered = recovered.clone();
    let upstream = Upstream::script(move |conn| {
        while conn.next_request().is_some() {
            let answer = match has_recovered.load(Ordering::Acquire) {
                false => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
                true => ok_chat("well"),
            };
            conn.write(answer);
        }
    });
    let luner = Gateway::new().provider_with("openai", upstream.url(), &["gpt-4o"], json!({ "retries": 0 })).start();
    assert_eq!(breaker_state(&luner, "openai"), "closed");
    for _ in 0..5 {
        assert_eq!(luner.post_chat("gpt-4o", "hello").status, 502);
    }
    let answer = luner.post_chat("gpt-4o", "hello");
    assert_eq!((answer.status, answer.error_code().as_deref()), (503, Some("overloaded")));
    assert!(answer.header("retry-after").is_some());
    assert_eq!((breaker_state(&luner, "openai"), upstream.requests().len()), ("open", 5));
    assert_eq!(luner.health()["breakers"]["open"], 1);
    recovered.store(true, Ordering::Release);
    eventually("the provider is called again", || luner.post_chat("gpt-4o", "hello").status == 200);
    assert_eq!(breaker_state(&luner, "openai"), "closed");
}

#[test]
fn unreachable_provider_is_skipped_until_it_returns() {
    let second = mock();
    let (socket, address) = bound_but_not_listening();
    let luner = Gateway::new()
        .provider_with("first", format!("http://{address}"), &["gpt-4o"], json!({ "retries": 0 }))
        .provider("second", second.base_url(), &["gpt-4o"])
        .start();
    for _ in 0..20 {
        let answer = luner.post_chat("gpt-4o", "hello");
        assert_eq!((answer.status, answer.header("x-luner-provider")), (200, Some("second")));
    }
    // Five connections were refused. After that the breaker was open.
    let refused = luner.metric("luner_upstream_attempts_total", &["provider=\"first\"", "outcome=\"unreachable\""]);
    assert_eq!(refused, 5.0);
    socket.listen(64).expect("it listens");
    let listener = std::net::TcpListener::from(socket);
    let provider = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the gateway's connection");
        let _ = std::io::Write::write_all(&mut &stream, ok_json_then_close(&completion("well")).as_bytes());
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    eventually("traffic returns", || luner.post_chat("gpt-4o", "hello").header("x-luner-provider") == Some("first"));
    provider.join().expect("the provider ends");
}

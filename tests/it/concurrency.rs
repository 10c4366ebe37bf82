//! Many callers at once, on several cores: nothing is mixed up, lost, or left behind.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::support::*;

const CALLERS: usize = 500;

#[test]
fn five_hundred_callers_get_the_answers_to_their_own_prompts() {
    raise_descriptor_limit();
    // Slow enough that all of them are under way at once.
    let mut mock = mock_with(|options| {
        options.latency = Duration::from_millis(100);
        options.bodies = false;
    });
    let luner = Arc::new(Gateway::before(mock.base_url()).workers(2).start());
    let base = luner.open_fds();
    let start = Arc::new(Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (luner, start) = (luner.clone(), start.clone());
            let body = move || {
                let mut client = luner.connect();
                start.wait();
                for turn in 0..3 {
                    let prompt = format!("caller {caller}, turn {turn}");
                    let stream = (caller + turn) % 2 == 0;
                    let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
                    let answer = client.send(request).answer();
                    assert_eq!((answer.status, answer.said()), (200, reply(&prompt)));
                    assert_eq!(answer.header("transfer-encoding").is_some(), stream);
                }
            };
            thread::Builder::new().stack_size(256 * 1024).spawn(body).expect("a thread")
        })
        .collect();
    for caller in callers {
        caller.join().expect("every caller is content");
    }
    assert!(mock.settled(GUARD));
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete), (3 * CALLERS as u64, 3 * CALLERS as u64));
    eventually("all is accounted for", || {
        luner.metric("luner_requests_total", &["status=\"200\""]) == totals.requests as f64
    });
    let tokens = |kind: &str| luner.metric("luner_tokens_used_total", &[kind]);
    assert_eq!(tokens("type=\"prompt\""), totals.prompt_tokens as f64);
    assert_eq!(tokens("type=\"completion\""), totals.completion_tokens as f64);
    eventually("only connections for later are kept", || luner.open_fds() <= base + mock.connections());
    mock.stop();
    eventually("descriptors return", || luner.open_fds() <= base);
}

#[test]
fn callers_spread_over_all_shards() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).workers(4).start();
    assert_eq!(luner.health()["workers"], 4);
    for turn in 0..50 {
        let prompt = format!("turn {turn}");
        assert_eq!(luner.post_chat("gpt-4o", &prompt).said(), reply(&prompt));
    }
    // Each shard that had a request keeps a connection of its own to the provider.
    assert!(mock.totals().connections > 1, "one shard did it all");
    assert_eq!(luner.metric("luner_requests_total", &["status=\"200\""]), 50.0, "counted over all shards");
}

#[test]
fn a_slow_request_does_not_hold_its_shard_up() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        while let Some(request) = conn.next_request() {
            if request.json()["messages"][0]["content"] == "slow" {
                held.wait();
            }
            conn.write(ok_chat("hi"));
        }
    });
    let luner = Gateway::before(upstream.url()).start();
    let mut slow: Vec<Raw> = (0..50).map(|_| luner.connect()).collect();
    for client in &mut slow {
        client.send(post_chat("gpt-4o", "slow"));
    }
    for _ in 0..20 {
        assert_eq!(luner.post_chat("gpt-4o", "quick").said(), "hi");
    }
    slow.iter().for_each(|_| gate.permit());
    slow.iter_mut().for_each(|client| assert_eq!(client.answer().said(), "hi"));
}

//! Many callers at once on several shards: no answer is mixed up, no request is lost, no descriptor leaks.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use crate::support::*;

const CALLERS: usize = 500;

#[test]
fn five_hundred_callers_each_get_their_own_answers() {
    raise_descriptor_limit();
    // Slow enough for all of them to be in flight at once.
    let mut mock = mock_with(|options| {
        options.latency = Duration::from_millis(100);
        options.bodies = false;
    });
    let luner = Arc::new(Gateway::in_front_of(mock.base_url()).workers(2).start());
    let base = luner.open_fds();
    let start = Arc::new(Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (luner, start) = (luner.clone(), start.clone());
            let run = move || {
                let mut client = luner.connect();
                start.wait();
                for turn in 0..3 {
                    let prompt = format!("caller {caller}, turn {turn}");
                    let stream = (caller + turn) % 2 == 0;
                    let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
                    let answer = client.send(request).answer();
                    assert_eq!((answer.status, answer.content()), (200, reply(&prompt)));
                    assert_eq!(answer.header("transfer-encoding").is_some(), stream);
                }
            };
            thread::Builder::new().stack_size(256 * 1024).spawn(run).expect("a thread")
        })
        .collect();
    for caller in callers {
        caller.join().expect("every caller got its answers");
    }
    assert!(mock.wait_until_idle(TIMEOUT));
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete), (3 * CALLERS as u64, 3 * CALLERS as u64));
    eventually("every request is counted", || {
        luner.metric("luner_requests_total", &["status=\"200\""]) == totals.requests as f64
    });
    let tokens = |kind: &str| luner.metric("luner_tokens_used_total", &[kind]);
    assert_eq!(tokens("type=\"prompt\""), totals.prompt_tokens as f64);
    assert_eq!(tokens("type=\"completion\""), totals.completion_tokens as f64);
    eventually("only idle upstream connections stay open", || luner.open_fds() <= base + mock.connections());
    mock.stop();
    eventually("descriptors return", || luner.open_fds() <= base);
}

#[test]
fn callers_spread_over_all_shards() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).workers(4).start();
    assert_eq!(luner.health()["workers"], 4);
    for turn in 0..50 {
        let prompt = format!("turn {turn}");
        assert_eq!(luner.post_chat("gpt-4o", &prompt).content(), reply(&prompt));
    }
    // Each shard that had a request keeps an upstream connection of its own.
    assert!(mock.totals().connections > 1, "one shard served every request");
    assert_eq!(luner.metric("luner_requests_total", &["status=\"200\""]), 50.0, "counted over all shards");
}

#[test]
fn slow_request_does_not_block_its_shard() {
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
    let luner = Gateway::in_front_of(upstream.url()).start();
    let mut slow: Vec<Raw> = (0..50).map(|_| luner.connect()).collect();
    for client in &mut slow {
        client.send(post_chat("gpt-4o", "slow"));
    }
    for _ in 0..20 {
        assert_eq!(luner.post_chat("gpt-4o", "quick").content(), "hi");
    }
    slow.iter().for_each(|_| gate.permit());
    slow.iter_mut().for_each(|client| assert_eq!(client.answer().content(), "hi"));
}

//! The live tail: `GET /api/traces/stream` sends each request as it is recorded.

use serde_json::Value;

use crate::support::traffic::*;
use crate::support::*;

/// Reads a live tail until it has sent `count` events, and returns them as `(name, data)`.
#[track_caller]
fn events(stream: &mut Raw, count: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    loop {
        let whole: Vec<&str> = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n")).collect();
        let events: Vec<(String, Value)> = whole
            .iter()
            .filter_map(|event| {
                let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
                let name = name.split_once("\nid: ").map_or(name, |(name, _)| name);
                Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
            })
            .collect();
        if events.len() >= count {
            return events;
        }
        text.push_str(&String::from_utf8(stream.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
}

#[test]
fn live_tail_sends_each_matching_request() {
    let mock = mock();
    let mut luner = start_with_storage(&mock);
    let follow = |query: &str| {
        let mut stream = luner.connect();
        let head = stream.send(format!("GET /api/traces/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")).head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(stream.chunk().as_deref(), Some(&b": following\n\n"[..]));
        stream
    };
    let (mut unfiltered, mut only_ann) = (follow(""), follow("user_id=ann"));
    send_mixed_traffic(&luner);
    let all = events(&mut unfiltered, 6);
    assert!(all.iter().all(|(name, _)| name == "trace"), "{all:?}");
    let users: Vec<&str> = all.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "ann", "bob", "cem", "dee", "dee"]);
    let of_ann = events(&mut only_ann, 2);
    let listed = luner.api().traces("user_id=ann", 2);
    let sent: Vec<&Value> = of_ann.iter().rev().map(|(_, item)| item).collect();
    assert_eq!(sent, listed.iter().collect::<Vec<_>>(), "the tail sends the items of the list");
    luner.signal(Signal::TERM);
    assert_eq!(unfiltered.chunk(), None, "the stream ends with the process");
    assert_eq!(luner.wait_exit().code(), Some(0));
}

#[test]
fn reconnecting_live_tail_receives_what_it_missed() {
    let mock = mock();
    let luner = start_with_storage(&mock);
    let follow = |last_event_id: &str| {
        let mut stream = luner.connect();
        stream.send(format!("GET /api/traces/stream HTTP/1.1\r\nHost: localhost\r\n{last_event_id}\r\n"));
        assert_eq!(stream.head().status, 200);
        stream
    };
    let mut first = follow("");
    send_mixed_traffic(&luner);
    let mut text = String::new();
    while text.matches("event: trace").count() < 6 {
        text.push_str(&String::from_utf8(first.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 6, "{text}");
    drop(first);
    // A browser's EventSource sends the id of the last event that it saw.
    let mut again = follow(&format!("Last-Event-ID: {}\r\n", ids[3]));
    let missed = events(&mut again, 2);
    let users: Vec<&str> = missed.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["dee", "dee"], "{missed:?}");
    luner.post_chat("gpt-4o", "one more");
    assert_eq!(events(&mut again, 1).len(), 1, "the tail continues");
}

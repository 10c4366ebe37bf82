//! The live stream of requests.

use serde_json::Value;

use crate::support::traffic::*;
use crate::support::*;

/// Events of a live stream until there are `count` of them, as `(name, data)`.
#[track_caller]
fn events(stream: &mut Raw, count: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    loop {
        let all: Vec<&str> = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n")).collect();
        let told: Vec<(String, Value)> = all
            .iter()
            .filter_map(|event| {
                let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
                let name = name.split_once("\nid: ").map_or(name, |(name, _)| name);
                Some((name.to_owned(), serde_json::from_str(data).expect("JSON")))
            })
            .collect();
        if told.len() >= count {
            return told;
        }
        text.push_str(&String::from_utf8(stream.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
}

#[test]
fn the_live_stream_tells_of_each_request_that_passes() {
    let mock = mock();
    let mut luner = with_storage(&mock);
    let follow = |query: &str| {
        let mut stream = luner.connect();
        let head = stream.send(format!("GET /api/traces/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n")).head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(stream.chunk().as_deref(), Some(&b": following\n\n"[..]));
        stream
    };
    let (mut every, mut of_ann) = (follow(""), follow("user_id=ann"));
    some_traffic(&luner);
    let told = events(&mut every, 6);
    assert!(told.iter().all(|(name, _)| name == "trace"), "{told:?}");
    let users: Vec<&str> = told.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["ann", "ann", "bob", "cem", "dee", "dee"]);
    let ann = events(&mut of_ann, 2);
    let listed = luner.api().traces("user_id=ann", 2);
    let told: Vec<&Value> = ann.iter().rev().map(|(_, item)| item).collect();
    assert_eq!(told, listed.iter().collect::<Vec<_>>(), "the items of the list");
    luner.signal(Signal::TERM);
    assert_eq!(every.chunk(), None, "the end of the process ends the stream");
    assert_eq!(luner.wait_exit().code(), Some(0));
}

#[test]
fn who_follows_again_is_told_what_it_missed() {
    let mock = mock();
    let luner = with_storage(&mock);
    let follow = |last: &str| {
        let mut stream = luner.connect();
        stream.send(format!("GET /api/traces/stream HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"));
        assert_eq!(stream.head().status, 200);
        stream
    };
    let mut first = follow("");
    some_traffic(&luner);
    let mut text = String::new();
    while text.matches("event: trace").count() < 6 {
        text.push_str(&String::from_utf8(first.chunk().expect("the stream goes on")).expect("UTF-8"));
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 6, "{text}");
    drop(first);
    // A browser's EventSource sends the last one that it saw.
    let mut again = follow(&format!("Last-Event-ID: {}\r\n", ids[3]));
    let missed = events(&mut again, 2);
    let users: Vec<&str> = missed.iter().map(|(_, item)| item["user_id"].as_str().unwrap()).collect();
    assert_eq!(users, ["dee", "dee"], "{missed:?}");
    luner.post_chat("gpt-4o", "and on");
    assert_eq!(events(&mut again, 1).len(), 1, "and goes on");
}

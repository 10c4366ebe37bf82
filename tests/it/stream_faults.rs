//! Streams that break, drip, or look odd, and callers that leave or stop reading: whole events pass byte for byte, an end
//! before its time is said, and nobody waits or hoards for a peer that is gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::upstream_cases::*;
use crate::support::*;

/// An endpoint that streams, a request for a stream of it, and two whole events of it.
struct Endpoint {
    path: &'static str,
    request: Vec<u8>,
    events: String,
}

fn endpoints() -> [Endpoint; 3] {
    let response = |n: usize, text: &str| {
        let data = json!({ "type": "response.output_text.delta", "sequence_number": n, "delta": text });
        format!("event: response.output_text.delta\ndata: {data}\n\n")
    };
    let text = |text: &str| {
        let data =
            json!({ "object": "text_completion", "choices": [{ "index": 0, "text": text, "finish_reason": null }] });
        format!("data: {data}\n\n")
    };
    [
        Endpoint { path: CHAT, request: post_stream("gpt-4o", "hello?"), events: delta("one") + &delta("two") },
        Endpoint {
            path: "/v1/completions",
            request: post("/v1/completions", r#"{"model":"gpt-4o","prompt":"hello?","stream":true}"#),
            events: text("one") + &text("two"),
        },
        Endpoint {
            path: "/v1/responses",
            request: post("/v1/responses", r#"{"model":"gpt-4o","input":"hello?","stream":true}"#),
            events: response(1, "one") + &response(2, "two"),
        },
    ]
}

/// `event` is one whole event that makes OpenAI's own clients raise, with this type and code.
#[track_caller]
fn assert_error_event(path: &str, event: &str, kind: &str, code: &str) {
    let event = event.strip_suffix("\n\n").unwrap_or_else(|| panic!("a whole event: {event:?}"));
    let data = match path {
        "/v1/responses" => event.strip_prefix("event: error\ndata: "),
        _ => event.strip_prefix("data: "),
    };
    let data = data.unwrap_or_else(|| panic!("an error event: {event:?}"));
    let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    assert_eq!(data["error"]["type"], kind, "{data}");
    assert_eq!(data["error"]["code"], code, "{data}");
    assert!(data["error"]["message"].as_str().is_some_and(|text| text.contains("openai")), "{data}");
    assert!(data["error"].get("param").is_some(), "all four members: {data}");
    if path == "/v1/responses" {
        assert_eq!((&data["type"], &data["code"]), (&json!("error"), &json!(code)));
        assert!(data["message"].is_string() && data["sequence_number"].is_u64(), "{data}");
    }
    assert!(!data.to_string().contains("127.0.0.1"), "{data}");
}

/// Each scene, behind two whole events, makes this error event, and the next request works.
#[track_caller]
fn assert_each_breaks(lines: &str, scenes: impl Fn(&Endpoint) -> Vec<Scene>, refusal: Refusal) {
    std::thread::scope(|scope| {
        for endpoint in endpoints() {
            let scenes = scenes(&endpoint);
            scope.spawn(move || assert_each_breaks_at(&endpoint, lines, &scenes, refusal));
        }
    });
}

fn assert_each_breaks_at(endpoint: &Endpoint, lines: &str, scenes: &[Scene], (_, kind, code): Refusal) {
    let upstream = plays(scenes);
    let gateway = gateway(&upstream, lines);
    let fds = gateway.open_fds();
    for (index, scene) in scenes.iter().enumerate() {
        println!("{}: {}", endpoint.path, scene.name);
        let answer = gateway.ask(&endpoint.request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let behind = answer.text().strip_prefix(endpoint.events.as_str());
        let behind = behind.unwrap_or_else(|| panic!("first the whole events: {:?}", answer.text()));
        assert_error_event(endpoint.path, behind, kind, code);
        assert_goes_on(&mut gateway.connect());
        assert_eq!(upstream.requests().len(), 2 * (index + 1), "the provider saw each request once");
    }
    eventually("the provider's connections are closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
}

/// Half an event.
const PARTIAL: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"par";

// 6, 11
#[test]
fn a_stream_that_ends_before_its_end_gets_an_error_event() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
    let scenes = |endpoint: &Endpoint| {
        let events = in_chunk(&endpoint.events);
        let both = in_chunk(format!("{}{PARTIAL}", endpoint.events));
        let length = endpoint.events.len();
        vec![
            scene("a clean end", format!("{STREAM_HEAD}{events}0\r\n\r\n"), End::Hold),
            scene("a clean end in an event", format!("{STREAM_HEAD}{both}0\r\n\r\n"), End::Hold),
            scene("closed", format!("{STREAM_HEAD}{events}"), End::Fin),
            scene("closed in an event", format!("{STREAM_HEAD}{both}"), End::Fin),
            scene("closed in a chunk", format!("{STREAM_HEAD}{events}ff\r\n{PARTIAL}"), End::Fin),
            scene("closed in a chunk's size", format!("{STREAM_HEAD}{events}f"), End::Fin),
            scene("closed without a length", format!("{head}\r\n{}{PARTIAL}", endpoint.events), End::Fin),
            scene(
                "a length, a clean end",
                format!("{head}Content-Length: {length}\r\n\r\n{}", endpoint.events),
                End::Hold,
            ),
            scene(
                "a length, closed",
                format!("{head}Content-Length: {}\r\n\r\n{}", length + 1, endpoint.events),
                End::Fin,
            ),
            scene("a bad chunk", format!("{STREAM_HEAD}{events}nonsense\r\n"), End::Hold),
            scene("an empty size", format!("{STREAM_HEAD}{events}\r\n"), End::Hold),
            scene("a size of 2^64-1", format!("{STREAM_HEAD}{events}ffffffffffffffff\r\n"), End::Hold),
            scene("a bare line feed", format!("{STREAM_HEAD}{events}5\ndata:\r\n"), End::Hold),
        ]
    };
    assert_each_breaks("", scenes, BROKEN);
}

// 6
#[test]
fn a_stream_that_is_reset_gets_an_error_event() {
    for endpoint in endpoints() {
        let gate = Gate::new();
        let (theirs, events) = (gate.clone(), endpoint.events.clone());
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return serve_well(conn);
            }
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}", in_chunk(format!("{events}{PARTIAL}"))));
            theirs.wait();
            conn.reset();
        });
        let gateway = gateway(&upstream, "");
        let mut caller = gateway.connect();
        assert_eq!(caller.send(&endpoint.request).head().status, 200);
        let mut seen = Vec::new();
        while seen.len() < endpoint.events.len() {
            seen.extend(caller.chunk().expect("an event"));
        }
        assert_eq!(String::from_utf8_lossy(&seen), endpoint.events, "whole events, and nothing of the next");
        gate.permit();
        let error = caller.chunk().expect("an error event");
        assert_error_event(endpoint.path, &String::from_utf8_lossy(&error), BROKEN.1, BROKEN.2);
        assert_eq!(caller.chunk(), None, "then the end");
        assert_goes_on(&mut gateway.connect());
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"broken\""]) == 1.0
        });
    }
}

// 7
#[test]
fn a_stream_that_falls_silent_gets_an_error_event() {
    let scenes = |endpoint: &Endpoint| {
        let events = in_chunk(&endpoint.events);
        let both = in_chunk(format!("{}{PARTIAL}", endpoint.events));
        vec![
            scene("between two events", format!("{STREAM_HEAD}{events}"), End::Hold),
            scene("in an event", format!("{STREAM_HEAD}{both}"), End::Hold),
        ]
    };
    assert_each_breaks("stream_idle_timeout: 300ms", scenes, LATE);
}

// 7
#[test]
fn a_dripping_stream_is_waited_for_as_long_as_it_drips() {
    let upstream = Upstream::script(|conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        for byte in "data: slow\n\n".bytes() {
            std::thread::sleep(Duration::from_millis(50));
            conn.write(in_chunk(char::from(byte).to_string()));
        }
        conn.write(stream_end());
        conn.hold();
    });
    let gateway = gateway(&upstream, "stream_idle_timeout: 400ms");
    assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).text(), "data: slow\n\ndata: [DONE]\n\n");
}

// 6
#[test]
fn what_happens_behind_the_last_event_is_nobodys_business() {
    let whole = delta("one") + "data: [DONE]\n\n";
    let comment = format!("{whole}: bye");
    let scenes = [
        scene("closed", format!("{STREAM_HEAD}{}", in_chunk(&whole)), End::Fin),
        scene("reset", format!("{STREAM_HEAD}{}", in_chunk(&whole)), End::Rst),
        scene("silent", format!("{STREAM_HEAD}{}", in_chunk(&whole)), End::Hold),
        scene("a bad chunk", format!("{STREAM_HEAD}{}nonsense\r\n", in_chunk(&whole)), End::Hold),
        scene("half a comment", format!("{STREAM_HEAD}{}0\r\n\r\n", in_chunk(&comment)), End::Fin),
        scene("half a comment, closed", format!("{STREAM_HEAD}{}", in_chunk(&comment)), End::Fin),
    ];
    for scene in scenes {
        println!("scene: {}", scene.name);
        let upstream = Upstream::script({
            let scene = scene.clone();
            move |conn| {
                if conn.number > 0 {
                    return serve_well(conn);
                }
                conn.request();
                conn.write(&scene.bytes);
                let port = conn.stream().local_addr().expect("its address").port();
                // A reset takes along what the gateway has not read.
                eventually("the gateway has read", || all_read(port));
                scene.end.play(conn);
            }
        });
        let gateway = gateway(&upstream, "stream_idle_timeout: 300ms");
        let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
        let behind = answer.text().strip_prefix(whole.as_str());
        assert!(matches!(behind, Some("" | ": bye")), "{:?}", answer.text());
        assert_goes_on(&mut gateway.connect());
    }
}

// 15
#[test]
fn an_event_beyond_all_measure_is_an_error_event_in_bounded_memory() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one"))));
        // Without an end, until the gateway has enough.
        let part = in_chunk("data: without an end ".repeat(4096));
        conn.write(in_chunk("data: "));
        while conn.write(&part) {}
    });
    let gateway = gateway(&upstream, "");
    let rss = gateway.rss_bytes();
    let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
    let behind = answer.text().strip_prefix(delta("one").as_str()).expect("first the whole event");
    assert_error_event(CHAT, behind, BROKEN.1, BROKEN.2);
    eventually("the provider's connection is closed", || upstream.running() == 0);
    // The event's cap, twice while its buffer grows, and room for the rest.
    assert!(rss_peak(&gateway) < rss + (64 << 20), "{} bytes at most, {rss} before", rss_peak(&gateway));
    assert_goes_on(&mut gateway.connect());
}

//! Streams that break, drip, or look odd, and callers that leave or stop reading: whole events pass byte for byte, an end
//! before its time is said, and nobody waits or hoards for a peer that is gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::scenes::*;
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

/// A stream in which everything is odd that may be; lines end as `eol` says.
fn odd_stream(eol: &str) -> String {
    let lines = [
        "\u{feff}: a comment on the first line",
        "",
        "retry: 1000",
        "",
        "id: 1",
        "event: message",
        "data: {\"choices\":[{\"index\":0,",
        "data: \"delta\":{\"content\":\"zwölf Boxkämpfer \u{1f94a} 漢字\"}}]}",
        "",
        "",
        ":",
        "data",
        "",
        "data:{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}",
        "",
        "data: [DONE]",
        "",
        "",
    ];
    lines.join(eol)
}

/// Plays `stream` again and again on one connection, cut in two at each offset in turn.
fn cut_everywhere(stream: &str) -> (Upstream, usize) {
    let bytes = stream.as_bytes().to_vec();
    let offsets = bytes.len() - 1;
    let upstream = Upstream::script(move |conn| {
        for offset in 1..bytes.len() {
            conn.request();
            let (one, two) = bytes.split_at(offset);
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            conn.write([STREAM_HEAD.as_bytes(), &chunk(one)].concat());
            // Time enough to be read apart, mostly.
            std::thread::sleep(Duration::from_micros(700));
            conn.write([&chunk(two)[..], b"0\r\n\r\n"].concat());
        }
        conn.hold();
    });
    (upstream, offsets)
}

/// A chat request for a stream with usage, so that nothing needs to be taken out.
fn with_usage() -> Vec<u8> {
    let body = json!({
        "model": "gpt-4o", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "hello?" }],
    });
    post(CHAT, body.to_string())
}

// 15
#[test]
fn a_stream_cut_at_any_byte_passes_byte_for_byte() {
    std::thread::scope(|scope| {
        for eol in ["\n", "\r\n", "\r"] {
            scope.spawn(move || {
                let stream = odd_stream(eol);
                let (upstream, offsets) = cut_everywhere(&stream);
                let gateway = gateway(&upstream, "");
                let mut caller = gateway.connect();
                for offset in 1..=offsets {
                    let answer = caller.send(with_usage()).answer();
                    assert_eq!(answer.text(), stream, "cut at {offset}, lines end with {eol:?}");
                }
                assert_eq!(upstream.connections(), 1, "each stream ended in order");
                let tokens = 3.0 * offsets as f64;
                eventually("usage is read wherever the stream was cut", || {
                    gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) == tokens
                });
            });
        }
    });
}

// 15
#[test]
fn injected_usage_is_taken_out_wherever_the_stream_is_cut() {
    for eol in ["\n", "\r\n", "\r"] {
        let event = |data: &str| format!("data: {data}{eol}{eol}");
        let deltas = event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}");
        let usage = "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}";
        let stream = format!("{deltas}{}{}", event(usage), event("[DONE]"));
        let (upstream, offsets) = cut_everywhere(&stream);
        let gateway = gateway(&upstream, "");
        let mut caller = gateway.connect();
        for offset in 1..=offsets {
            let answer = caller.send(post_stream("gpt-4o", "hello?")).answer();
            let told: Vec<&str> = answer.text().split(eol).filter(|line| !line.is_empty()).collect();
            let wanted: Vec<&str> = vec![deltas.trim_end(), "data: [DONE]"];
            let told: Vec<&str> = told.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
            assert_eq!(told, wanted, "cut at {offset}, lines end with {eol:?}: {:?}", answer.text());
        }
        assert_eq!(upstream.requests()[0].json()["stream_options"]["include_usage"], true);
        let tokens = 5.0 * offsets as f64;
        eventually("usage is read wherever the stream was cut", || {
            gateway.metric("luner_tokens_used_total", &["type=\"completion\""]) == tokens
        });
    }
}

// 15
#[test]
fn every_event_is_passed_on_when_it_came() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        for text in ["one", "two", "three"] {
            theirs.wait();
            conn.write(in_chunk(delta(text)));
        }
        theirs.wait();
        conn.write(stream_end());
        conn.hold();
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    // The head comes before the first event.
    assert_eq!(caller.send(post_stream("gpt-4o", "hello?")).head().status, 200);
    for text in ["one", "two", "three"] {
        gate.permit();
        assert_eq!(caller.chunk(), Some(delta(text).into_bytes()));
    }
    gate.permit();
    assert_eq!(caller.chunk(), Some(b"data: [DONE]\n\n".to_vec()));
    assert_eq!(caller.chunk(), None);
}

// 15
#[test]
fn an_event_of_8_mib_passes() {
    let huge = delta(&"h".repeat(8 << 20));
    let stream = format!("{STREAM_HEAD}{}{}", in_chunk(&huge), stream_end());
    let upstream = Upstream::always(stream);
    let gateway = gateway(&upstream, "");
    let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
    assert!(answer.text() == huge + "data: [DONE]\n\n", "{} bytes came", answer.body.len());
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

// 21
#[test]
fn usage_that_makes_no_sense_passes_in_a_stream_too() {
    let usages = [
        "null",
        "7",
        "\"many\"",
        "{\"prompt_tokens\":-3,\"completion_tokens\":-5,\"total_tokens\":-8}",
        "{\"prompt_tokens\":\"3\",\"completion_tokens\":\"5\"}",
        "{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":1e308,\"total_tokens\":-1e999}",
    ];
    let streams =
        usages.map(|usage| format!("{}data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n", delta("one")));
    let theirs = streams.clone();
    let upstream = Upstream::script(move |conn| {
        for stream in &theirs {
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}0\r\n\r\n", in_chunk(stream)));
        }
        conn.hold();
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    for stream in &streams {
        assert_eq!(caller.send(with_usage()).answer().text(), stream);
    }
    eventually("all of them are counted", || gateway.metric("luner_requests_total", &["provider=\"openai\""]) == 6.0);
    let metrics = gateway.metrics();
    let mut tokens = metrics.iter().filter(|(name, _)| name.starts_with("luner_tokens_used_total"));
    assert!(tokens.all(|(_, count)| count.is_finite() && *count >= 0.0), "{metrics:?}");
}

/// How a caller leaves.
const LEAVINGS: [(&str, Leave); 2] = [("in order", |caller| drop(caller)), ("with a reset", |caller| caller.reset())];

type Leave = fn(Raw);

// 22
#[test]
fn a_caller_who_leaves_a_stream_cancels_it() {
    for (name, leave) in LEAVINGS {
        println!("{name}");
        let upstream = Upstream::script(|conn| {
            if conn.number % 2 == 1 {
                return serve_well(conn);
            }
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one"))));
            conn.hold();
        });
        let gateway = gateway(&upstream, "");
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?")).head();
        assert_eq!(caller.chunk(), Some(delta("one").into_bytes()));
        leave(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
        gateway.wait_log("left in the middle");
        // What was used until then is accounted for.
        assert!(gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) > 0.0);
        assert!(gateway.metric("luner_tokens_used_total", &["type=\"completion\""]) > 0.0);
        assert_goes_on(&mut gateway.connect());
    }
}

// 22
#[test]
fn a_caller_who_leaves_a_busy_stream_cancels_it() {
    for (name, leave) in LEAVINGS {
        println!("{name}");
        let upstream = Upstream::script(|conn| {
            conn.request();
            conn.write(STREAM_HEAD);
            while conn.write(in_chunk(delta("more"))) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let gateway = gateway(&upstream, "");
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?")).head();
        caller.chunk();
        leave(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
    }
}

// 22
#[test]
fn a_caller_who_leaves_before_the_answer_cancels_it() {
    for (name, leave) in LEAVINGS {
        for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"half\":"] {
            println!("{name}, behind {begun:?}");
            let upstream = Upstream::script(move |conn| {
                if conn.number == 1 {
                    return serve_well(conn);
                }
                conn.request();
                conn.write(begun);
                conn.hold();
            });
            let gateway = gateway(&upstream, "retries: 3");
            let mut caller = gateway.connect();
            caller.send(question());
            eventually("the provider has the request", || upstream.requests().len() == 1);
            leave(caller);
            eventually("the provider's connection is closed", || upstream.running() == 0);
            eventually("the caller's departure is counted", || {
                gateway.metric("luner_requests_total", &["status=\"499\""]) == 1.0
            });
            assert_goes_on(&mut gateway.connect());
            assert_eq!(upstream.requests().len(), 2, "nothing was tried again");
        }
    }
}

// 23
#[test]
fn a_caller_who_stops_reading_holds_the_provider_up_and_then_is_left() {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, request) in [(STREAM_HEAD, post_stream("gpt-4o", "hello?")), (json, question())] {
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return serve_well(conn);
            }
            conn.request();
            conn.write(head);
            let part = in_chunk(delta(&"m".repeat(500)).repeat(100));
            while conn.write(&part) {}
        });
        let gateway =
            Gateway::new().provider("openai", upstream.url(), &["gpt-4o"]).server("write_timeout: 500ms").start();
        let rss = gateway.rss_bytes();
        let fds = gateway.open_fds();
        let mut stalled = gateway.connect();
        assert_eq!(stalled.send(request).head().status, 200);
        // Meanwhile others are served.
        assert_goes_on(&mut gateway.connect());
        eventually("the provider's connection is closed", || upstream.running() <= 1);
        eventually("the caller's connection is closed", || gateway.open_fds() <= fds + 1);
        assert!(rss_peak(&gateway) < rss + (32 << 20), "{} bytes at most, {rss} before", rss_peak(&gateway));
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"abandoned\""]) == 1.0
        });
    }
}

// 23
#[test]
fn a_slow_caller_gets_every_byte() {
    // More than all buffers on the way hold together, so that the gateway has to wait for the caller again and again.
    let events: String = (0..10_000).map(|n| delta(&format!("{n} {}", "m".repeat(500)))).collect();
    let stream = format!("{STREAM_HEAD}{}{}", in_chunk(&events), stream_end());
    let upstream = Upstream::always(stream);
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    caller.send(post_stream("gpt-4o", "hello?"));
    eventually("the gateway waits for the caller", || !all_read(upstream.addr().port()));
    let answer = caller.answer();
    assert!(answer.text() == events + "data: [DONE]\n\n", "{} bytes came", answer.body.len());
}

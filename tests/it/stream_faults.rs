//! Streams that break off, drip, or fall silent (FAULTS.md rows 6, 7, 11 and 15): whole events pass byte for byte, and
//! a premature end reaches the caller as an error event.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::upstream_cases::*;
use crate::support::*;

/// An endpoint that can stream, a request for such a stream, and two whole events of it.
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

/// Asserts that `event` is one whole event that makes OpenAI's own clients raise, with the type and code of
/// this refusal.
#[track_caller]
fn assert_error_event(path: &str, event: &str, refusal: ExpectedRefusal) {
    let event = event.strip_suffix("\n\n").unwrap_or_else(|| panic!("not a whole event: {event:?}"));
    let data = match path {
        "/v1/responses" => event.strip_prefix("event: error\ndata: "),
        _ => event.strip_prefix("data: "),
    };
    let data = data.unwrap_or_else(|| panic!("not an error event: {event:?}"));
    let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    assert_eq!(data["error"]["type"], refusal.kind, "{data}");
    assert_eq!(data["error"]["code"], refusal.code, "{data}");
    assert!(data["error"]["message"].as_str().is_some_and(|text| text.contains("openai")), "{data}");
    assert!(data["error"].get("param").is_some(), "all four members: {data}");
    if path == "/v1/responses" {
        assert_eq!((&data["type"], &data["code"]), (&json!("error"), &json!(refusal.code)));
        assert!(data["message"].is_string() && data["sequence_number"].is_u64(), "{data}");
    }
    assert!(!data.to_string().contains("127.0.0.1"), "{data}");
}

/// Asserts on every endpoint that each case, after two whole events, causes this error event, and that the next request
/// is answered.
#[track_caller]
fn assert_error_events(settings: Value, cases: impl Fn(&Endpoint) -> Vec<Case>, refusal: ExpectedRefusal) {
    std::thread::scope(|scope| {
        for endpoint in endpoints() {
            let (cases, settings) = (cases(&endpoint), settings.clone());
            scope.spawn(move || assert_error_events_of(&endpoint, settings, &cases, refusal));
        }
    });
}

fn assert_error_events_of(endpoint: &Endpoint, settings: Value, cases: &[Case], refusal: ExpectedRefusal) {
    let upstream = upstream_with_cases(cases);
    let gateway = start_with(&upstream, settings);
    let fds = gateway.open_fds();
    for (index, case) in cases.iter().enumerate() {
        println!("{}: {}", endpoint.path, case.name);
        let answer = gateway.ask(&endpoint.request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let rest = answer.text().strip_prefix(endpoint.events.as_str());
        let rest = rest.unwrap_or_else(|| panic!("the whole events must come first: {:?}", answer.text()));
        assert_error_event(endpoint.path, rest, refusal);
        assert_next_is_answered(&mut gateway.connect());
        assert_eq!(upstream.requests().len(), 2 * (index + 1), "the provider saw each request once");
    }
    eventually("the provider's connections are closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
}

/// Half of an event.
const PARTIAL: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"par";

/// FAULTS.md rows 6 and 11.
#[test]
fn truncated_stream_ends_with_an_error_event() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
    let cases = |endpoint: &Endpoint| {
        let events = in_chunk(&endpoint.events);
        let both = in_chunk(format!("{}{PARTIAL}", endpoint.events));
        let length = endpoint.events.len();
        vec![
            case("a clean end", format!("{STREAM_HEAD}{events}0\r\n\r\n"), Ending::Hold),
            case("a clean end in an event", format!("{STREAM_HEAD}{both}0\r\n\r\n"), Ending::Hold),
            case("closed", format!("{STREAM_HEAD}{events}"), Ending::Close),
            case("closed in an event", format!("{STREAM_HEAD}{both}"), Ending::Close),
            case("closed in a chunk", format!("{STREAM_HEAD}{events}ff\r\n{PARTIAL}"), Ending::Close),
            case("closed in a chunk's size", format!("{STREAM_HEAD}{events}f"), Ending::Close),
            case("closed without a length", format!("{head}\r\n{}{PARTIAL}", endpoint.events), Ending::Close),
            case(
                "a length, a clean end",
                format!("{head}Content-Length: {length}\r\n\r\n{}", endpoint.events),
                Ending::Hold,
            ),
            case(
                "a length, closed",
                format!("{head}Content-Length: {}\r\n\r\n{}", length + 1, endpoint.events),
                Ending::Close,
            ),
            case("a bad chunk", format!("{STREAM_HEAD}{events}nonsense\r\n"), Ending::Hold),
            case("an empty size", format!("{STREAM_HEAD}{events}\r\n"), Ending::Hold),
            case("a size of 2^64-1", format!("{STREAM_HEAD}{events}ffffffffffffffff\r\n"), Ending::Hold),
            case("a bare line feed", format!("{STREAM_HEAD}{events}5\ndata:\r\n"), Ending::Hold),
        ]
    };
    assert_error_events(json!({}), cases, BAD_GATEWAY);
}

/// FAULTS.md row 6.
#[test]
fn reset_stream_ends_with_an_error_event() {
    for endpoint in endpoints() {
        let gate = Gate::new();
        let (may_reset, events) = (gate.clone(), endpoint.events.clone());
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return answer_every_request(conn);
            }
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}", in_chunk(format!("{events}{PARTIAL}"))));
            may_reset.wait();
            conn.reset();
        });
        let gateway = start_in_front_of(&upstream);
        let mut caller = gateway.connect();
        assert_eq!(caller.send(&endpoint.request).head().status, 200);
        let mut seen = Vec::new();
        while seen.len() < endpoint.events.len() {
            seen.extend(caller.chunk().expect("an event"));
        }
        assert_eq!(String::from_utf8_lossy(&seen), endpoint.events, "only whole events are forwarded");
        gate.permit();
        let error = caller.chunk().expect("an error event");
        assert_error_event(endpoint.path, &String::from_utf8_lossy(&error), BAD_GATEWAY);
        assert_eq!(caller.chunk(), None, "the stream ends after the error event");
        assert_next_is_answered(&mut gateway.connect());
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"broken\""]) == 1.0
        });
    }
}

/// FAULTS.md row 7.
#[test]
fn silent_stream_ends_with_an_error_event() {
    let cases = |endpoint: &Endpoint| {
        let events = in_chunk(&endpoint.events);
        let both = in_chunk(format!("{}{PARTIAL}", endpoint.events));
        vec![
            case("between two events", format!("{STREAM_HEAD}{events}"), Ending::Hold),
            case("in an event", format!("{STREAM_HEAD}{both}"), Ending::Hold),
        ]
    };
    assert_error_events(json!({ "stream_idle_timeout": "300ms" }), cases, GATEWAY_TIMEOUT);
}

/// FAULTS.md row 7.
#[test]
fn dripping_stream_is_not_timed_out() {
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
    let gateway = start_with(&upstream, json!({ "stream_idle_timeout": "400ms" }));
    assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).text(), "data: slow\n\ndata: [DONE]\n\n");
}

/// FAULTS.md row 6.
#[test]
fn faults_after_the_last_event_are_ignored() {
    let whole = delta("one") + "data: [DONE]\n\n";
    let comment = format!("{whole}: bye");
    let cases = [
        case("closed", format!("{STREAM_HEAD}{}", in_chunk(&whole)), Ending::Close),
        case("reset", format!("{STREAM_HEAD}{}", in_chunk(&whole)), Ending::Reset),
        case("silent", format!("{STREAM_HEAD}{}", in_chunk(&whole)), Ending::Hold),
        case("a bad chunk", format!("{STREAM_HEAD}{}nonsense\r\n", in_chunk(&whole)), Ending::Hold),
        case("half a comment", format!("{STREAM_HEAD}{}0\r\n\r\n", in_chunk(&comment)), Ending::Close),
        case("half a comment, closed", format!("{STREAM_HEAD}{}", in_chunk(&comment)), Ending::Close),
    ];
    for case in cases {
        println!("case: {}", case.name);
        let upstream = Upstream::script({
            let case = case.clone();
            move |conn| {
                if conn.number > 0 {
                    return answer_every_request(conn);
                }
                conn.request();
                conn.write(&case.bytes);
                let port = conn.stream().local_addr().expect("its address").port();
                // A reset discards the bytes that the gateway has not read.
                eventually("the gateway has read", || gateway_has_read_all(port));
                case.ending.apply(conn);
            }
        });
        let gateway = start_with(&upstream, json!({ "stream_idle_timeout": "300ms" }));
        let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
        let rest = answer.text().strip_prefix(whole.as_str());
        assert!(matches!(rest, Some("" | ": bye")), "{:?}", answer.text());
        assert_next_is_answered(&mut gateway.connect());
    }
}

/// FAULTS.md row 15.
#[test]
fn oversized_event_ends_with_an_error_event_in_bounded_memory() {
    let upstream = Upstream::script(|conn| {
        if conn.number > 0 {
            return answer_every_request(conn);
        }
        conn.request();
        conn.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one"))));
        // An event without an end, until the gateway closes.
        let part = in_chunk("data: without an end ".repeat(4096));
        conn.write(in_chunk("data: "));
        while conn.write(&part) {}
    });
    let gateway = start_in_front_of(&upstream);
    let rss = gateway.rss_bytes();
    let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
    let rest = answer.text().strip_prefix(delta("one").as_str()).expect("the whole event comes first");
    assert_error_event(CHAT, rest, BAD_GATEWAY);
    eventually("the provider's connection is closed", || upstream.running() == 0);
    // The largest event's size, doubled while its buffer grows, and room for the rest.
    assert!(peak_rss_bytes(&gateway) < rss + (64 << 20), "{} bytes at most, {rss} before", peak_rss_bytes(&gateway));
    assert_next_is_answered(&mut gateway.connect());
}

//! Intact streams with unusual content: every byte passes wherever they are split, and their usage is read (FAULTS.md
//! rows 15 and 21).

use std::time::Duration;

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// A correct stream with everything unusual that the format allows. Its lines end with `eol`.
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

/// A provider that sends `stream` again and again on one connection, split in two at each offset in turn. Returns the
/// number of offsets too.
fn upstream_splitting_at_every_byte(stream: &str) -> (Upstream, usize) {
    let bytes = stream.as_bytes().to_vec();
    let offsets = bytes.len() - 1;
    let upstream = Upstream::script(move |conn| {
        for offset in 1..bytes.len() {
            conn.request();
            let (one, two) = bytes.split_at(offset);
            let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            conn.write([STREAM_HEAD.as_bytes(), &chunk(one)].concat());
            // Usually enough time for the two parts to be read separately.
            std::thread::sleep(Duration::from_micros(700));
            conn.write([&chunk(two)[..], b"0\r\n\r\n"].concat());
        }
        conn.hold();
    });
    (upstream, offsets)
}

/// A chat request for a stream with usage, so that luner need not remove any.
fn stream_request_with_usage() -> Vec<u8> {
    let body = json!({
        "model": "gpt-4o", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "hello?" }],
    });
    post(CHAT, body.to_string())
}

/// FAULTS.md row 15.
#[test]
fn stream_split_at_any_byte_passes_byte_for_byte() {
    std::thread::scope(|scope| {
        for eol in ["\n", "\r\n", "\r"] {
            scope.spawn(move || {
                let stream = odd_stream(eol);
                let (upstream, offsets) = upstream_splitting_at_every_byte(&stream);
                let gateway = start_in_front_of(&upstream);
                let mut caller = gateway.connect();
                for offset in 1..=offsets {
                    let answer = caller.send(stream_request_with_usage()).answer();
                    assert_eq!(answer.text(), stream, "split at {offset}, lines end with {eol:?}");
                }
                assert_eq!(upstream.connections(), 1, "each stream ends in order");
                let tokens = 3.0 * offsets as f64;
                eventually("usage is read wherever the stream is split", || {
                    gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) == tokens
                });
            });
        }
    });
}

/// FAULTS.md row 15.
#[test]
fn injected_usage_is_removed_wherever_the_stream_is_split() {
    for eol in ["\n", "\r\n", "\r"] {
        let event = |data: &str| format!("data: {data}{eol}{eol}");
        let deltas = event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}");
        let usage = "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}";
        let stream = format!("{deltas}{}{}", event(usage), event("[DONE]"));
        let (upstream, offsets) = upstream_splitting_at_every_byte(&stream);
        let gateway = start_in_front_of(&upstream);
        let mut caller = gateway.connect();
        for offset in 1..=offsets {
            let answer = caller.send(post_stream("gpt-4o", "hello?")).answer();
            let lines: Vec<&str> = answer.text().split(eol).map(str::trim).filter(|line| !line.is_empty()).collect();
            let expected = [deltas.trim_end(), "data: [DONE]"];
            assert_eq!(lines, expected, "split at {offset}, lines end with {eol:?}: {:?}", answer.text());
        }
        assert_eq!(upstream.requests()[0].json()["stream_options"]["include_usage"], true);
        let tokens = 5.0 * offsets as f64;
        eventually("usage is read wherever the stream is split", || {
            gateway.metric("luner_tokens_used_total", &["type=\"completion\""]) == tokens
        });
    }
}

/// FAULTS.md row 15.
#[test]
fn every_event_is_forwarded_as_it_arrives() {
    let gate = Gate::new();
    let next = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        for text in ["one", "two", "three"] {
            next.wait();
            conn.write(in_chunk(delta(text)));
        }
        next.wait();
        conn.write(stream_end());
        conn.hold();
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    // The head arrives before the first event is sent.
    assert_eq!(caller.send(post_stream("gpt-4o", "hello?")).head().status, 200);
    for text in ["one", "two", "three"] {
        gate.permit();
        assert_eq!(caller.chunk(), Some(delta(text).into_bytes()));
    }
    gate.permit();
    assert_eq!(caller.chunk(), Some(b"data: [DONE]\n\n".to_vec()));
    assert_eq!(caller.chunk(), None);
}

/// FAULTS.md row 15.
#[test]
fn event_of_8_mib_passes() {
    let huge = delta(&"h".repeat(8 << 20));
    let stream = format!("{STREAM_HEAD}{}{}", in_chunk(&huge), stream_end());
    let upstream = Upstream::always(stream);
    let gateway = start_in_front_of(&upstream);
    let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
    assert!(answer.text() == huge + "data: [DONE]\n\n", "{} bytes arrived", answer.body.len());
}

/// FAULTS.md row 21.
#[test]
fn nonsensical_usage_in_a_stream_passes_and_is_clamped() {
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
    let scripted = streams.clone();
    let upstream = Upstream::script(move |conn| {
        for stream in &scripted {
            conn.request();
            conn.write(format!("{STREAM_HEAD}{}0\r\n\r\n", in_chunk(stream)));
        }
        conn.hold();
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    for stream in &streams {
        assert_eq!(caller.send(stream_request_with_usage()).answer().text(), stream);
    }
    eventually("all requests are counted", || gateway.metric("luner_requests_total", &["provider=\"openai\""]) == 6.0);
    let metrics = gateway.metrics();
    let mut tokens = metrics.iter().filter(|(name, _)| name.starts_with("luner_tokens_used_total"));
    assert!(tokens.all(|(_, count)| count.is_finite() && *count >= 0.0), "{metrics:?}");
}

//! Plans of answers, with and without faults.

use super::*;

fn reply<'a>(body: &'a [u8], ends: &'a [usize], stream: bool) -> Reply<'a> {
    Reply { status: 200, headers: &[], id: 7, body, ends, stream, keep_alive: true, http10: false, head_only: false }
}

fn planned(reply: &Reply<'_>, fault: &str) -> Wire {
    let mut wire = Wire::new();
    let fault: Option<Fault> = (!fault.is_empty()).then(|| fault.parse().unwrap());
    wire.plan(reply, Pace { chunk_delay: Duration::ZERO, events_per_write: 1 }, Duration::ZERO, fault.as_ref());
    wire
}

fn text(wire: &Wire) -> String {
    String::from_utf8_lossy(&wire.bytes).into_owned()
}

#[test]
fn plain_answer_is_one_write() {
    let wire = planned(&reply(b"{}", &[2], false), "");
    assert_eq!(wire.steps, [Step::Write { to: wire.bytes.len(), events: 0 }]);
    assert!(text(&wire).ends_with("Content-Length: 2\r\n\r\n{}"), "{}", text(&wire));
}

#[test]
fn each_event_is_one_write() {
    let wire = planned(&reply(b"a\n\nb\n\nc\n\n", &[3, 6, 9], true), "");
    let events: Vec<usize> =
        wire.steps.iter().map(|step| if let Step::Write { events, .. } = step { *events } else { 99 }).collect();
    assert_eq!(events, [1, 1, 1]);
    assert!(text(&wire).ends_with("3\r\nc\n\n\r\n0\r\n\r\n"), "{}", text(&wire));
}

#[test]
fn stream_is_reset_after_the_requested_events() {
    let wire = planned(&reply(b"a\n\nb\n\nc\n\n", &[3, 6, 9], true), "reset-mid-stream=2");
    assert_eq!(wire.steps.last(), Some(&Step::Reset));
    assert!(!wire.whole);
    assert!(text(&wire).ends_with("3\r\nb\n\n\r\n"), "{}", text(&wire));
}

#[test]
fn close_mid_body_sends_half_the_body() {
    let wire = planned(&reply(b"0123456789", &[10], false), "close-mid-body");
    assert!(text(&wire).ends_with("Content-Length: 10\r\n\r\n01234"), "{}", text(&wire));
    assert_eq!(wire.steps, [Step::Write { to: wire.bytes.len(), events: 0 }, Step::Close]);
}

#[test]
fn every_fault_has_a_plan_for_every_kind_of_answer() {
    for (name, arg, _) in crate::fault::CATALOGUE {
        let fault = match *arg {
            "=CODE" => format!("{name}=500"),
            "=URL" => format!("{name}=http://x/"),
            "=MS" => format!("{name}=5"),
            _ => (*name).to_owned(),
        };
        for stream in [false, true] {
            let wire = planned(&reply(b"data: {\"a\":1}\n\ndata: [DONE]\n\n", &[15, 29], stream), &fault);
            assert!(!wire.steps.is_empty(), "{fault}");
            let mut last = 0;
            for step in &wire.steps {
                if let Step::Write { to, .. } = step {
                    assert!(*to > last && *to <= wire.bytes.len(), "{fault}");
                    last = *to;
                }
            }
            assert_eq!(last, wire.bytes.len(), "{fault}");
        }
    }
}

#[test]
fn split_wire_sends_the_same_bytes() {
    let whole = reply(b"a\n\nb\n\n", &[3, 6], true);
    let (normal, split) = (planned(&whole, ""), planned(&whole, "split-wire=5"));
    assert_eq!(normal.bytes, split.bytes);
    assert_eq!(split.steps.len(), normal.bytes.len().div_ceil(5));
}

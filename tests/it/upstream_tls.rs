//! Providers behind TLS: who is trusted, what is never said to anyone else, and that nothing is lost or believed on the way
//! through the encryption.

use std::io::Read;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use serde_json::Value;

use crate::support::tls::*;
use crate::support::upstream_cases::*;
use crate::support::*;

// 20
#[test]
fn a_provider_whose_authority_is_trusted_answers_and_streams_on_one_connection() {
    let authority = Authority::new();
    let streamed = format!("{STREAM_HEAD}{}{}", in_chunk(delta("well")), stream_end());
    for versions in [[&TLS13], [&TLS12]] {
        let seen = Seen::default();
        let streamed = streamed.clone();
        let upstream = upstream(&authority.speaks(&versions, |_| {}), &seen, move |tls| {
            while let Some(request) = tls.request() {
                let request: Value = serde_json::from_str(&request).expect("JSON");
                tls.write(if request["stream"] == true { streamed.clone() } else { ok_chat("well") });
            }
        });
        let gateway = authority.gateway(https(&upstream), "");
        for _ in 0..5 {
            assert_goes_on(&mut gateway.connect());
            assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).said(), "well");
        }
        assert_eq!(upstream.connections(), 1);
        assert!(!holds(&lock(&seen.raw), "POST"), "it was not encrypted");
    }
}

// 19, 20
#[test]
fn a_provider_is_reached_and_checked_by_its_name() {
    let authority = Authority::new();
    let seen = Seen::default();
    let named = authority.server(|params| params.subject_alt_names.truncate(1));
    let upstream = upstream(&named, &seen, |tls| tls.serve_well());
    let gateway = authority.gateway(format!("https://localhost:{}", upstream.addr().port()), "");
    assert_goes_on(&mut gateway.connect());
}

// 20
#[test]
fn a_certificate_that_proves_nothing_is_a_502_and_not_a_word_is_said() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.server(|_| {});
    let bad = [
        ("another authority's", stranger.server(|_| {})),
        (
            "expired",
            authority.server(|params| {
                params.not_before = date_time_ymd(2000, 1, 1);
                params.not_after = date_time_ymd(2001, 1, 1);
            }),
        ),
        ("not yet valid", authority.server(|params| params.not_before = date_time_ymd(3000, 1, 1))),
        (
            "another host's",
            authority.server(|params| {
                params.subject_alt_names = CertificateParams::new(vec!["example.com".into(), "127.0.0.2".into()])
                    .expect("names")
                    .subject_alt_names;
            }),
        ),
        ("nobody's", authority.server(|params| params.subject_alt_names.clear())),
        ("self-signed", self_signed()),
    ];
    for (name, config) in bad {
        println!("{name}");
        let seen = Seen::default();
        let (good, theirs) = (good.clone(), seen.clone());
        let upstream = Upstream::script(move |conn| {
            let config = if conn.number == 0 { &config } else { &good };
            Tls::new(config, conn.stream(), &theirs).serve_well();
        });
        let gateway = authority.gateway(https(&upstream), "retries: 0");
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(question()).answer(), BROKEN);
        assert_eq!(seen.requests().len(), 0);
        let raw = lock(&seen.raw).clone();
        assert!(!holds(&raw, "POST") && !holds(&raw, "how are you") && !holds(&raw, CANARY), "in plain text");
        eventually("the connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds + 1);
        // As soon as the provider proves itself.
        assert_goes_on(&mut caller);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"unreachable\""]) == 1.0
        });
    }
}

// 20
#[test]
fn a_handshake_that_stalls_is_a_504() {
    let authority = Authority::new();
    // Not a byte, and the beginning of a record.
    for begun in [&b""[..], &[22, 3, 3, 0, 80, 2]] {
        let config = authority.server(|_| {});
        let seen = Seen::default();
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return Tls::new(&config, conn.stream(), &seen).serve_well();
            }
            conn.write(begun);
            conn.hold();
        });
        let gateway = authority.gateway(https(&upstream), "connect_timeout: 300ms");
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(question()).answer(), LATE);
        eventually("the connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds + 1);
        assert_goes_on(&mut caller);
    }
}

// 20
#[test]
fn a_provider_that_speaks_no_tls_is_a_502_and_not_a_word_is_said() {
    let authority = Authority::new();
    for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""] {
        let seen = Seen::default();
        let theirs = seen.clone();
        let upstream = Upstream::script(move |conn| {
            let mut room = [0; 4096];
            let mut tap = Tap { socket: conn.stream(), seen: theirs.clone() };
            let _ = tap.read(&mut room);
            conn.write(answer);
        });
        let gateway = authority.gateway(https(&upstream), "retries: 0");
        assert_refusal(&gateway.ask(question()), BROKEN);
        let raw = lock(&seen.raw).clone();
        assert!(!raw.is_empty() && !holds(&raw, "POST") && !holds(&raw, CANARY), "in plain text");
    }
}

// 5, 20
#[test]
fn an_end_that_tls_does_not_vouch_for_is_no_end() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let body = completion("cut");
    let unended = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
    for polite in [false, true] {
        println!("close_notify: {polite}");
        let unended = unended.clone();
        let upstream = upstream(&config, &Seen::default(), move |tls| {
            tls.request();
            tls.write(&unended);
            if polite {
                tls.say_goodbye();
            }
        });
        let gateway = authority.gateway(https(&upstream), "retries: 3");
        let mut caller = gateway.connect();
        let answer = caller.send(question()).answer();
        match polite {
            true => assert_eq!((answer.status, answer.text()), (200, body.as_str())),
            // Anyone on the way may have cut it.
            false => assert_refusal(&answer, BROKEN),
        }
        assert_goes_on(&mut caller);
    }
}

// 4, 5, 20
#[test]
fn an_answer_that_breaks_under_encryption_is_a_502() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let whole = ok_chat("cut");
    let (half, polite) = (whole[..whole.len() / 2].to_owned(), [false, true]);
    for (bytes, polite) in ["", half.as_str()].iter().flat_map(|bytes| polite.map(|polite| (*bytes, polite))) {
        let bytes = bytes.to_owned();
        let seen = Seen::default();
        let upstream = upstream(&config, &seen, move |tls| {
            tls.request();
            tls.write(&bytes);
            if polite {
                tls.say_goodbye();
            }
        });
        let gateway = authority.gateway(https(&upstream), "retries: 3");
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(question()).answer(), BROKEN);
        assert_goes_on(&mut caller);
        assert_eq!(seen.requests().len(), 2, "nothing was tried again");
    }
}

// 6, 20
#[test]
fn a_stream_that_breaks_under_encryption_gets_an_error_event() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for polite in [false, true] {
        let upstream = upstream(&config, &Seen::default(), move |tls| {
            tls.request();
            tls.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one") + "data: {\"par")));
            if polite {
                tls.say_goodbye();
            }
        });
        let gateway = authority.gateway(https(&upstream), "");
        let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
        let events = answer.events();
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(format!("data: {}\n\n", events[0]), delta("one"));
        let error: Value = serde_json::from_str(&events[1]).expect("JSON in the error event");
        assert_eq!(error["error"]["code"], "provider_error");
        assert_goes_on(&mut gateway.connect());
    }
}

// 3, 7, 20
#[test]
fn silence_under_encryption_is_a_504() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"] {
        let upstream = upstream(&config, &Seen::default(), move |tls| {
            tls.request();
            tls.write(begun);
            assert!(tls.request().is_none());
        });
        let gateway = authority.gateway(https(&upstream), "timeout: 300ms\nstream_idle_timeout: 300ms");
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(question()).answer(), LATE);
        eventually("the connection is closed", || upstream.running() == 0);
        assert_goes_on(&mut caller);
    }
}

// 10, 20
#[test]
fn a_kept_encrypted_connection_that_was_closed_is_replaced_and_nobody_notices() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for polite in [false, true] {
        let seen = Seen::default();
        let upstream = upstream(&config, &seen, move |tls| {
            tls.request();
            tls.write(ok_chat("well"));
            tls.request();
            if polite {
                tls.say_goodbye();
            }
        });
        let gateway = authority.gateway(https(&upstream), "retries: 0");
        let mut caller = gateway.connect();
        for _ in 0..3 {
            assert_goes_on(&mut caller);
        }
        assert_eq!((upstream.connections(), seen.requests().len()), (2, 4));
    }
}

// 12, 20
#[test]
fn bytes_behind_an_encrypted_answer_never_reach_the_next_caller() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    // Among them sizes of a read and of a record, so that what follows waits somewhere on the way.
    for size in [400, 4 << 10, 8 << 10, 16 << 10, 64 << 10] {
        println!("behind {size} bytes");
        let written = Gate::new();
        let theirs = written.clone();
        let upstream = upstream(&config, &Seen::default(), move |tls| {
            tls.request();
            tls.write(format!("{}{}", answer_of(size), ok_chat("another-caller's-canary")));
            theirs.permit();
            assert!(tls.request().is_none(), "the connection is used again");
        });
        let gateway = authority.gateway(https(&upstream), "retries: 0");
        assert_eq!(gateway.ask(question()).status, 200);
        written.wait();
        assert_goes_on(&mut gateway.connect());
        assert_eq!(upstream.connections(), 2);
    }
}

#[test]
fn long_bodies_pass_through_encryption_whole() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let seen = Seen::default();
    let said = "l".repeat(3 << 20);
    let theirs = said.clone();
    let upstream = upstream(&config, &seen, move |tls| {
        while tls.request().is_some() {
            tls.write(ok_chat(&theirs));
        }
    });
    let gateway = authority.gateway(https(&upstream), "");
    let asked = chat("gpt-4o", &"x".repeat(5 << 20));
    for _ in 0..2 {
        let answer = gateway.ask(post(CHAT, &asked));
        assert!(answer.said() == said, "{} bytes came", answer.body.len());
    }
    assert!(seen.requests().iter().all(|request| *request == asked));
    assert_eq!(upstream.connections(), 1);
}

// 14, 20
#[test]
fn a_provider_that_takes_its_time_gets_a_long_request_whole() {
    let authority = Authority::new();
    let seen = Seen::default();
    // Behind the handshake TLS 1.3 sends tickets: bytes that the gateway can read, and no answer.
    let upstream = upstream(&authority.server(|_| {}), &seen, |tls| {
        let mut handshake = [0; 1];
        let n = rustls::Stream::new(&mut tls.session, &mut tls.tap).read(&mut handshake).expect("the request begins");
        tls.pending.extend_from_slice(&handshake[..n]);
        std::thread::sleep(Duration::from_millis(400));
        tls.serve_well();
    });
    let gateway = authority.gateway(https(&upstream), "retries: 0");
    let asked = chat("gpt-4o", &"x".repeat(5 << 20));
    let answer = gateway.ask(post(CHAT, &asked));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(seen.requests() == [asked]);
}

// 20, 22
#[test]
fn a_caller_who_leaves_cancels_an_encrypted_request() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let streaming = format!("{STREAM_HEAD}{}", in_chunk(delta("one")));
    for begun in [String::new(), streaming] {
        let seen = Seen::default();
        let upstream = upstream(&config, &seen, move |tls| {
            tls.request();
            tls.write(&begun);
            assert!(tls.request().is_none());
        });
        let gateway = authority.gateway(https(&upstream), "");
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?"));
        eventually("the provider has the request", || seen.requests().len() == 1);
        drop(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        assert_goes_on(&mut gateway.connect());
    }
}

//! Providers behind TLS (FAULTS.md row 20): which certificates are trusted, that nothing is sent to an untrusted
//! provider, and that the faults of plain connections are handled alike under encryption.

use std::io::Read;
use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::support::tls::*;
use crate::support::upstream_cases::*;
use crate::support::*;

/// FAULTS.md row 20.
#[test]
fn trusted_provider_answers_and_streams_on_one_connection() {
    let authority = Authority::new();
    let streamed = format!("{STREAM_HEAD}{}{}", in_chunk(delta("well")), stream_end());
    for versions in [[&TLS13], [&TLS12]] {
        let recording = Recording::default();
        let streamed = streamed.clone();
        let upstream = tls_upstream(&authority.server_of_versions(&versions, |_| {}), &recording, move |tls| {
            while let Some(request) = tls.request() {
                let request: Value = serde_json::from_str(&request).expect("JSON");
                tls.write(if request["stream"] == true { streamed.clone() } else { ok_chat("well") });
            }
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({}));
        for _ in 0..5 {
            assert_next_is_answered(&mut gateway.connect());
            assert_eq!(gateway.ask(post_stream("gpt-4o", "hello?")).content(), "well");
        }
        assert_eq!(upstream.connections(), 1);
        assert!(!contains(&recording.bytes(), "POST"), "the requests were not encrypted");
    }
}

/// FAULTS.md rows 19 and 20.
#[test]
fn provider_certificate_is_checked_against_its_host_name() {
    let authority = Authority::new();
    let recording = Recording::default();
    let named = authority.server(|params| params.subject_alt_names.truncate(1));
    let upstream = tls_upstream(&named, &recording, |tls| tls.answer_every_request());
    let gateway = authority.start_gateway(format!("https://localhost:{}", upstream.addr().port()), json!({}));
    assert_next_is_answered(&mut gateway.connect());
}

/// FAULTS.md row 20.
#[test]
fn untrusted_certificate_gets_502_and_no_request_is_sent() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let good = authority.server(|_| {});
    let bad = [
        ("signed by an unknown authority", unknown.server(|_| {})),
        (
            "expired",
            authority.server(|params| {
                params.not_before = date_time_ymd(2000, 1, 1);
                params.not_after = date_time_ymd(2001, 1, 1);
            }),
        ),
        ("not yet valid", authority.server(|params| params.not_before = date_time_ymd(3000, 1, 1))),
        (
            "for another host",
            authority.server(|params| {
                params.subject_alt_names = CertificateParams::new(vec!["example.com".into(), "127.0.0.2".into()])
                    .expect("names")
                    .subject_alt_names;
            }),
        ),
        ("without a name", authority.server(|params| params.subject_alt_names.clear())),
        ("self-signed", self_signed_server()),
    ];
    for (name, config) in bad {
        println!("{name}");
        let recording = Recording::default();
        let (good, recorded) = (good.clone(), recording.clone());
        let upstream = Upstream::script(move |conn| {
            let config = if conn.number == 0 { &config } else { &good };
            TlsConn::new(config, conn.stream(), &recorded).answer_every_request();
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 0 }));
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(chat_request()).answer(), BAD_GATEWAY);
        assert_eq!(recording.requests().len(), 0);
        for secret in ["POST", "how are you", CANARY] {
            assert!(!contains(&recording.bytes(), secret), "{secret:?} was sent in plain text");
        }
        eventually("the connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds + 1);
        // The next connection has a valid certificate.
        assert_next_is_answered(&mut caller);
        eventually("the attempt is counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"unreachable\""]) == 1.0
        });
    }
}

/// FAULTS.md row 20.
#[test]
fn stalled_handshake_gets_504() {
    let authority = Authority::new();
    // The provider sends nothing, or the start of a TLS record.
    for sent in [&b""[..], &[22, 3, 3, 0, 80, 2]] {
        let config = authority.server(|_| {});
        let recording = Recording::default();
        let upstream = Upstream::script(move |conn| {
            if conn.number > 0 {
                return TlsConn::new(&config, conn.stream(), &recording).answer_every_request();
            }
            conn.write(sent);
            conn.hold();
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "connect_timeout": "300ms" }));
        let fds = gateway.open_fds();
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(chat_request()).answer(), GATEWAY_TIMEOUT);
        eventually("the connection is closed", || upstream.running() == 0);
        eventually("no descriptor is left", || gateway.open_fds() <= fds + 1);
        assert_next_is_answered(&mut caller);
    }
}

/// FAULTS.md row 20.
#[test]
fn provider_without_tls_gets_502_and_no_request_is_sent() {
    let authority = Authority::new();
    for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""] {
        let recording = Recording::default();
        let recorded = recording.clone();
        let upstream = Upstream::script(move |conn| {
            let mut buffer = [0; 4096];
            let mut socket = RecordedSocket { socket: conn.stream(), recording: recorded.clone() };
            let _ = socket.read(&mut buffer);
            conn.write(answer);
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 0 }));
        assert_refusal(&gateway.ask(chat_request()), BAD_GATEWAY);
        let bytes = recording.bytes();
        assert!(!bytes.is_empty() && !contains(&bytes, "POST") && !contains(&bytes, CANARY), "sent in plain text");
    }
}

/// FAULTS.md rows 5 and 20.
#[test]
fn connection_end_without_close_notify_is_truncation() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let body = completion("cut");
    let unended = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{body}");
    for polite in [false, true] {
        println!("close_notify: {polite}");
        let unended = unended.clone();
        let upstream = tls_upstream(&config, &Recording::default(), move |tls| {
            tls.request();
            tls.write(&unended);
            if polite {
                tls.send_close_notify();
            }
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 3 }));
        let mut caller = gateway.connect();
        let answer = caller.send(chat_request()).answer();
        match polite {
            true => assert_eq!((answer.status, answer.text()), (200, body.as_str())),
            // Anyone on the network path may have cut the connection.
            false => assert_refusal(&answer, BAD_GATEWAY),
        }
        assert_next_is_answered(&mut caller);
    }
}

/// FAULTS.md rows 4, 5 and 20.
#[test]
fn truncated_encrypted_answer_gets_502() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let whole = ok_chat("cut");
    let (half, polite) = (whole[..whole.len() / 2].to_owned(), [false, true]);
    for (bytes, polite) in ["", half.as_str()].iter().flat_map(|bytes| polite.map(|polite| (*bytes, polite))) {
        let bytes = bytes.to_owned();
        let recording = Recording::default();
        let upstream = tls_upstream(&config, &recording, move |tls| {
            tls.request();
            tls.write(&bytes);
            if polite {
                tls.send_close_notify();
            }
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 3 }));
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(chat_request()).answer(), BAD_GATEWAY);
        assert_next_is_answered(&mut caller);
        assert_eq!(recording.requests().len(), 2, "nothing was retried");
    }
}

/// FAULTS.md rows 6 and 20.
#[test]
fn truncated_encrypted_stream_ends_with_an_error_event() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for polite in [false, true] {
        let upstream = tls_upstream(&config, &Recording::default(), move |tls| {
            tls.request();
            tls.write(format!("{STREAM_HEAD}{}", in_chunk(delta("one") + "data: {\"par")));
            if polite {
                tls.send_close_notify();
            }
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({}));
        let answer = gateway.ask(post_stream("gpt-4o", "hello?"));
        let events = answer.events();
        assert_eq!(events.len(), 2, "{events:?}");
        assert_eq!(format!("data: {}\n\n", events[0]), delta("one"));
        let error: Value = serde_json::from_str(&events[1]).expect("JSON in the error event");
        assert_eq!(error["error"]["code"], "provider_error");
        assert_next_is_answered(&mut gateway.connect());
    }
}

/// FAULTS.md rows 3, 7 and 20.
#[test]
fn silent_encrypted_provider_gets_504() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for sent in ["", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"] {
        let upstream = tls_upstream(&config, &Recording::default(), move |tls| {
            tls.request();
            tls.write(sent);
            assert!(tls.request().is_none());
        });
        let gateway = authority
            .start_gateway(https_url(&upstream), json!({ "timeout": "300ms", "stream_idle_timeout": "300ms" }));
        let mut caller = gateway.connect();
        assert_refusal(&caller.send(chat_request()).answer(), GATEWAY_TIMEOUT);
        eventually("the connection is closed", || upstream.running() == 0);
        assert_next_is_answered(&mut caller);
    }
}

/// FAULTS.md rows 10 and 20.
#[test]
fn closed_idle_encrypted_connection_is_replaced_unnoticed() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    for polite in [false, true] {
        let recording = Recording::default();
        let upstream = tls_upstream(&config, &recording, move |tls| {
            tls.request();
            tls.write(ok_chat("well"));
            tls.request();
            if polite {
                tls.send_close_notify();
            }
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 0 }));
        let mut caller = gateway.connect();
        for _ in 0..3 {
            assert_next_is_answered(&mut caller);
        }
        assert_eq!((upstream.connections(), recording.requests().len()), (2, 4));
    }
}

/// FAULTS.md rows 12 and 20.
#[test]
fn bytes_after_an_encrypted_answer_never_reach_the_next_caller() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    // Some are the size of a read or of a TLS record, so that the bytes after them wait in one of the buffers.
    for size in [400, 4 << 10, 8 << 10, 16 << 10, 64 << 10] {
        println!("after {size} bytes");
        let written = Gate::new();
        let has_written = written.clone();
        let upstream = tls_upstream(&config, &Recording::default(), move |tls| {
            tls.request();
            tls.write(format!("{}{}", ok_chat_of_size(size), ok_chat("another-caller's-canary")));
            has_written.permit();
            assert!(tls.request().is_none(), "the connection was reused");
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 0 }));
        assert_eq!(gateway.ask(chat_request()).status, 200);
        written.wait();
        assert_next_is_answered(&mut gateway.connect());
        assert_eq!(upstream.connections(), 2);
    }
}

#[test]
fn long_encrypted_bodies_pass_whole() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let recording = Recording::default();
    let text = "l".repeat(3 << 20);
    let scripted = text.clone();
    let upstream = tls_upstream(&config, &recording, move |tls| {
        while tls.request().is_some() {
            tls.write(ok_chat(&scripted));
        }
    });
    let gateway = authority.start_gateway(https_url(&upstream), json!({}));
    let body = chat("gpt-4o", &"x".repeat(5 << 20));
    for _ in 0..2 {
        let answer = gateway.ask(post(CHAT, &body));
        assert!(answer.content() == text, "{} bytes arrived", answer.body.len());
    }
    assert!(recording.requests().iter().all(|request| *request == body));
    assert_eq!(upstream.connections(), 1);
}

/// FAULTS.md rows 14 and 20.
#[test]
fn slow_encrypted_provider_gets_a_long_request_whole() {
    let authority = Authority::new();
    let recording = Recording::default();
    // After the handshake, TLS 1.3 sends tickets: bytes that the gateway can read and that are no answer.
    let upstream = tls_upstream(&authority.server(|_| {}), &recording, |tls| {
        tls.read_first_byte();
        std::thread::sleep(Duration::from_millis(400));
        tls.answer_every_request();
    });
    let gateway = authority.start_gateway(https_url(&upstream), json!({ "retries": 0 }));
    let body = chat("gpt-4o", &"x".repeat(5 << 20));
    let answer = gateway.ask(post(CHAT, &body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(recording.requests() == [body]);
}

/// FAULTS.md rows 20 and 22.
#[test]
fn leaving_cancels_an_encrypted_request() {
    let authority = Authority::new();
    let config = authority.server(|_| {});
    let streaming = format!("{STREAM_HEAD}{}", in_chunk(delta("one")));
    for sent in [String::new(), streaming] {
        let recording = Recording::default();
        let upstream = tls_upstream(&config, &recording, move |tls| {
            tls.request();
            tls.write(&sent);
            assert!(tls.request().is_none());
        });
        let gateway = authority.start_gateway(https_url(&upstream), json!({}));
        let mut caller = gateway.connect();
        caller.send(post_stream("gpt-4o", "hello?"));
        eventually("the provider has the request", || recording.requests().len() == 1);
        drop(caller);
        eventually("the provider's connection is closed", || upstream.running() == 0);
        assert_next_is_answered(&mut gateway.connect());
    }
}

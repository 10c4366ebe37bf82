use super::*;
use crate::seeded::Seeded;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 100 };

fn scan(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    HeadScan::default().advance(bytes, &LIMITS)
}

/// Measures the head and then parses it, as a connection does.
fn read(bytes: &[u8]) -> Result<RequestHead<'_>, HeadError> {
    let length = scan(bytes)?.ok_or(HeadError::Incomplete)?;
    request(&bytes[..length], &LIMITS)
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes()
}

fn assert_refused(message: impl AsRef<[u8]>, fault: HeadError) {
    let message = message.as_ref();
    assert_eq!(read(message).map(|_| ()), Err(fault), "{}", message.escape_ascii());
}

#[test]
fn openai_sdk_request_is_parsed_in_full() {
    let head = b"POST /v1/chat/completions?a=b?c HTTP/1.1\r\nHost: localhost:8080\r\nCONTENT-LENGTH: 17\r\n\
        authorization:Bearer sk-x\r\nX-Luner-User: \t ann \t \r\nX-Empty:\r\nX-Obs: \xff\xfe\r\n\r\n";
    let request = read(head).unwrap();
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.path(), "/v1/chat/completions");
    assert_eq!(request.query(), Some("a=b?c"));
    assert_eq!(request.version, Version::Http11);
    assert_eq!(request.framing, Framing::Length(17));
    assert!(request.keep_alive && !request.upgrade);
    assert_eq!(request.expect, Expect::None);
    assert_eq!(request.first(KnownHeader::Authorization), Some(b"Bearer sk-x".as_slice()));
    assert_eq!(request.first(KnownHeader::LunerUser), Some(b"ann".as_slice()));
    assert_eq!(request.first(KnownHeader::Cookie), None);
    let values: Vec<&[u8]> = request.headers().map(|header| header.value).collect();
    assert_eq!(&values[4..], [b"".as_slice(), b"\xff\xfe"]);
}

#[test]
fn many_headers_keep_their_order() {
    for count in [31, 32, 33, 99] {
        let lines: String = (1..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        let bytes = get(&lines);
        let request = read(&bytes).unwrap();
        let names: Vec<&str> = request.headers().map(|header| header.name).collect();
        assert_eq!(names.len(), count);
        assert_eq!(names[count - 1], format!("x-{}", count - 1));
        assert_eq!(request.first(KnownHeader::Host), Some(b"a".as_slice()));
    }
}

#[test]
fn malformed_lines_are_refused() {
    use HeadError::*;
    for (message, fault) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLineFeed),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\r\n\r\n", BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n", NulByte),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", NulByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x07c\r\n\r\n", HeaderValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x7f\r\n\r\n", HeaderValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: \x0b\r\n\r\n", HeaderValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", FoldedHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\t\r\n\r\n", FoldedHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\t: b\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n", HeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nA@: c\r\n\r\n", HeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nÄ: c\r\n\r\n", HeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: c\r\n\r\n", EmptyHeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", HeaderWithoutColon),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", SpaceBeforeFirstHeader),
        ("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", SpaceBeforeFirstHeader),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EmptyLinesBeforeStart),
    ] {
        assert_refused(message, fault);
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    use HeadError::*;
    for (line, fault) in [
        ("GET  / HTTP/1.1", RequestLine),
        ("GET /  HTTP/1.1", RequestLine),
        ("GET / HTTP/1.1 ", RequestLine),
        ("GET\t/\tHTTP/1.1", RequestLine),
        (" GET / HTTP/1.1", RequestLine),
        ("GET /", RequestLine),
        ("GET", RequestLine),
        ("G@T / HTTP/1.1", RequestLine),
        ("HTTP/1.1 200 OK", RequestLine),
        ("GET / HTTP/1.2", Version),
        ("GET / HTTP/2.0", Version),
        ("GET / HTTP/0.9", Version),
        ("PRI * HTTP/2.0", Version),
        ("GET / http/1.1", RequestLine),
        ("GET / HTTP/11", RequestLine),
        ("GET / HTTP/1.10", RequestLine),
        ("GET / ICE/1.0", RequestLine),
        ("CONNECT a:80 HTTP/1.1", Connect),
        ("CONNECT / HTTP/1.1", Connect),
        ("OPTIONS * HTTP/1.1", TargetAsterisk),
        ("GET http://a/ HTTP/1.1", TargetAbsolute),
        ("GET a:80 HTTP/1.1", TargetAuthority),
        ("GET v1/models HTTP/1.1", TargetForm),
        ("GET ?a HTTP/1.1", TargetForm),
        ("GET /a#b HTTP/1.1", TargetFragment),
        ("GET /ä HTTP/1.1", TargetBytes),
        ("GET /\x7f HTTP/1.1", TargetBytes),
        ("GET /\x01 HTTP/1.1", TargetBytes),
        ("GET /a\tb HTTP/1.1", TargetBytes),
    ] {
        assert_refused(format!("{line}\r\nHost: a\r\n\r\n"), fault);
    }
    assert_refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", TargetBytes);
}

#[test]
fn expectations_and_upgrades_are_reported() {
    let expect = |headers| read(&get(headers)).unwrap().expect;
    assert_eq!(expect("Expect: 100-Continue\r\n"), Expect::Continue);
    assert_eq!(expect("Expect: 200-ok\r\n"), Expect::Other);
    assert_eq!(expect("Expect: 200-ok\r\nExpect: 100-continue\r\n"), Expect::Other);
    assert_eq!(expect("Expect: 100-continue, x\r\n"), Expect::Other);
    let old = read(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(old.expect, Expect::None);
    assert!(read(&get("Connection: upgrade\r\nUpgrade: websocket\r\n")).unwrap().upgrade);
}

#[test]
fn unknown_methods_are_refused_and_methods_are_case_sensitive() {
    for method in ["get", "MKCOLA", "PROPFIND", "X"] {
        let message = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(read(message.as_bytes()).unwrap_err(), HeadError::UnknownMethod, "{method}");
    }
    assert_eq!(read(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err(), HeadError::Connect);
    for method in [Method::Get, Method::Head, Method::Delete, Method::Options, Method::Trace, Method::Patch] {
        assert_eq!(Method::parse(method.as_str()), Ok(method));
    }
}

#[test]
fn random_heads_never_panic_and_accepted_ones_are_valid() {
    let alphabet: [&[u8]; 26] = [
        b"GET ",
        b"POST ",
        b"/",
        b"/v1/x?y ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"Host",
        b": ",
        b":",
        b"a",
        b"Content-Length: ",
        b"5",
        b",",
        b"Transfer-Encoding: ",
        b"chunked",
        b" ",
        b"\t",
        b"\xff",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ];
    let mut seeded = Seeded::new(8);
    let mut passed = 0;
    for _ in 0..60_000 {
        let bytes = seeded.soup(&alphabet, 14);
        // Bytes that no scan has measured must not panic either.
        let _ = request(&bytes, &LIMITS);
        let _ = response(&bytes, &LIMITS, Method::Get);
        let Ok(Some(length)) = scan(&bytes) else {
            continue;
        };
        if let Ok(head) = request(&bytes[..length], &LIMITS) {
            passed += 1;
            assert!(head.target.starts_with('/') && head.target.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(head.framing != Framing::UntilClose);
            for header in head.headers() {
                assert!(!header.name.is_empty() && !header.name.contains([' ', '\t', ':']));
                assert!(header.value.iter().all(|byte| *byte >= b' ' || *byte == b'\t'));
            }
        }
        let _ = response(&bytes[..length], &LIMITS, Method::Head);
    }
    assert!(passed > 100, "too few random heads are valid: {passed}");
}

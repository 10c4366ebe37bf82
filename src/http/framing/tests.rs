use super::super::head::{Framing, HeadError, HeadLimits, HeadScan, RequestHead, request};

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
fn ambiguous_host_is_refused() {
    use HeadError::*;
    assert_refused("GET / HTTP/1.1\r\n\r\n", HostMissing);
    assert_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HostTwice);
    assert_refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", HostTwice);
    assert_refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", HostEmpty);
    for host in [
        "a/b?x",
        "user@a",
        "a b",
        "a:b",
        "a:80:80",
        ":80",
        "a:123456",
        "a#b",
        "a\\b",
        "ä",
        "a%2",
        "a%zz",
        "[::1",
        "[::1]x",
        "[1.2.3.4]",
        "[]",
        "::1",
        "a\"b",
        "<a>",
        "a, b",
        "[fe80::1%25eth0]",
    ] {
        assert_refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), HostInvalid);
    }
    for host in ["a", "a:", "a:80", "127.0.0.1:8080", "[::1]:8080", "[::]", "my_service.x-y~z", "a%2Fb", "0.0.0.0=5000"]
    {
        let message = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(read(message.as_bytes()).is_ok(), "{host}");
    }
    assert!(read(b"GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn ambiguous_framing_is_refused() {
    use HeadError::*;
    for (headers, fault) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LengthAndTransferEncoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", LengthsDiffer),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", LengthTwice),
        ("Content-Length: 5, 5\r\n", LengthList),
        ("Content-Length: 5,\r\n", LengthList),
        ("Content-Length:\r\n", LengthEmpty),
        ("Content-Length: +5\r\n", LengthNotDigits),
        ("Content-Length: -5\r\n", LengthNotDigits),
        ("Content-Length: 0x5\r\n", LengthNotDigits),
        ("Content-Length: 5 5\r\n", LengthNotDigits),
        ("Content-Length: 5.0\r\n", LengthNotDigits),
        ("Content-Length: \"5\"\r\n", LengthNotDigits),
        ("Content-Length: 18446744073709551616\r\n", LengthOverflow),
        ("Content-Length: 99999999999999999999999999\r\n", LengthOverflow),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", TransferEncodingTwice),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferEncodingTwice),
        ("Transfer-Encoding: xchunked\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: chunkedx\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: chunked, gzip\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: chunked,\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: chunked;a=b\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: identity\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding:\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", TransferEncodingUnknown),
        ("Transfer-Encoding: chunk\x0bed\r\n", HeaderValue),
        ("Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
    ] {
        assert_refused(get(headers), fault);
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused(old, TransferEncodingOnHttp10);
    let framing = |headers| read(&get(headers)).unwrap().framing;
    assert_eq!(framing(""), Framing::Empty);
    assert_eq!(framing("Content-Length: 00\r\n"), Framing::Length(0));
    assert_eq!(framing("Content-Length: 18446744073709551615\r\n"), Framing::Length(u64::MAX));
    assert_eq!(framing("Transfer-Encoding: \tChUnKeD \r\n"), Framing::Chunked);
}

#[test]
fn version_and_connection_header_decide_keep_alive() {
    for (version, headers, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: x ,\tCLOSE\r\n", false),
        ("1.1", "Connection: closed, x-close\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let message = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n");
        assert_eq!(read(message.as_bytes()).unwrap().keep_alive, keep_alive, "{message}");
    }
}

#[test]
fn headers_listed_in_connection_are_found() {
    let bytes = get("Connection: x-a, Authorization\r\nConnection: ,x-b\r\n");
    let request = read(&bytes).unwrap();
    for (name, listed) in [("X-A", true), ("authorization", true), ("x-b", true), ("x", false), ("x-c", false)] {
        assert_eq!(request.headers.connection_lists(name), listed, "{name}");
    }
}

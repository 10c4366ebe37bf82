use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 100 };

/// Measures the head and then parses it, as a connection does.
fn read_response(bytes: &[u8], request_method: Method) -> Result<ResponseHead<'_>, HeadError> {
    let length = HeadScan::default().advance(bytes, &LIMITS)?.ok_or(HeadError::Incomplete)?;
    response(&bytes[..length], &LIMITS, request_method)
}

fn assert_framed(head: &str, request_method: Method, framing: Framing, keep_alive: bool) {
    let message = format!("{head}\r\n");
    let response = read_response(message.as_bytes(), request_method).unwrap();
    assert_eq!((response.framing, response.keep_alive), (framing, keep_alive), "{head}");
}

#[test]
fn response_framing_follows_the_headers() {
    use Framing::*;
    for (head, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Length(5), true),
        ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n", Chunked, true),
        ("HTTP/1.1 200 \r\n", UntilClose, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", Length(5), false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n", Length(5), true),
        ("HTTP/1.1 599 ä\r\nContent-Length: 0\r\nConnection: close\r\n", Length(0), false),
    ] {
        assert_framed(head, Method::Post, framing, keep_alive);
    }
}

#[test]
fn certain_responses_have_no_body_whatever_their_headers_say() {
    for (head, request_method, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Method::Head, true),
        ("HTTP/1.1 200 OK\r\n", Method::Head, true),
        ("HTTP/1.1 100 Continue\r\n", Method::Post, true),
        ("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n", Method::Post, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n", Method::Get, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", Method::Post, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", Method::Post, false),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", Method::Post, false),
    ] {
        assert_framed(head, request_method, Framing::Empty, keep_alive);
    }
    let head = read_response(b"HTTP/1.1 103 Early Hints\r\n\r\n", Method::Post).unwrap();
    assert_eq!((head.status, head.version), (103, Version::Http11));
}

#[test]
fn malformed_and_ambiguous_responses_are_refused() {
    use HeadError::*;
    for (head, fault) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", LengthAndTransferEncoding),
        ("HTTP/1.1 304 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", LengthAndTransferEncoding),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", LengthTwice),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7", LengthsDiffer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5", LengthList),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", TransferEncodingUnknown),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked", TransferEncodingTwice),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", TransferEncodingOnHttp10),
        ("HTTP/1.1 099 OK", StatusRange),
        ("HTTP/1.1 600 OK", StatusRange),
        ("HTTP/1.1 20 OK", StatusLine),
        ("HTTP/1.1 2000 OK", StatusLine),
        ("HTTP/1.1 2x0 OK", StatusLine),
        ("HTTP/1.1  200 OK", StatusLine),
        ("HTTP/1.1 200 O\x01K", StatusLine),
        ("HTTP/2 200", StatusLine),
        ("HTTP/2.0 200 OK", Version),
        ("HTTP/0.9 200 OK", Version),
        ("ICY 200 OK", StatusLine),
        ("<html>", StatusLine),
        ("\r\nHTTP/1.1 200 OK", StatusLine),
        ("HTTP/1.1 200 OK\r\n Folded: x", SpaceBeforeFirstHeader),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c", FoldedHeader),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5", SpaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nA: b\nC: d", BareLineFeed),
        ("HTTP/1.1 200 OK\nA: b", BareLineFeed),
        ("HTTP/1.1 200 OK\r\nA: b\0", NulByte),
    ] {
        let message = format!("{head}\r\n\r\n");
        assert_eq!(read_response(message.as_bytes(), Method::Get).map(|_| ()), Err(fault), "{head}");
    }
}

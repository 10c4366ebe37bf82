use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 100 };

fn scan(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    HeadScan::default().advance(bytes, &LIMITS)
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes()
}

#[test]
fn leading_empty_line_counts_as_part_of_the_head() {
    let message = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
    assert_eq!(scan(message), Ok(Some(message.len() - 4)));
}

#[test]
fn head_length_is_the_same_at_every_split() {
    for message in [
        get("A: b\r\nC: d\r\n"),
        [b"\r\n".as_slice(), &get("A: b\r\n"), b"\r\n\0\n"].concat(),
        b"GET / HTTP/1.1\r\nA: b\n\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nA: b\r\rx\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nA: \0\n\r\n\r\n".to_vec(),
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![b'x'; 5000],
        "a: b\r\n".repeat(200).into_bytes(),
    ] {
        let whole = scan(&message);
        for first in 0..=message.len() {
            let mut halves = HeadScan::default();
            let answer = match halves.advance(&message[..first], &LIMITS) {
                Ok(None) => halves.advance(&message, &LIMITS),
                early => early,
            };
            assert_eq!(answer, whole, "{} at {first}", message.escape_ascii());
        }
        let mut bytewise = HeadScan::default();
        let mut answers = (0..=message.len()).map(|end| bytewise.advance(&message[..end], &LIMITS));
        assert_eq!(answers.find(|answer| *answer != Ok(None)).unwrap_or(Ok(None)), whole);
    }
}

#[test]
fn head_over_a_limit_is_refused_at_once() {
    let limits = HeadLimits { head_bytes: 64, headers: 3 };
    let refused = |bytes: &[u8]| HeadScan::default().advance(bytes, &limits).unwrap_err();
    assert_eq!(refused(&[b'a'; 64]), HeadError::HeadTooLarge);
    assert!(HeadScan::default().advance(&[b'a'; 63], &limits).is_ok());
    assert_eq!(refused(b"G\r\na:\r\nb:\r\nc:\r\nd:\r\n"), HeadError::TooManyHeaders);
    let fits = [b"G\r\na:\r\nb:\r\nc:\r\n\r\n".as_slice(), &[b'x'; 100]].concat();
    assert_eq!(HeadScan::default().advance(&fits, &limits), Ok(Some(17)));
    assert!(HeadError::HeadTooLarge.is_too_large() && HeadError::TooManyHeaders.is_too_large());
    assert!(!HeadError::NulByte.is_too_large());
    let exact = get(&format!("A: {}\r\n", "x".repeat(30)));
    let limits = |head_bytes| HeadLimits { head_bytes, headers: 100 };
    assert_eq!(HeadScan::default().advance(&exact, &limits(exact.len())), Ok(Some(exact.len())));
    assert!(HeadScan::default().advance(&exact, &limits(exact.len() - 1)).is_err());
}

#[test]
fn head_of_a_mebibyte_byte_by_byte_takes_linear_time() {
    let limits = HeadLimits { head_bytes: 2 << 20, headers: HEADERS_MAX };
    let message = get(&format!("A: {}\r\n", "x".repeat(1 << 20)));
    let mut bytewise = HeadScan::default();
    let found = (0..=message.len()).find_map(|end| bytewise.advance(&message[..end], &limits).unwrap());
    assert_eq!(found, Some(message.len()));
}

#[test]
fn reset_scan_serves_the_next_message() {
    let message = get("");
    let mut scan = HeadScan::default();
    for _ in 0..3 {
        assert_eq!(scan.advance(&message, &LIMITS), Ok(Some(message.len())));
        scan.reset();
    }
}

#[test]
fn first_bytes_reveal_what_is_not_an_http1_response() {
    for start in ["", "H", "HTTP/1.", "HTTP/1.1 200", "HTTP/1.0 404 Not Found\r\n", "HTTP/1.1 200\r\n"] {
        assert!(plausible_response_start(start.as_bytes()), "{start}");
    }
    for start in [
        "<",
        "HTTP/2",
        "HTTP/1.2",
        "HTTP/1.1x",
        "HTTP/1.1 0",
        "HTTP/1.1 6",
        "HTTP/1.1 20x",
        "HTTP/1.1 2000",
        "\r\n",
        "PRI * HTTP/2.0",
    ] {
        assert!(!plausible_response_start(start.as_bytes()), "{start}");
    }
    assert!(!plausible_response_start(b"\0\0\x12\x04\0\0\0\0\0")); // an HTTP/2 SETTINGS frame
    assert!(!plausible_response_start(b"\x15\x03\x01\0\x02\x02\x46")); // a TLS alert
}

//! Answers that are not HTTP/1 or whose end is ambiguous, and rare forms that are correct (FAULTS.md rows 8, 9 and 11
//! to 13).

use serde_json::json;

use crate::support::upstream_cases::*;
use crate::support::*;

/// FAULTS.md row 8.
#[test]
fn answer_that_is_not_http_1_gets_502() {
    let body = completion("no");
    let after = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let odd = |line: &str| format!("{line}\r\n{after}");
    let cases = [
        case("garbage", "\x00\x01\x02\u{7f}garbage\r\n\r\n", Ending::Hold),
        case("a text status", odd("HTTP/1.1 OK 200"), Ending::Hold),
        case("a status of two digits", odd("HTTP/1.1 20 OK"), Ending::Hold),
        case("a status of four digits", odd("HTTP/1.1 2000 OK"), Ending::Hold),
        case("status 999", odd("HTTP/1.1 999 What"), Ending::Hold),
        case("status 000", odd("HTTP/1.1 000 What"), Ending::Hold),
        case("a negative status", odd("HTTP/1.1 -20 OK"), Ending::Hold),
        case("lower case", odd("http/1.1 200 OK"), Ending::Hold),
        case("no version", odd("HTTP 200 OK"), Ending::Hold),
        case("version 2.0", odd("HTTP/2.0 200 OK"), Ending::Hold),
        case("version 1.2", odd("HTTP/1.2 200 OK"), Ending::Hold),
        case("another protocol", odd("ICY 200 OK"), Ending::Hold),
        case("an empty line first", odd("\r\nHTTP/1.1 200 OK"), Ending::Hold),
        case("HTTP/0.9", body.clone(), Ending::Close),
        case("HTML without a head", "<html><body>It works!</body></html>", Ending::Hold),
        case("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Ending::Hold),
        case("HTTP/2's settings", [0, 0, 0, 4, 0, 0, 0, 0, 0].to_vec(), Ending::Hold),
        case("a TLS alert", [21, 3, 1, 0, 2, 2, 22].to_vec(), Ending::Hold),
        case("bare line feeds", odd("HTTP/1.1 200 OK").replace("\r\n", "\n"), Ending::Hold),
        case("a bare carriage return", odd("HTTP/1.1 200 OK\rX-A: b"), Ending::Hold),
        case("a NUL", odd("HTTP/1.1 200 OK\r\nX-A: b\0c"), Ending::Hold),
        case("a folded header", odd("HTTP/1.1 200 OK\r\nX-A: b\r\n c"), Ending::Hold),
        case("a header without a colon", odd("HTTP/1.1 200 OK\r\nnonsense"), Ending::Hold),
        case("a space before the colon", odd("HTTP/1.1 200 OK\r\nX-A : b"), Ending::Hold),
        case("an unrequested protocol switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Ending::Hold),
        case("interim answers without end", "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000), Ending::Hold),
    ];
    assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
}

/// FAULTS.md row 9.
#[test]
fn oversized_head_gets_502_in_bounded_memory() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    let many: String = (0..10_000).map(|n| format!("X-H{n}: {n}\r\n")).collect();
    let cases = [
        case("a header of 1 MiB", format!("{head}X-Huge: {}\r\n\r\n", "h".repeat(1 << 20)), Ending::Hold),
        case("10,000 headers", format!("{head}{many}\r\n"), Ending::Hold),
        case("a header name of 65,536 bytes", format!("{head}{}: 1\r\n\r\n", "n".repeat(65_536)), Ending::Hold),
        case("a reason of 1 MiB", format!("HTTP/1.1 200 {}\r\n\r\n", "r".repeat(1 << 20)), Ending::Hold),
        case("a head that never ends", format!("{head}{}", "X-A: b\r\n".repeat(100_000)), Ending::Hold),
    ];
    let gateway = assert_each_is_refused(json!({}), &cases, &chat_request(), BAD_GATEWAY);
    let upstream = upstream_with_cases(&cases);
    let base = start_in_front_of(&upstream).rss_bytes();
    let peak = peak_rss_bytes(&gateway);
    assert!(peak < base + (16 << 20), "{peak} bytes at most, {base} when fresh");
}

/// FAULTS.md row 11.
#[test]
fn malformed_chunks_get_502_and_the_connection_is_not_reused() {
    let body = completion("no");
    let size = body.len();
    let chunked = |chunks: &str| ok_json_with("Transfer-Encoding: chunked\r\n", chunks);
    let good = in_chunk(&body);
    let cases = [
        case("a size that is not hexadecimal", chunked("xyz\r\n"), Ending::Hold),
        case("an empty size", chunked(&format!("\r\n{good}0\r\n\r\n")), Ending::Hold),
        case("a size of 2^64-1", chunked(&format!("ffffffffffffffff\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a size of 2^64", chunked(&format!("10000000000000000\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a negative size", chunked(&format!("-1\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a signed size", chunked(&format!("+{size:x}\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a size with 0x", chunked(&format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a space before the size", chunked(&format!(" {size:x}\r\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a bare line feed after the size", chunked(&format!("{size:x}\n{body}\r\n0\r\n\r\n")), Ending::Hold),
        case("a bare line feed after the data", chunked(&format!("{size:x}\r\n{body}\n0\r\n\r\n")), Ending::Hold),
        case("a size that is too small", chunked(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", size - 1)), Ending::Hold),
        case("a malformed trailer", chunked(&format!("{good}0\r\nnonsense\r\n\r\n")), Ending::Hold),
        case("an extension of 1 MiB", chunked(&format!("1;{}\r\n", "x".repeat(1 << 20))), Ending::Hold),
        case("a trailer of 1 MiB", chunked(&format!("{good}0\r\nX: {}\r\n\r\n", "x".repeat(1 << 20))), Ending::Hold),
    ];
    assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
}

/// FAULTS.md row 12.
#[test]
fn conflicting_lengths_get_502() {
    let body = completion("no");
    let size = body.len();
    let chunks = format!("{}0\r\n\r\n", in_chunk(&body));
    let cases = [
        case(
            "two lengths",
            ok_json_with(&format!("Content-Length: {size}\r\nContent-Length: {}\r\n", size + 1), &body),
            Ending::Hold,
        ),
        case(
            "two lengths in one header",
            ok_json_with(&format!("Content-Length: {size}, {}\r\n", size + 1), &body),
            Ending::Hold,
        ),
        case(
            "length and chunks",
            ok_json_with(&format!("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n"), &chunks),
            Ending::Hold,
        ),
        case(
            "chunks and length",
            ok_json_with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", &chunks),
            Ending::Hold,
        ),
        case("an unknown coding", ok_json_with("Transfer-Encoding: gzip, chunked\r\n", &chunks), Ending::Hold),
        case("a length that is not a number", ok_json_with("Content-Length: many\r\n", &body), Ending::Hold),
        case("a negative length", ok_json_with("Content-Length: -1\r\n", &body), Ending::Hold),
        case("a length of 2^64", ok_json_with("Content-Length: 18446744073709551616\r\n", &body), Ending::Hold),
    ];
    assert_each_is_refused(json!({ "retries": 3 }), &cases, &chat_request(), BAD_GATEWAY);
}

/// FAULTS.md row 13.
#[test]
fn rare_but_correct_answers_are_understood() {
    let body = completion("well");
    let size = body.len();
    let (one, two) = body.split_at(size / 2);
    let answers = [
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok_chat("well")),
        ok_json_with("Transfer-Encoding: chunked\r\n", &format!("{}{}0\r\n\r\n", in_chunk(one), in_chunk(two))),
        ok_json_with(
            "transfer-encoding: Chunked\r\nTrailer: X-Sum\r\n",
            &format!("{size:X};a;b=c;d=\"e;f\"\r\n{body}\r\n000;last\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
        ),
        format!("HTTP/1.1 200\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{body}"),
        format!("HTTP/1.1 200 OK\r\ncontent-type:application/json\r\nCONTENT-LENGTH:\t{size} \r\n\r\n{body}"),
        format!("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: {size}\r\n\r\n{body}"),
    ];
    let count = answers.len();
    let upstream = Upstream::script(move |conn| {
        for answer in &answers {
            conn.request();
            conn.write(answer);
        }
        conn.hold();
    });
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    for number in 0..count {
        println!("answer {number}");
        let answer = caller.send(chat_request()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        assert_eq!(answer.header("trailer"), None, "luner forwards no trailers");
        assert_eq!(answer.header("x-sum"), None);
    }
    assert_eq!(upstream.connections(), 1, "each answer leaves the connection usable");
}

/// FAULTS.md row 13.
#[test]
fn answer_that_ends_with_its_connection_passes_with_a_length() {
    let body = completion("well");
    let cases = [
        case("HTTP/1.1", ok_json_with("", &body), Ending::Close),
        case("HTTP/1.1 that says keep-alive", ok_json_with("Connection: keep-alive\r\n", &body), Ending::Close),
        case("HTTP/1.0", format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}"), Ending::Close),
    ];
    let upstream = upstream_with_cases(&cases);
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    for case in &cases {
        println!("case: {}", case.name);
        let answer = caller.send(chat_request()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
        assert_next_is_answered(&mut caller);
    }
}

/// FAULTS.md row 13.
#[test]
fn answer_204_passes_without_a_body() {
    // A 204 with a body is included: the body must not be taken for the next answer.
    let cases = [
        case("204", "HTTP/1.1 204 No Content\r\n\r\n", Ending::Close),
        case("204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Ending::Close),
        case("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Ending::Hold),
        case("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Ending::Hold),
        case("204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Ending::Hold),
    ];
    let upstream = upstream_with_cases(&cases);
    let gateway = start_in_front_of(&upstream);
    let mut caller = gateway.connect();
    for case in &cases {
        println!("case: {}", case.name);
        let answer = caller.send(chat_request()).answer();
        assert_eq!((answer.status, answer.text()), (204, ""));
        // RFC 9110 section 8.6: a server must not send it with a 204.
        assert_eq!(answer.header("content-length"), None, "in {:?}", answer.headers);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_next_is_answered(&mut caller);
    }
}

/// FAULTS.md row 13.
#[test]
fn unrequested_304_gets_502() {
    let cases = [
        case("304", "HTTP/1.1 304 Not Modified\r\n\r\n", Ending::Close),
        case("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", Ending::Close),
    ];
    assert_each_is_refused(json!({}), &cases, &chat_request(), BAD_GATEWAY);
}

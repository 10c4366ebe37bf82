//! Answers that are no HTTP/1, or end where they should not, and rare forms that are correct.

use crate::support::upstream_cases::*;
use crate::support::*;

// 8
#[test]
fn what_is_not_http_1_is_a_502() {
    let body = completion("no");
    let after = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let odd = |line: &str| format!("{line}\r\n{after}");
    let scenes = [
        scene("garbage", "\x00\x01\x02\u{7f}garbage\r\n\r\n", End::Hold),
        scene("a text status", odd("HTTP/1.1 OK 200"), End::Hold),
        scene("a status of two digits", odd("HTTP/1.1 20 OK"), End::Hold),
        scene("a status of four digits", odd("HTTP/1.1 2000 OK"), End::Hold),
        scene("status 999", odd("HTTP/1.1 999 What"), End::Hold),
        scene("status 000", odd("HTTP/1.1 000 What"), End::Hold),
        scene("a negative status", odd("HTTP/1.1 -20 OK"), End::Hold),
        scene("lower case", odd("http/1.1 200 OK"), End::Hold),
        scene("no version", odd("HTTP 200 OK"), End::Hold),
        scene("version 2.0", odd("HTTP/2.0 200 OK"), End::Hold),
        scene("version 1.2", odd("HTTP/1.2 200 OK"), End::Hold),
        scene("another protocol", odd("ICY 200 OK"), End::Hold),
        scene("an empty line first", odd("\r\nHTTP/1.1 200 OK"), End::Hold),
        scene("HTTP/0.9", body.clone(), End::Fin),
        scene("HTML without a head", "<html><body>It works!</body></html>", End::Hold),
        scene("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", End::Hold),
        scene("HTTP/2's settings", [0, 0, 0, 4, 0, 0, 0, 0, 0].to_vec(), End::Hold),
        scene("a TLS alert", [21, 3, 1, 0, 2, 2, 22].to_vec(), End::Hold),
        scene("line feeds alone", odd("HTTP/1.1 200 OK").replace("\r\n", "\n"), End::Hold),
        scene("a carriage return alone", odd("HTTP/1.1 200 OK\rX-A: b"), End::Hold),
        scene("a NUL", odd("HTTP/1.1 200 OK\r\nX-A: b\0c"), End::Hold),
        scene("a folded header", odd("HTTP/1.1 200 OK\r\nX-A: b\r\n c"), End::Hold),
        scene("a header without a colon", odd("HTTP/1.1 200 OK\r\nnonsense"), End::Hold),
        scene("a space before the colon", odd("HTTP/1.1 200 OK\r\nX-A : b"), End::Hold),
        scene("a protocol nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", End::Hold),
        scene("interim answers without end", "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000), End::Hold),
    ];
    assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
}

// 9
#[test]
fn a_head_without_measure_is_a_502_in_bounded_memory() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    let many: String = (0..10_000).map(|n| format!("X-H{n}: {n}\r\n")).collect();
    let scenes = [
        scene("a header of 1 MiB", format!("{head}X-Huge: {}\r\n\r\n", "h".repeat(1 << 20)), End::Hold),
        scene("10,000 headers", format!("{head}{many}\r\n"), End::Hold),
        scene("a header name of 65,536 bytes", format!("{head}{}: 1\r\n\r\n", "n".repeat(65_536)), End::Hold),
        scene("a reason of 1 MiB", format!("HTTP/1.1 200 {}\r\n\r\n", "r".repeat(1 << 20)), End::Hold),
        scene("a head that never ends", format!("{head}{}", "X-A: b\r\n".repeat(100_000)), End::Hold),
    ];
    let gateway = assert_each_is_refused("", &scenes, &question(), BROKEN);
    let upstream = plays(&scenes);
    let base = crate::support::upstream_cases::gateway(&upstream, "").rss_bytes();
    let peak = rss_peak(&gateway);
    assert!(peak < base + (16 << 20), "{peak} bytes at most, {base} when fresh");
}

// 11
#[test]
fn chunks_that_are_none_are_a_502_and_the_connection_is_not_used_again() {
    let body = completion("no");
    let size = body.len();
    let chunked = |chunks: &str| ok_with("Transfer-Encoding: chunked\r\n", chunks);
    let good = in_chunk(&body);
    let scenes = [
        scene("a size that is not hexadecimal", chunked("xyz\r\n"), End::Hold),
        scene("an empty size", chunked(&format!("\r\n{good}0\r\n\r\n")), End::Hold),
        scene("a size of 2^64-1", chunked(&format!("ffffffffffffffff\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a size of 2^64", chunked(&format!("10000000000000000\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a negative size", chunked(&format!("-1\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a signed size", chunked(&format!("+{size:x}\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a size with 0x", chunked(&format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a space before the size", chunked(&format!(" {size:x}\r\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a bare line feed behind the size", chunked(&format!("{size:x}\n{body}\r\n0\r\n\r\n")), End::Hold),
        scene("a bare line feed behind the data", chunked(&format!("{size:x}\r\n{body}\n0\r\n\r\n")), End::Hold),
        scene("too small a size", chunked(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", size - 1)), End::Hold),
        scene("a trailer that is none", chunked(&format!("{good}0\r\nnonsense\r\n\r\n")), End::Hold),
        scene("extensions without measure", chunked(&format!("1;{}\r\n", "x".repeat(1 << 20))), End::Hold),
        scene(
            "trailers without measure",
            chunked(&format!("{good}0\r\nX: {}\r\n\r\n", "x".repeat(1 << 20))),
            End::Hold,
        ),
    ];
    assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
}

// 12
#[test]
fn an_answer_with_two_lengths_is_a_502() {
    let body = completion("no");
    let size = body.len();
    let chunks = format!("{}0\r\n\r\n", in_chunk(&body));
    let scenes = [
        scene("two", ok_with(&format!("Content-Length: {size}\r\nContent-Length: {}\r\n", size + 1), &body), End::Hold),
        scene("two in one", ok_with(&format!("Content-Length: {size}, {}\r\n", size + 1), &body), End::Hold),
        scene(
            "length and chunks",
            ok_with(&format!("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n"), &chunks),
            End::Hold,
        ),
        scene("chunks and length", ok_with("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", &chunks), End::Hold),
        scene("a coding nobody knows", ok_with("Transfer-Encoding: gzip, chunked\r\n", &chunks), End::Hold),
        scene("no number", ok_with("Content-Length: many\r\n", &body), End::Hold),
        scene("a negative one", ok_with("Content-Length: -1\r\n", &body), End::Hold),
        scene("2^64", ok_with("Content-Length: 18446744073709551616\r\n", &body), End::Hold),
    ];
    assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
}

// 13
#[test]
fn the_rarer_forms_of_a_correct_answer_are_understood() {
    let body = completion("well");
    let size = body.len();
    let (one, two) = body.split_at(size / 2);
    let answers = [
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok_chat("well")),
        ok_with("Transfer-Encoding: chunked\r\n", &format!("{}{}0\r\n\r\n", in_chunk(one), in_chunk(two))),
        ok_with(
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
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    for number in 0..count {
        println!("answer {number}");
        let answer = caller.send(question()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        assert_eq!(answer.header("trailer"), None, "no trailers follow");
        assert_eq!(answer.header("x-sum"), None);
    }
    assert_eq!(upstream.connections(), 1, "each of them left the connection in order");
}

// 13
#[test]
fn an_answer_that_ends_with_its_connection_is_passed_on_with_a_length() {
    let body = completion("well");
    let scenes = [
        scene("HTTP/1.1", ok_with("", &body), End::Fin),
        scene("HTTP/1.1 that says keep-alive", ok_with("Connection: keep-alive\r\n", &body), End::Fin),
        scene("HTTP/1.0", format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}"), End::Fin),
    ];
    let upstream = plays(&scenes);
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    for scene in &scenes {
        println!("scene: {}", scene.name);
        let answer = caller.send(question()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
        assert_goes_on(&mut caller);
    }
}

// 13
#[test]
fn an_answer_without_a_body_is_passed_on_without_one() {
    // A body all the same: it must not become the next answer.
    let scenes = [
        scene("204", "HTTP/1.1 204 No Content\r\n\r\n", End::Fin),
        scene("204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", End::Fin),
        scene("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", End::Hold),
        scene("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", End::Hold),
        scene("204 with chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", End::Hold),
    ];
    let upstream = plays(&scenes);
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    for scene in &scenes {
        println!("scene: {}", scene.name);
        let answer = caller.send(question()).answer();
        assert_eq!((answer.status, answer.text()), (204, ""));
        // RFC 9110 section 8.6: a server must not send it with a 204.
        assert_eq!(answer.header("content-length"), None, "in {:?}", answer.headers);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_goes_on(&mut caller);
    }
}

// 13
#[test]
fn a_304_that_nobody_asked_for_is_a_502() {
    let scenes = [
        scene("304", "HTTP/1.1 304 Not Modified\r\n\r\n", End::Fin),
        scene("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", End::Fin),
    ];
    assert_each_is_refused("", &scenes, &question(), BROKEN);
}

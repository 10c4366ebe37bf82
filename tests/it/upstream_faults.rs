//! Providers that fail a plain answer, at each point from the connection to the last byte: the caller gets the refusal
//! that is stated, and the next request works.

use std::time::Duration;

use crate::scenes::*;
use crate::support::*;

const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// A 200 with this body and these further header lines.
fn ok_with(headers: &str, body: &str) -> String {
    format!("{JSON_HEAD}{headers}\r\n{body}")
}

// 1
#[test]
fn a_refused_connection_is_tried_as_often_as_configured_and_then_502() {
    let (socket, address) = unheard();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], "retries: 2").start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(question()).answer(), BROKEN);
    eventually("three attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"unreachable\"", "provider=\"openai\""]) == 3.0
    });
    // The provider comes up.
    socket.listen(16).expect("it listens");
    let provider = std::thread::spawn(move || {
        let (stream, _) = std::net::TcpListener::from(socket).accept().expect("the gateway's connection");
        std::io::Write::write_all(&mut &stream, last(&completion("well")).as_bytes()).expect("it takes the answer");
        std::io::copy(&mut &stream, &mut std::io::sink())
    });
    assert_goes_on(&mut caller);
    provider.join().expect("the provider ends").expect("in order");
}

// 1
#[test]
fn a_refused_connection_is_not_tried_again_where_no_retries_are_configured() {
    let (_socket, address) = unheard();
    let url = format!("http://{address}");
    let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], "retries: 0").start();
    assert_refusal(&gateway.ask(question()), BROKEN);
    eventually("the refusal is counted", || gateway.metric("luner_requests_total", &["status=\"502\""]) == 1.0);
    assert_eq!(gateway.metric("luner_upstream_attempts_total", &[]), 1.0);
    assert_eq!(gateway.metric("luner_refusals_total", &["fault=\"provider\"", "code=\"provider_error\""]), 1.0);
}

// 2
#[test]
fn a_black_hole_is_a_504_and_nobody_elses_trouble() {
    let hole = BlackHole::new();
    let url = format!("http://{}", hole.address);
    let well = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider_with("hasty", &url, &["hasty"], "connect_timeout: 300ms")
        .provider_with("patient", &url, &["patient"], "connect_timeout: 60s")
        .provider("well", well.url(), &["gpt-4o"])
        .start();
    let mut waiting = gateway.connect();
    waiting.send(post_chat("patient", "hello?"));
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    let fds = gateway.open_fds();
    assert_refusal(&caller.send(post_chat("hasty", "hello?")).answer(), LATE);
    assert_goes_on(&mut caller);
    eventually("the half-open connection is closed", || gateway.open_fds() <= fds);
    assert!(waiting.is_quiet(), "whoever is patient still waits");
}

// 3
#[test]
fn a_provider_that_never_answers_is_a_504_and_its_connection_is_closed() {
    let scenes = [
        scene("not a byte", "", End::Hold),
        scene("half a head", "HTTP/1.1 200 OK\r\nContent-Ty", End::Hold),
        scene("an interim answer alone", "HTTP/1.1 100 Continue\r\n\r\n", End::Hold),
    ];
    let gateway = assert_each_is_refused("timeout: 300ms\nretries: 3", &scenes, &question(), LATE);
    eventually("the attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"timeout\""]) == 3.0
    });
}

// 3
#[test]
fn a_stream_that_never_begins_is_a_504() {
    let scenes = [scene("not a byte", "", End::Hold)];
    assert_each_is_refused("timeout: 300ms", &scenes, &post_stream("gpt-4o", "hello?"), LATE);
}

// 4
#[test]
fn a_fresh_connection_that_dies_before_the_answer_is_a_502_and_not_tried_again() {
    let scenes = [
        scene("reset before any byte", "", End::Rst),
        scene("closed before any byte", "", End::Fin),
        scene("reset in the head", "HTTP/1.1 200 OK\r\nConte", End::Rst),
        scene("closed in the head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", End::Fin),
        scene("closed behind an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n", End::Fin),
    ];
    assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
    assert_each_is_refused("retries: 3", &scenes, &post_stream("gpt-4o", "hello?"), BROKEN);
}

// 5
#[test]
fn a_body_cut_short_is_a_502_and_never_a_200() {
    let body = completion("cut");
    let half = &body[..body.len() / 2];
    let announced = ok_with(&format!("Content-Length: {}\r\n", body.len()), half);
    let chunked = ok_with("Transfer-Encoding: chunked\r\n", &in_chunk(half));
    // All of the payload is there, the last chunk is not.
    let endless = ok_with("Transfer-Encoding: chunked\r\n", &in_chunk(&body));
    let split = ok_with("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{half}", body.len()));
    let scenes = [
        scene("a length, closed", announced.clone(), End::Fin),
        scene("a length, reset", announced, End::Rst),
        scene("nothing of the length", ok_with("Content-Length: 9\r\n", ""), End::Fin),
        scene("chunks, closed", chunked.clone(), End::Fin),
        scene("chunks, reset", chunked, End::Rst),
        scene("no last chunk, closed", endless.clone(), End::Fin),
        scene("no last chunk, reset", endless, End::Rst),
        scene("in a chunk, closed", split.clone(), End::Fin),
        scene("in a chunk, reset", split, End::Rst),
        scene("up to the end, reset", ok_with("Connection: close\r\n", half), End::Rst),
    ];
    let gateway = assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
    eventually("each broken attempt is counted once", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"broken\""]) == scenes.len() as f64
    });
}

/// More than luner collects before it passes an answer on.
fn long_body(bytes: usize) -> String {
    let mut body = String::from("{\"object\":\"list\",\"data\":[");
    while body.len() < bytes {
        body.push_str("{\"object\":\"embedding\",\"embedding\":[0.0023064255,-0.009327292,-0.0028842222]},");
    }
    body.pop();
    body.push_str("],\"model\":\"m\",\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}");
    body
}

const LONG: usize = 2 << 20;

// 5
#[test]
fn a_long_body_passes_whole() {
    let body = long_body(LONG);
    let scenes = [
        scene("a length", ok_with(&format!("Content-Length: {}\r\n", body.len()), &body), End::Hold),
        scene("chunks", ok_with("Transfer-Encoding: chunked\r\n", &format!("{}0\r\n\r\n", in_chunk(&body))), End::Hold),
        scene("up to the end", ok_with("Connection: close\r\n", &body), End::Fin),
    ];
    for scene in scenes {
        println!("scene: {}", scene.name);
        let upstream = plays(std::slice::from_ref(&scene));
        let gateway = gateway(&upstream, "");
        let answer = gateway.ask(question());
        assert_eq!(answer.status, 200);
        assert!(answer.body == body.as_bytes(), "{} bytes instead of {}", answer.body.len(), body.len());
        eventually("its tokens are counted", || gateway.metric("luner_tokens_used_total", &["type=\"prompt\""]) == 3.0);
    }
}

// 5, 11
#[test]
fn a_long_body_cut_short_looks_torn() {
    let body = long_body(LONG);
    let most = &body[..3 << 19];
    let announced = ok_with(&format!("Content-Length: {}\r\n", body.len()), most);
    let chunked = ok_with("Transfer-Encoding: chunked\r\n", &in_chunk(most));
    let unended = ok_with("Connection: close\r\n", most);
    let scenes = [
        scene("a length, closed", announced.clone(), End::Fin),
        scene("a length, reset", announced.clone(), End::Rst),
        scene("a length, silent", announced, End::Hold),
        scene("chunks, closed", chunked.clone(), End::Fin),
        scene("chunks, reset", chunked.clone(), End::Rst),
        scene("chunks, silent", chunked.clone(), End::Hold),
        scene("a bad chunk", format!("{chunked}nonsense\r\n"), End::Hold),
        scene("up to the end, reset", unended, End::Rst),
    ];
    std::thread::scope(|scope| {
        for scene in scenes {
            scope.spawn(|| assert_looks_torn(scene));
        }
    });
}

fn assert_looks_torn(scene: Scene) {
    println!("scene: {}", scene.name);
    // A reset takes along what the gateway has not read yet, so that the end waits for the caller's word.
    let gate = Gate::new();
    let theirs = gate.clone();
    let end = scene.end;
    let upstream = Upstream::script(move |conn| {
        if conn.number > 0 {
            return serve_well(conn);
        }
        conn.request();
        conn.write(&scene.bytes);
        theirs.wait();
        end.play(conn);
    });
    let gateway = gateway(&upstream, "stream_idle_timeout: 300ms");
    let fds = gateway.open_fds();
    let mut caller = gateway.connect();
    let head = caller.send(question()).head();
    assert_eq!(head.status, 200);
    gate.permit();
    let rest = caller.read_to_end();
    match head.header("content-length") {
        Some(length) => assert!(rest.len() < length.parse().expect("a length"), "all of it came"),
        None => {
            assert_eq!(head.header("transfer-encoding"), Some("chunked"));
            assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "the last chunk came");
        }
    }
    drop(caller);
    eventually("the provider's connection is closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
    assert_goes_on(&mut gateway.connect());
}

// 7
#[test]
fn a_dripping_answer_is_waited_for_as_long_as_it_drips() {
    // Longer than the idle timeout as a whole, shorter between two bytes.
    let upstream = Upstream::script(|conn| {
        conn.request();
        let answer = ok_chat("well");
        let (most, dripping) = answer.as_bytes().split_at(answer.len() - 16);
        conn.write(most);
        for byte in dripping {
            std::thread::sleep(Duration::from_millis(50));
            conn.write([*byte]);
        }
        conn.hold();
    });
    let gateway = gateway(&upstream, "stream_idle_timeout: 400ms");
    assert_goes_on(&mut gateway.connect());
}

// 7
#[test]
fn a_body_that_stops_coming_is_a_504() {
    let body = completion("slow");
    let half = &body[..body.len() / 2];
    let scenes = [
        scene("a length", ok_with(&format!("Content-Length: {}\r\n", body.len()), half), End::Hold),
        scene("chunks", ok_with("Transfer-Encoding: chunked\r\n", &in_chunk(half)), End::Hold),
        scene("up to the end", ok_with("Connection: close\r\n", half), End::Hold),
    ];
    assert_each_is_refused("stream_idle_timeout: 300ms", &scenes, &question(), LATE);
}

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
    let base = crate::scenes::gateway(&upstream, "").rss_bytes();
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

/// A request of 5 MiB, more than socket buffers hold.
fn long_question() -> Vec<u8> {
    post(CHAT, chat("gpt-4o", &"x".repeat(5 << 20)))
}

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\ntoo long";

// 14
#[test]
fn an_early_answer_is_passed_on_when_the_provider_then_closes() {
    let upstream = Upstream::script(|conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    let answer = caller.send(long_question()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2);
    eventually("both attempts are counted", || {
        gateway.metric("luner_upstream_attempts_total", &["outcome=\"answered\""]) == 2.0
    });
    assert_eq!(
        gateway.metric("luner_upstream_attempts_total", &[]),
        2.0,
        "a connection whose request was not sent whole was kept: {:?}",
        gateway.metrics()
    );
}

// 14
#[test]
fn an_early_answer_is_passed_on_though_the_provider_reads_nothing_more() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            conn.write(TOO_LARGE);
            theirs.wait();
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "timeout: 60s");
    let mut caller = gateway.connect();
    caller.stream().set_read_timeout(Some(Duration::from_secs(3))).expect("a shorter patience");
    let answer = caller.send(long_question()).answer();
    assert_eq!((answer.status, answer.text()), (413, "too long"));
    assert_goes_on(&mut caller);
    assert_eq!(upstream.connections(), 2, "the connection is not used again");
    gate.permit();
}

// 13, 14
#[test]
fn an_interim_answer_while_the_request_is_sent_is_not_the_answer() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] {
        println!("{interim:?}");
        let upstream = Upstream::script(move |conn| {
            conn.stream().peek(&mut [0]).expect("the request begins");
            conn.write(interim);
            // Busy for a while, so that the gateway cannot send on.
            std::thread::sleep(Duration::from_millis(400));
            serve_well(conn);
        });
        let gateway = gateway(&upstream, "");
        let answer = gateway.ask(long_question());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.said(), "well");
    }
}

// 14
#[test]
fn a_provider_that_takes_nothing_of_the_request_is_a_504() {
    let gate = Gate::new();
    let theirs = gate.clone();
    let upstream = Upstream::script(move |conn| {
        if conn.number == 0 {
            conn.head();
            theirs.wait();
            return;
        }
        serve_well(conn);
    });
    let gateway = gateway(&upstream, "timeout: 300ms");
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(long_question()).answer(), LATE);
    assert_goes_on(&mut caller);
    gate.permit();
}

// 16
#[test]
fn an_encoded_body_passes_as_it_came() {
    let gzip: Vec<u8> = [0x1f, 0x8b, 8, 0].into_iter().chain((0..=255).cycle().take(60_000)).collect();
    let head = format!("{JSON_HEAD}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", gzip.len());
    let upstream = Upstream::always([head.as_bytes(), &gzip].concat());
    let gateway = gateway(&upstream, "");
    for request in [question(), post_stream("gpt-4o", "hello?")] {
        let answer = gateway.ask(request);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        assert!(answer.body == gzip, "the body was changed");
    }
    assert_eq!(upstream.requests()[0].header("accept-encoding"), Some("identity"), "it was not asked for");
}

// 16
#[test]
fn a_decompression_bomb_is_nothing_but_bytes() {
    let mock = mock_with(|options| options.fault = Some("gzip-bomb".parse().expect("a fault")));
    let gateway = Gateway::before(mock.base_url()).start();
    let rss = gateway.rss_bytes();
    let answer = gateway.post_chat("gpt-4o", "a bomb, please");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.body.len() < 1 << 20 && answer.body.starts_with(&[0x1f, 0x8b]));
    assert!(rss_peak(&gateway) < rss + (8 << 20), "something was unpacked");
}

fn error_with(status: &str, headers: &str) -> String {
    let body = "{\"error\":{\"message\":\"no\"}}";
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

// 17
#[test]
fn a_429_passes_as_it_came_and_is_not_tried_again() {
    for retry_after in ["7", "Wed, 21 Oct 2026 07:28:00 GMT", "1000000000000", "soon"] {
        let headers = format!("Retry-After: {retry_after}\r\nx-ratelimit-remaining-requests: 0\r\n");
        let upstream = Upstream::always(error_with("429 Too Many Requests", &headers));
        let gateway = gateway(&upstream, "retries: 3");
        let answer = gateway.ask(question());
        assert_eq!((answer.status, answer.text()), (429, "{\"error\":{\"message\":\"no\"}}"));
        assert_eq!(answer.header("retry-after"), Some(retry_after));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(upstream.requests().len(), 1);
    }
}

// 17
#[test]
fn a_503_keeps_a_bounded_retry_after() {
    let said = [
        ("7", Some("7")),
        ("1000000000000", Some("3600")),
        ("99999999999999999999999999", None),
        ("-1", None),
        ("Wed, 21 Oct 2099 07:28:00 GMT", None),
    ];
    for (retry_after, told) in said {
        println!("Retry-After: {retry_after}");
        let answer = error_with("503 Service Unavailable", &format!("Retry-After: {retry_after}\r\n"));
        let upstream = Upstream::always(answer);
        let gateway = gateway(&upstream, "retries: 0");
        let answer = gateway.ask(question());
        assert_refusal(&answer, OVERLOADED);
        let seconds = answer.header("retry-after").map(|text| text.parse::<u64>().expect("seconds"));
        assert!(seconds.is_none_or(|seconds| seconds <= 3600), "{seconds:?}");
        assert!(told.is_none() || answer.header("retry-after") == told, "{:?}", answer.headers);
    }
}

// 17
#[test]
fn a_server_error_is_tried_again_as_often_as_configured_and_then_refused() {
    let table = [
        ("500 Internal Server Error", BROKEN),
        ("502 Bad Gateway", BROKEN),
        ("503 Service Unavailable", OVERLOADED),
        ("504 Gateway Timeout", LATE),
        ("529 Overloaded", BROKEN),
    ];
    for (status, refusal) in table {
        println!("{status}");
        let upstream = Upstream::always(error_with(status, ""));
        // Below the five failures in a row after which the provider is given a pause.
        let gateway = gateway(&upstream, "retries: 1");
        assert_refusal(&gateway.ask(question()), refusal);
        assert_eq!(upstream.requests().len(), 2);
        assert_refusal(&gateway.ask(post_stream("gpt-4o", "hello?")), refusal);
        assert_eq!(upstream.requests().len(), 4);
        eventually("the attempts are counted", || {
            gateway.metric("luner_upstream_attempts_total", &["outcome=\"server_error\""]) == 4.0
        });
    }
}

// 17
#[test]
fn a_second_attempt_that_succeeds_is_the_callers_200() {
    let upstream = Upstream::script(|conn| {
        while let Some(request) = conn.next_request() {
            let first = request.json()["messages"][0]["content"] == "how are you?" && conn.number == 0;
            conn.write(if first {
                error_with("500 Internal Server Error", "Connection: close\r\n")
            } else {
                ok_chat("well")
            });
        }
    });
    let gateway = gateway(&upstream, "retries: 1");
    let mut caller = gateway.connect();
    assert_goes_on(&mut caller);
    let seen = upstream.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body, seen[1].body, "both attempts are the same request");
    // But for the span that the provider's join: of one trace, each attempt's own.
    let spans = [0, 1].map(|at: usize| seen[at].header("traceparent").expect("a traceparent").to_owned());
    let [first, second] = spans.each_ref().map(|span| span.split('-').collect::<Vec<_>>());
    assert_eq!((first[1], first[3]), (second[1], second[3]));
    assert_ne!(first[2], second[2]);
    assert_eq!(seen[0].head.replace(&spans[0], &spans[1]), seen[1].head);
    assert_goes_on(&mut caller);
}

// 18
#[test]
fn a_redirect_is_not_followed_and_no_key_travels() {
    let second = Upstream::always(ok_chat("redirected"));
    for status in
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
    {
        let location = format!("Location: {}\r\nConnection: close\r\n", second.url());
        let scenes = [scene("a redirect", error_with(status, &location), End::Fin)];
        assert_each_is_refused("retries: 3", &scenes, &question(), BROKEN);
    }
    assert_eq!(second.connections(), 0);
}

// 19; a slow one stands in `slow_names`.
#[test]
fn a_name_that_does_not_resolve_is_a_502_and_one_that_does_works() {
    let upstream = Upstream::always(ok_chat("well"));
    let gateway = Gateway::new()
        .provider("nowhere", "http://nowhere.invalid/v1", &["nowhere"])
        .provider("here", format!("http://localhost:{}/v1", upstream.addr().port()), &["gpt-4o"])
        .start();
    let mut caller = gateway.connect();
    assert_refusal(&caller.send(post_chat("nowhere", "hello?")).answer(), BROKEN);
    assert_goes_on(&mut caller);
    let host = format!("localhost:{}", upstream.addr().port());
    assert_eq!(upstream.requests()[0].header("host"), Some(host.as_str()));
}

// 21
#[test]
fn usage_that_makes_no_sense_passes_and_is_not_believed() {
    let usages = [
        "null",
        "{}",
        "[]",
        "7",
        "\"many\"",
        "{\"prompt_tokens\":-3,\"completion_tokens\":-5,\"total_tokens\":-8}",
        "{\"prompt_tokens\":\"3\",\"completion_tokens\":\"5\",\"total_tokens\":\"8\"}",
        "{\"prompt_tokens\":3.5,\"completion_tokens\":1e-3,\"total_tokens\":null}",
        "{\"prompt_tokens\":9007199254740993,\"completion_tokens\":1,\"total_tokens\":9007199254740994}",
        "{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":18446744073709551615,\"total_tokens\":18446744073709551615}",
        "{\"prompt_tokens\":1e308,\"completion_tokens\":1e999,\"total_tokens\":-1e999}",
        "{\"prompt_tokens\":{\"prompt_tokens\":[]},\"completion_tokens\":true}",
        "{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":99}}",
    ];
    let bodies = usages.map(|usage| format!("{{\"choices\":[],\"usage\":{usage}}}"));
    let bodies = bodies.into_iter().chain(["{}".into(), "[]".into(), "no JSON".into(), "{\"usage\":{".into()]);
    let bodies: Vec<String> = bodies.collect();
    let theirs = bodies.clone();
    let upstream = Upstream::script(move |conn| {
        for body in &theirs {
            conn.request();
            conn.write(ok_json(body));
        }
        conn.hold();
    });
    let gateway = gateway(&upstream, "");
    let mut caller = gateway.connect();
    for body in &bodies {
        let answer = caller.send(question()).answer();
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
    }
    eventually("all of them are counted", || {
        gateway.metric("luner_requests_total", &["status=\"200\"", "provider=\"openai\""]) == bodies.len() as f64
    });
    let metrics = gateway.metrics();
    let tokens: Vec<_> = metrics.iter().filter(|(name, _)| name.starts_with("luner_tokens_used_total")).collect();
    assert_eq!(tokens.len(), 3, "{metrics:?}");
    assert!(tokens.iter().all(|(_, count)| count.is_finite() && **count >= 0.0), "{tokens:?}");
}

#[test]
fn a_providers_own_4xx_passes_byte_for_byte() {
    let answers = [
        ("400 Bad Request", "application/json", "{\"error\": {\"message\":\"bad\",  \"type\":\"x\"}}\n"),
        ("401 Unauthorized", "application/problem+json; charset=utf-8", "{\"title\":\"who?\"}"),
        ("403 Forbidden", "text/html; charset=ISO-8859-1", "<html>no</html>"),
        ("404 Not Found", "text/plain", "not here"),
        ("409 Conflict", "application/json", ""),
        ("418 I'm a teapot", "text/plain", "short and stout"),
        ("422 Unprocessable Content", "application/json", "{\"detail\":[{\"loc\":[\"body\"]}]}"),
    ];
    let upstream = Upstream::script(move |conn| {
        for (status, media, body) in answers {
            conn.request();
            let length = body.len();
            conn.write(format!("HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"));
        }
        conn.hold();
    });
    let gateway = gateway(&upstream, "retries: 3");
    let mut caller = gateway.connect();
    for (status, media, body) in answers {
        let answer = caller.send(question()).answer();
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.text(), body);
    }
    assert_eq!(upstream.requests().len(), answers.len(), "none was tried again");
}

#[test]
fn headers_that_speak_for_the_provider_stay_here_and_those_of_the_api_pass() {
    let kept_back = "Set-Cookie: __cf_bm=secret; path=/\r\nSet-Cookie: second=1\r\nServer: cloudflare\r\n\
        X-Request-Id: theirs\r\nX-Luner-Provider: evil\r\nx-luner-trace-id: evil\r\nX-Luner-Policy: evil\r\n\
        Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n";
    let passed = [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-requests", "1s"),
        ("openai-organization", "acme"),
        ("openai-processing-ms", "57"),
        ("openai-version", "2020-10-01"),
    ];
    let mut headers = kept_back.to_owned();
    passed.iter().for_each(|(name, value)| headers.push_str(&format!("{name}: {value}\r\n")));
    let body = completion("well");
    let plain = ok_with(&format!("{headers}Content-Length: {}\r\n", body.len()), &body);
    let streamed = STREAM_HEAD.replace("\r\n\r\n", &format!("\r\n{headers}\r\n")) + &stream_end();
    let upstream = Upstream::script(move |conn| {
        while let Some(request) = conn.next_request() {
            conn.write(if request.json()["stream"] == true { &streamed } else { &plain });
        }
    });
    let gateway = gateway(&upstream, "");
    for request in [question(), post_stream("gpt-4o", "hello?")] {
        let answer = gateway.ask(request);
        assert_eq!(answer.status, 200);
        for name in ["set-cookie", "server", "keep-alive", "x-luner-policy"] {
            assert!(!answer.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)), "{:?}", answer.headers);
        }
        for (name, value) in passed {
            assert_eq!(answer.header(name), Some(value));
        }
        assert_eq!(answer.header("x-luner-provider"), Some("openai"));
        assert_ne!(answer.header("x-luner-trace-id"), Some("evil"));
        assert_ne!(answer.header("x-request-id"), Some("theirs"));
        assert!(!answer.header("date").is_some_and(|date| date.contains("1970")));
        // RFC 9110 section 7.6.1: what `Connection` names is for the next hop alone.
        assert_eq!(answer.header("x-hop"), None, "{:?}", answer.headers);
    }
}

//! Plain answers whose body is cut, slow, long, encoded, or counts its tokens in odd ways.

use std::time::Duration;

use crate::support::upstream_cases::*;
use crate::support::*;

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

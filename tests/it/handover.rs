//! One process after the other: a hand-over under load, hand-overs that fail, and the end under load. What callers see, what
//! the provider saw and what the database holds must agree over all of them.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

const CALLERS: usize = 150;
const STREAMS: usize = 50;
const TAKEN_OVER: &str = "\"handed over, draining\"";
const NOT_TAKEN_OVER: &str = "no other process took over";

/// One caller, who keeps its connection for as long as it may, and comes back if it is to. Tells how many requests were
/// answered.
fn call(addr: SocketAddr, caller: usize, enough: &AtomicBool, comes_back: bool) -> u64 {
    let stream = caller >= CALLERS;
    let mut client = Raw::connect(addr);
    for turn in 0.. {
        let prompt = format!("caller {caller}, turn {turn}");
        let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.said()), (200, reply(&prompt)), "{}", answer.text());
        assert!(!stream || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        let closes = answer.header("connection") == Some("close");
        if enough.load(Ordering::Acquire) || (closes && !comes_back) {
            return turn + 1;
        }
        if closes {
            client = Raw::connect(addr);
        }
    }
    unreachable!("turns do not end by themselves")
}

/// Two hundred callers, some turns each, until `meanwhile` comes back. Gives back how many requests were answered.
fn under_load(mock: &Mock, luner: &mut Running, comes_back: bool, meanwhile: impl FnOnce(&mut Running)) -> u64 {
    raise_descriptor_limit();
    let (enough, answered, addr) = (AtomicBool::new(false), AtomicU64::new(0), luner.addr());
    thread::scope(|scope| {
        for caller in 0..CALLERS + STREAMS {
            let (enough, answered) = (&enough, &answered);
            let body = move || answered.fetch_add(call(addr, caller, enough, comes_back), Ordering::AcqRel);
            thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, body).expect("a thread");
        }
        // Released even when a claim fails, lest the callers never end.
        let _release = Release(&enough);
        eventually("everybody calls", || mock.totals().requests > 2 * (CALLERS + STREAMS) as u64);
        meanwhile(luner);
    });
    answered.into_inner()
}

struct Release<'a>(&'a AtomicBool);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn slow_mock() -> Mock {
    mock_with(|options| {
        (options.ledger, options.bodies) = (false, false);
        (options.latency, options.chunk_delay) = (Duration::from_millis(20), Duration::from_millis(5));
    })
}

fn summary(luner: &Running) -> Value {
    luner.api().get("/api/dashboard/summary").json()
}

#[test]
fn a_hand_over_under_load_fails_no_request_and_no_account() {
    let mock = slow_mock();
    let gateway = Gateway::before(mock.base_url()).workers(2).storage_sqlite().log("info");
    let mut luner = gateway.server("drain_timeout: 8s").start();
    let answered = under_load(&mock, &mut luner, true, |luner| {
        luner.hand_over();
        assert_eq!(luner.wait_first_exit().code(), Some(0));
        let before = mock.totals().requests;
        eventually("the other process serves", || mock.totals().requests > before + (CALLERS + STREAMS) as u64);
    });
    assert!(mock.settled(GUARD));
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete, totals.peer_closed), (answered, answered, 0));
    let mut stored = Value::Null;
    eventually("every request of both processes is in the store", || {
        stored = summary(&luner);
        stored["total_requests"].as_u64() >= Some(answered)
    });
    assert_eq!(stored["total_requests"], answered, "and none twice");
    assert_eq!(stored["total_tokens"], totals.prompt_tokens + totals.completion_tokens);
    assert_eq!(luner.count_log("gave connections up"), 0, "{:#?}", luner.logs());
    // The process that took over is one like any other: it hands over and ends.
    luner.wait_log("the process before this one has ended");
    luner.hand_over();
    assert_eq!(luner.post_chat("gpt-4o", "third").said(), reply("third"));
    luner.signal(Signal::TERM);
    eventually("nobody serves any more", || !luner.is_listening());
    luner.wait_exit();
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    let sum = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u64>(0)).expect("a sum");
    assert_eq!(sum("SELECT sum(requests) FROM usage_minute"), answered + 1);
    // Traces are bounded: on a slow disk some are given up, and none is there twice.
    assert!(sum("SELECT count(*) FROM request") <= answered + 1);
    assert_eq!(luner.count_log("accounting could not be stored"), 0, "{:#?}", luner.logs());
}

#[test]
fn the_end_under_load_answers_whatever_was_asked() {
    let mock = slow_mock();
    let mut luner = Gateway::before(mock.base_url()).workers(2).log("info").server("drain_timeout: 8s").start();
    let answered = under_load(&mock, &mut luner, false, |luner| {
        luner.signal(Signal::TERM);
        assert_eq!(luner.wait_exit().code(), Some(0));
    });
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete, totals.peer_closed), (answered, answered, 0));
    assert_eq!(luner.count_log("gave connections up"), 0, "{:#?}", luner.logs());
}

#[test]
fn a_kept_connection_is_not_closed_under_its_callers_hands() {
    let mock = mock();
    let gateway =
        Gateway::before(mock.base_url()).storage_sqlite().server("drain_timeout: 8s\nadmin: { hosts: [gateway] }");
    let mut luner = gateway.start();
    let policy = |name: &str, user: &str| {
        json!({ "name": name, "expression": format!("user_id == '{user}'"), "action": "block" }).to_string()
    };
    luner.api().create(&serde_json::from_str(&policy("first", "mallory")).unwrap());
    let mut kept: Vec<Raw> = (0..4).map(|_| luner.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.send(get("/v1/models")).answer().status, 200);
    }
    luner.hand_over();
    let answers = [
        (get("/api/health"), 200),
        (post("/api/policies", policy("late", "eve")), 503),
        (post_chat("gpt-4o", "kept"), 200),
    ];
    for (client, (request, status)) in kept.iter_mut().zip(answers) {
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{}", answer.text());
        match status {
            503 => assert_eq!(
                (answer.error_code().as_deref(), answer.header("retry-after")),
                (Some("handing_over"), Some("1"))
            ),
            _ => assert_ne!(answer.text().find("draining"), Some(0)),
        }
        assert!(client.is_closed());
    }
    assert!(kept[3].is_quiet(), "who asks for nothing yet may still do so");
    // What was decided before holds in the process that took over, and there it can be changed.
    let of_mallory = post_with(CHAT, "X-Luner-User: mallory\r\n", chat("gpt-4o", "x"));
    assert_eq!(luner.ask(&of_mallory).status, 403);
    luner.api().create(&serde_json::from_str(&policy("late", "eve")).unwrap());
    assert_eq!(luner.ask(post_with(CHAT, "X-Luner-User: eve\r\n", chat("gpt-4o", "x"))).status, 403);
    drop(kept);
    assert_eq!(luner.wait_first_exit().code(), Some(0));
}

#[test]
fn a_successor_that_does_not_start_changes_nothing() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        conn.write(in_chunk(delta("first")));
        held.wait();
        conn.write(stream_end());
        conn.hold();
    });
    let gateway = Gateway::before(upstream.url()).storage_sqlite().workers(2);
    let good = gateway.text();
    let mut luner = gateway.start();
    let mut stream = luner.connect();
    assert_eq!(stream.send(post_stream("gpt-4o", "x")).head().status, 200);
    assert_eq!(stream.chunk(), Some(delta("first").into_bytes()));

    luner.scratch().write(&good.replace("openai", "openai, nonsense: ["));
    luner.wait_log("configuration rejected");
    luner.signal(Signal::USR2);
    let told = luner.wait_log(NOT_TAKEN_OVER);
    assert!(told.contains("78"), "it says how the other ended: {told}");
    assert!(luner.is_running() && stream.is_quiet());
    assert_eq!(luner.metric("luner_handovers_total", &["result=\"failed\""]), 1.0);
    luner.api().create(&json!({ "name": "still", "expression": "user_id == 'x'", "action": "alert" }));

    // One that needs another schema would take the database from this one.
    luner.scratch().write(&good);
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    database.pragma_update(None, "user_version", 1).expect("a version");
    luner.signal(Signal::USR2);
    eventually("that failed, too", || luner.count_log(NOT_TAKEN_OVER) == 2);
    luner.wait_log("would take it from the luner that runs");
    database.pragma_update(None, "user_version", 2).expect("a version");
    drop(database);

    luner.hand_over();
    gate.permit();
    let rest: Vec<u8> = std::iter::from_fn(|| stream.chunk()).flatten().collect();
    assert_eq!(String::from_utf8_lossy(&rest), "data: [DONE]\n\n");
    drop(stream);
    assert_eq!(luner.wait_first_exit().code(), Some(0));
    assert_eq!(luner.api().policies().len(), 1);
}

/// A program in this file, for the place of luner's.
fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it may be run");
}

#[test]
fn the_file_at_its_path_is_what_takes_over_and_what_hangs_is_ended() {
    let folder = Scratch::new("");
    let (program, other) = (folder.folder.join("luner"), folder.folder.join("other"));
    symlink(binary(), &program).expect("a link");
    let gateway = Gateway::before("http://127.0.0.1:9/v1").program(&program);
    let mut luner = gateway.start();
    let switch = |text: &str| {
        script(&other, text);
        std::fs::remove_file(&program).expect("the link is there");
        symlink(&other, &program).expect("a link");
    };
    switch("exit 23");
    luner.signal(Signal::USR2);
    assert!(luner.wait_log(NOT_TAKEN_OVER).contains("exit status: 23"));
    std::fs::remove_file(&program).expect("the link is there");
    luner.signal(Signal::USR2);
    eventually("no file, no other process", || luner.count_log(NOT_TAKEN_OVER) == 2);
    symlink(&other, &program).expect("a link");

    // One that never says a word, while there is a second signal, and then the one to stop.
    let pid = folder.folder.join("pid");
    switch(&format!("echo $$ > '{}'; exec sleep 600", pid.display()));
    luner.signal(Signal::USR2);
    let mut hanging = String::new();
    eventually("the other process runs", || {
        hanging = std::fs::read_to_string(&pid).unwrap_or_default();
        hanging.ends_with('\n')
    });
    luner.signal(Signal::USR2);
    luner.wait_log("told to hand over while starting, handing over or ending: ignored");
    assert_eq!(luner.health()["status"], "ok");
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    eventually("nothing of it is left", || !Path::new("/proc").join(hanging.trim()).exists());
}

#[test]
fn the_demo_is_not_handed_over() {
    let luner = Gateway::demo().start();
    luner.signal(Signal::USR2);
    luner.wait_log(NOT_TAKEN_OVER);
    assert_eq!(luner.health()["status"], "ok");
    assert_eq!(luner.count_log(TAKEN_OVER), 0);
}

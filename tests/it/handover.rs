//! Hand-overs from one process to the next, hand-overs that fail, and shutdown, all under load. What callers, the
//! provider and the database saw must agree over all processes.

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
/// The log lines of a hand-over, and of one that failed.
const HANDED_OVER: &str = "\"handed over, draining\"";
const NOT_HANDED_OVER: &str = "hand-over failed";

/// Sends requests on one connection until `enough`, or until luner closes it. With `reconnect`, connects again then.
/// Returns the number of answered requests.
fn call(addr: SocketAddr, caller: usize, enough: &AtomicBool, reconnect: bool) -> u64 {
    let stream = caller >= CALLERS;
    let mut client = Raw::connect(addr);
    for turn in 0.. {
        let prompt = format!("caller {caller}, turn {turn}");
        let request = if stream { post_stream("gpt-4o", &prompt) } else { post_chat("gpt-4o", &prompt) };
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.content()), (200, reply(&prompt)), "{}", answer.text());
        assert!(!stream || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
        let closes = answer.header("connection") == Some("close");
        if enough.load(Ordering::Acquire) || (closes && !reconnect) {
            return turn + 1;
        }
        if closes {
            client = Raw::connect(addr);
        }
    }
    unreachable!("turns do not end by themselves")
}

/// Runs `meanwhile` while two hundred callers send requests. Returns the number of answered requests.
fn under_load(mock: &Mock, luner: &mut Running, reconnect: bool, meanwhile: impl FnOnce(&mut Running)) -> u64 {
    raise_descriptor_limit();
    let (enough, answered, addr) = (AtomicBool::new(false), AtomicU64::new(0), luner.addr());
    thread::scope(|scope| {
        for caller in 0..CALLERS + STREAMS {
            let (enough, answered) = (&enough, &answered);
            let run = move || answered.fetch_add(call(addr, caller, enough, reconnect), Ordering::AcqRel);
            thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, run).expect("a thread");
        }
        // Set even if an assertion fails, because the scope waits for the callers.
        let _enough = SetOnDrop(&enough);
        eventually("every caller has been answered", || mock.totals().requests > 2 * (CALLERS + STREAMS) as u64);
        meanwhile(luner);
    });
    answered.into_inner()
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
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
fn hand_over_under_load_fails_no_request_and_loses_no_record() {
    let mock = slow_mock();
    let gateway = Gateway::in_front_of(mock.base_url()).workers(2).storage_sqlite().log("info");
    let mut luner = gateway.server(json!({ "drain_timeout": "8s" })).start();
    let answered = under_load(&mock, &mut luner, true, |luner| {
        luner.hand_over();
        assert_eq!(luner.wait_first_exit().code(), Some(0));
        let before = mock.totals().requests;
        eventually("the successor serves", || mock.totals().requests > before + (CALLERS + STREAMS) as u64);
    });
    assert!(mock.wait_until_idle(TIMEOUT));
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete, totals.peer_closed), (answered, answered, 0));
    let mut stored = Value::Null;
    eventually("every request of both processes is in the store", || {
        stored = summary(&luner);
        stored["total_requests"].as_u64() >= Some(answered)
    });
    assert_eq!(stored["total_requests"], answered, "no request is stored twice");
    assert_eq!(stored["total_tokens"], totals.prompt_tokens + totals.completion_tokens);
    assert_eq!(luner.count_log("closed busy connections"), 0, "{:#?}", luner.logs());
    // The successor can hand over and end like any other process.
    luner.wait_log("the predecessor has ended");
    luner.hand_over();
    assert_eq!(luner.post_chat("gpt-4o", "third").content(), reply("third"));
    luner.signal(Signal::TERM);
    eventually("no process listens", || !luner.is_listening());
    luner.wait_exit();
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    let sum = |sql: &str| database.query_row(sql, [], |row| row.get::<_, u64>(0)).expect("a sum");
    assert_eq!(sum("SELECT sum(requests) FROM usage_minute"), answered + 1);
    // Traces are bounded. A slow disk may lose some, and none is stored twice.
    assert!(sum("SELECT count(*) FROM request") <= answered + 1);
    assert_eq!(luner.count_log("accounting could not be stored"), 0, "{:#?}", luner.logs());
}

#[test]
fn shutdown_under_load_answers_every_request() {
    let mock = slow_mock();
    let mut luner =
        Gateway::in_front_of(mock.base_url()).workers(2).log("info").server(json!({ "drain_timeout": "8s" })).start();
    let answered = under_load(&mock, &mut luner, false, |luner| {
        luner.signal(Signal::TERM);
        assert_eq!(luner.wait_exit().code(), Some(0));
    });
    let totals = mock.totals();
    assert_eq!((totals.requests, totals.complete, totals.peer_closed), (answered, answered, 0));
    assert_eq!(luner.count_log("closed busy connections"), 0, "{:#?}", luner.logs());
}

#[test]
fn kept_connections_are_answered_once_more_before_they_close() {
    let mock = mock();
    let gateway = Gateway::in_front_of(mock.base_url())
        .storage_sqlite()
        .server(json!({ "drain_timeout": "8s", "admin": { "hosts": ["gateway"] } }));
    let mut luner = gateway.start();
    let policy = |name: &str, user: &str| json!({ "name": name, "expression": format!("user_id == '{user}'"), "action": "block" });
    luner.api().create(&policy("first", "mallory"));
    let mut kept: Vec<Raw> = (0..4).map(|_| luner.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.send(get("/v1/models")).answer().status, 200);
    }
    luner.hand_over();
    let answers = [
        (get("/api/health"), 200),
        (post("/api/policies", policy("late", "eve").to_string()), 503),
        (post_chat("gpt-4o", "kept"), 200),
    ];
    for (client, (request, status)) in kept.iter_mut().zip(answers) {
        let answer = client.send(request).answer();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{}", answer.text());
        if status == 503 {
            assert_eq!(answer.error_code().as_deref(), Some("handing_over"));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert!(client.is_closed());
    }
    assert!(kept[3].is_quiet(), "a connection without a request stays open");
    // The successor has the policies, and accepts new ones.
    let by_mallory = post_with(CHAT, "X-Luner-User: mallory\r\n", chat("gpt-4o", "x"));
    assert_eq!(luner.ask(&by_mallory).status, 403);
    luner.api().create(&policy("late", "eve"));
    assert_eq!(luner.ask(post_with(CHAT, "X-Luner-User: eve\r\n", chat("gpt-4o", "x"))).status, 403);
    drop(kept);
    assert_eq!(luner.wait_first_exit().code(), Some(0));
}

#[test]
fn successor_that_fails_to_start_changes_nothing() {
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
    let gateway = Gateway::in_front_of(upstream.url()).storage_sqlite().workers(2);
    let good = gateway.config_text();
    let mut luner = gateway.start();
    let mut stream = luner.connect();
    assert_eq!(stream.send(post_stream("gpt-4o", "x")).head().status, 200);
    assert_eq!(stream.chunk(), Some(delta("first").into_bytes()));

    luner.scratch().write("version: v1\nproviders: [");
    luner.wait_log("configuration rejected");
    luner.signal(Signal::USR2);
    let line = luner.wait_log(NOT_HANDED_OVER);
    assert!(line.contains("78"), "the line has the successor's exit code: {line}");
    assert!(luner.is_running() && stream.is_quiet());
    assert_eq!(luner.metric("luner_handovers_total", &["result=\"failed\""]), 1.0);
    luner.api().create(&json!({ "name": "still", "expression": "user_id == 'x'", "action": "alert" }));

    // A successor that migrates the schema would make the database unusable for this process, so it must not start.
    luner.scratch().write(&good);
    let database = rusqlite::Connection::open(luner.scratch().folder.join("luner.db")).expect("the database opens");
    let schema: u32 = database.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    database.pragma_update(None, "user_version", schema - 1).expect("a version");
    luner.signal(Signal::USR2);
    eventually("the second hand-over fails too", || luner.count_log(NOT_HANDED_OVER) == 2);
    luner.wait_log("would break the luner that is running");
    database.pragma_update(None, "user_version", schema).expect("a version");
    drop(database);

    luner.hand_over();
    gate.permit();
    let rest: Vec<u8> = std::iter::from_fn(|| stream.chunk()).flatten().collect();
    assert_eq!(String::from_utf8_lossy(&rest), "data: [DONE]\n\n");
    drop(stream);
    assert_eq!(luner.wait_first_exit().code(), Some(0));
    assert_eq!(luner.api().policies().len(), 1);
}

/// Writes a shell script, to be started in place of luner.
fn write_script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("the script can be made executable");
}

#[test]
fn successor_is_started_from_the_same_path_and_killed_if_it_hangs() {
    let folder = Scratch::new("");
    let (program, other) = (folder.folder.join("luner"), folder.folder.join("other"));
    symlink(binary(), &program).expect("a link");
    let gateway = Gateway::in_front_of("http://127.0.0.1:9/v1").program(&program);
    let mut luner = gateway.start();
    let replace_program = |text: &str| {
        write_script(&other, text);
        std::fs::remove_file(&program).expect("the link is there");
        symlink(&other, &program).expect("a link");
    };
    replace_program("exit 23");
    luner.signal(Signal::USR2);
    assert!(luner.wait_log(NOT_HANDED_OVER).contains("exit status: 23"));
    std::fs::remove_file(&program).expect("the link is there");
    luner.signal(Signal::USR2);
    eventually("a missing program fails the hand-over", || luner.count_log(NOT_HANDED_OVER) == 2);
    symlink(&other, &program).expect("a link");

    // A successor that hangs: a second SIGUSR2 is ignored, and SIGTERM ends both processes.
    let pid = folder.folder.join("pid");
    replace_program(&format!("echo $$ > '{}'; exec sleep 600", pid.display()));
    luner.signal(Signal::USR2);
    let mut hanging = String::new();
    eventually("the successor runs", || {
        hanging = std::fs::read_to_string(&pid).unwrap_or_default();
        hanging.ends_with('\n')
    });
    luner.signal(Signal::USR2);
    luner.wait_log("hand-over request ignored");
    assert_eq!(luner.health()["status"], "ok");
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    eventually("the successor is gone", || !Path::new("/proc").join(hanging.trim()).exists());
}

#[test]
fn demo_refuses_to_hand_over() {
    let luner = Gateway::demo().start();
    luner.signal(Signal::USR2);
    luner.wait_log(NOT_HANDED_OVER);
    assert_eq!(luner.health()["status"], "ok");
    assert_eq!(luner.count_log(HANDED_OVER), 0);
}

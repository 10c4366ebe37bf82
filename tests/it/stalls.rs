//! A coordinator that stalls for ten seconds, and threads that panic (FAULTS.md rows 59, 60 and 62). During a stall,
//! requests continue; afterwards the totals catch up, and dropped traces are counted.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::*;

/// Length of the stall. Arbitrary: long against the one-second flush window, short enough for a test.
const STALL: Duration = Duration::from_secs(10);
const CALLERS: usize = 4;
/// Most memory that may be held for a stalled coordinator. Enough for the traces of some seconds of this load, with
/// bodies.
const HELD_BYTES_MAX: usize = 192 << 20;

/// Does `work` while the coordinator's thread is stopped and the others run. The coordinator is the main thread, so its
/// id is the process id.
fn with_stopped_coordinator<T>(luner: &Running, work: impl FnOnce() -> T) -> T {
    let main = Pid::from_raw(i32::try_from(luner.pid()).expect("a process id"));
    // Both calls affect one thread. A signal would stop them all.
    ptrace::seize(main, ptrace::Options::empty()).expect("a parent may trace its child");
    ptrace::interrupt(main).expect("a traced thread can be stopped");
    waitpid(main, Some(WaitPidFlag::__WALL)).expect("the thread stops");
    let state = |thread: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{}/task/{thread}/stat", luner.pid())).expect("its state");
        stat.rsplit_once(") ").expect("a name in brackets").1.chars().next()
    };
    assert_eq!(state(luner.pid()), Some('t'), "the coordinator is stopped");
    let result = work();
    assert_eq!(state(luner.pid()), Some('t'), "the coordinator is still stopped");
    ptrace::detach(main, None).expect("a stopped thread can be resumed");
    result
}

/// Sends requests from several callers for this long, and asserts that each is answered with 200. Returns their number
/// and the 99th percentile of their latencies.
fn load(luner: &Running, prompt: &str, length: Duration) -> (u64, Duration) {
    let (stop, times, sent) = (AtomicBool::new(false), Mutex::<Vec<Duration>>::default(), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut client = luner.connect();
                let mut own = Vec::new();
                while !stop.load(Ordering::Acquire) {
                    let began = Instant::now();
                    sent.fetch_add(1, Ordering::AcqRel);
                    assert_eq!(client.send(post_chat("gpt-4o", prompt)).answer().status, 200);
                    own.push(began.elapsed());
                }
                times.lock().unwrap().extend(own);
            });
        }
        let until = Instant::now() + length;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Release);
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    (sent.into_inner(), times[times.len() * 99 / 100])
}

/// FAULTS.md row 59.
#[test]
fn stalled_coordinator_delays_no_request_and_catches_up() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(2).log("info");
    let luner = gateway.with(json!({ "storage": { "capture": "all" } })).start();
    let prompt = "a long question ".repeat(1_000);
    let (before, p99_before) = load(&luner, &prompt, Duration::from_secs(2));
    let rss_before = luner.rss_bytes();
    let ((during, p99_during), held) = with_stopped_coordinator(&luner, || {
        let load = load(&luner, &prompt, STALL);
        (load, luner.rss_bytes().saturating_sub(rss_before))
    });
    let (after, p99_after) = load(&luner, &prompt, Duration::from_secs(1));
    eprintln!(
        "p99 of {before} requests before {p99_before:?}, of {during} during {p99_during:?}, of {after} after {p99_after:?}; \
         held {} KiB",
        held / 1024
    );
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held for a stalled coordinator");
    let sent = before + during + after;
    let mut summary = Value::Null;
    eventually("every request is in the store", || {
        summary = luner.api().get("/api/dashboard/summary").json();
        summary["total_requests"] == sent
    });
    let totals = mock.totals();
    assert_eq!(totals.requests, sent);
    let tokens = totals.prompt_tokens + totals.completion_tokens;
    assert_eq!(summary["total_tokens"], tokens, "{summary}");
    assert_eq!(luner.metric("luner_requests_total", &["status=\"200\""]), sent as f64);
    assert_eq!(luner.metric("luner_tokens_used_total", &["type=\"total\""]), tokens as f64);
    // Only traces are dropped, and each trace is either stored or counted.
    let mut dropped = 0.0;
    eventually("each trace is stored or counted as dropped", || {
        let stored = luner.api().get("/api/dashboard/summary").json()["total_traces"].as_f64().expect("a count");
        dropped = luner.metric("luner_traces_dropped_total", &[]);
        stored + dropped == sent as f64
    });
    assert!(dropped > 0.0, "the load was too small to drop a trace");
    assert_eq!(luner.health()["status"], "ok");
}

/// Runs luner with a panic injected at `place`. Returns its exit status and its output.
fn run_with_panic_in(place: &str) -> (ExitStatus, Vec<String>) {
    let mock = mock();
    let mut luner = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(2).env("LUNER_FAULT", place).start();
    // The process may end before it answers.
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    let status = luner.wait_exit();
    (status, luner.take_logs())
}

/// FAULTS.md row 60.
#[test]
fn coordinator_panic_ends_the_process_with_a_log_line() {
    let (status, lines) = run_with_panic_in("coordinator");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{lines:#?}");
    let line = lines.iter().find(|line| line.contains("thread `main` failed and ends the process"));
    assert!(line.is_some_and(|line| line.contains("src/coordinator")), "{lines:#?}");
}

/// FAULTS.md row 62.
#[test]
fn shard_panic_ends_the_process_with_a_log_line() {
    let (status, lines) = run_with_panic_in("shard");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("thread `shard-") && line.contains("ends the process")),
        "{lines:#?}"
    );
}

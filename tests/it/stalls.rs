//! A coordinator that stands still for ten seconds, and one that fails: the data path goes on without it, the books catch up,
//! and what could not be kept is counted.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::*;

/// What the row says.
const STALL: Duration = Duration::from_secs(10);
const CALLERS: usize = 4;
/// What may be held for a coordinator that stands still, at this load: traces of some seconds, with bodies.
const HELD_BYTES_MAX: usize = 192 << 20;

/// Does `work` while one thread of luner's, the coordinator, is stopped, and the others run. The main thread is the
/// coordinator, and its id is the process's.
fn while_the_coordinator_stands_still<T>(luner: &Running, work: impl FnOnce() -> T) -> T {
    let main = Pid::from_raw(i32::try_from(luner.pid()).expect("a process id"));
    // Both calls are for one thread; a signal would stop them all.
    ptrace::seize(main, ptrace::Options::empty()).expect("a parent may trace its child");
    ptrace::interrupt(main).expect("a traced thread is stopped");
    waitpid(main, Some(WaitPidFlag::__WALL)).expect("it has stopped");
    let state = |thread: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{}/task/{thread}/stat", luner.pid())).expect("its state");
        stat.rsplit_once(") ").expect("a name in brackets").1.chars().next()
    };
    assert_eq!(state(luner.pid()), Some('t'), "the coordinator stands still");
    let done = work();
    assert_eq!(state(luner.pid()), Some('t'), "it still stands");
    ptrace::detach(main, None).expect("a stopped thread is let go");
    done
}

/// Many callers for so long. Gives back how many requests they sent, of which each was answered with 200, and the time that
/// 99 of 100 took at most.
fn load(luner: &Running, prompt: &str, lasts: Duration) -> (u64, Duration) {
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
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Release);
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    (sent.into_inner(), times[times.len() * 99 / 100])
}

// 59
#[test]
fn a_coordinator_that_stands_still_holds_no_request_up_and_its_books_catch_up() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let gateway = Gateway::before(mock.base_url()).storage_sqlite().workers(2).log("info");
    let text = gateway.text().replace("storage: { ", "storage: { capture: all, ");
    let luner = gateway.yaml(text).start();
    let prompt = "a long question ".repeat(1_000);
    let (before, p99_before) = load(&luner, &prompt, Duration::from_secs(2));
    let rss_before = luner.rss_bytes();
    let ((during, p99_during), held) = while_the_coordinator_stands_still(&luner, || {
        let done = load(&luner, &prompt, STALL);
        (done, luner.rss_bytes().saturating_sub(rss_before))
    });
    let (after, p99_after) = load(&luner, &prompt, Duration::from_secs(1));
    eprintln!(
        "p99 of {before} requests before {p99_before:?}, of {during} during {p99_during:?}, of {after} after {p99_after:?}; \
         held {} KiB",
        held / 1024
    );
    assert!(held < HELD_BYTES_MAX, "{held} bytes are held for a coordinator that stands still");
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
    // Traces are what is given up, and each is either there or counted.
    let mut books = (Value::Null, 0.0);
    eventually("each trace is stored or counted as dropped", || {
        let stored = luner.api().get("/api/dashboard/summary").json()["total_traces"].clone();
        books = (stored, luner.metric("luner_traces_dropped_total", &[]));
        books.0.as_f64().map(|stored| stored + books.1) == Some(sent as f64)
    });
    assert!(books.1 > 0.0, "the load was no load: {books:?}");
    assert_eq!(luner.health()["status"], "ok");
}

/// Luner with a failure on demand: how it ended, and what it said.
fn failing(place: &str) -> (ExitStatus, Vec<String>) {
    let mock = mock();
    let mut luner = Gateway::before(mock.base_url()).storage_sqlite().workers(2).env("LUNER_FAULT", place).start();
    // The answer may be lost with the process.
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    let status = luner.wait_exit();
    (status, luner.take_logs())
}

// 60
#[test]
fn a_coordinator_that_fails_ends_the_process_and_says_so() {
    let (status, lines) = failing("coordinator");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{lines:#?}");
    let told = lines.iter().find(|line| line.contains("thread `main` failed and ends the process"));
    assert!(told.is_some_and(|line| line.contains("src/coordinator")), "{lines:#?}");
}

// 62
#[test]
fn a_shard_that_fails_ends_the_process_and_says_so() {
    let (status, lines) = failing("shard");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("thread `shard-") && line.contains("ends the process")),
        "{lines:#?}"
    );
}

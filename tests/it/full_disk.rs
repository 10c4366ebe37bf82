//! A disk that takes nothing more while luner runs: requests and policies go on, the state is shown, and when there is room
//! again everything is in the books. One that never took anything is a clear failure to start.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output};
use std::sync::Arc;

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use crate::support::*;

/// More than an empty database with its log takes.
const ROOM_BYTES: u64 = 3 << 20;

/// A gateway with its database in a folder of its own, `disk`, that records bodies so that it fills.
fn filling(mock: &Mock) -> (Gateway, Arc<Scratch>) {
    let gateway = Gateway::before(mock.base_url()).storage_sqlite().workers(2).log("info");
    let text =
        gateway.text().replace("storage: { ", "storage: { capture: all, ").replace("/luner.db", "/disk/luner.db");
    let scratch = Arc::new(Scratch::new(&text));
    std::fs::create_dir(scratch.folder.join("disk")).expect("a folder for the database");
    (gateway.yaml(text), scratch)
}

/// Callers of a luner whose disk is full, and how many of their requests were answered as they should be.
struct Callers<'l> {
    luner: &'l Running,
    client: Raw,
    answered: u64,
    blocked: u64,
}

impl Callers<'_> {
    /// With a policy that blocks one of them.
    fn new(luner: &Running) -> Callers<'_> {
        luner.api().create(&json!({ "name": "no dee", "expression": "user_id == 'dee'", "action": "block" }));
        Callers { luner, client: luner.connect(), answered: 0, blocked: 0 }
    }

    #[track_caller]
    fn ask(&mut self) {
        let body = chat("gpt-4o", &"a long question ".repeat(1_000));
        for _ in 0..9 {
            assert_eq!(self.client.send(post(CHAT, &body)).answer().status, 200);
            self.answered += 1;
        }
        assert_eq!(self.client.send(post_with(CHAT, "X-Luner-User: dee\r\n", &body)).answer().status, 403);
        self.blocked += 1;
    }

    /// Asks until the storage is degraded, and a change of a policy is refused without a trace of it.
    #[track_caller]
    fn fill(&mut self) {
        let mut health = Value::Null;
        eventually("the storage is degraded", || {
            self.ask();
            health = self.luner.health();
            health["storage"] == "degraded"
        });
        assert_eq!(health["status"], "degraded");
        let mut tries = 0;
        eventually("a change is refused", || {
            self.ask();
            tries += 1;
            let name = format!("change {tries}");
            let change =
                json!({ "name": name, "expression": "false", "action": "block", "description": "x".repeat(2_000) });
            let refused = self.luner.api().post("/api/policies", &change).status == 503;
            let is_there = self.luner.api().policies().iter().any(|policy| policy["name"] == *name);
            assert_eq!(is_there, !refused, "it is made or refused, whole");
            refused
        });
    }

    /// Waits until the books are whole: nothing was lost, and each trace is stored or counted.
    #[track_caller]
    fn settle(self, mock: &Mock) {
        eventually("the storage is whole again", || {
            let health = self.luner.health();
            (&health["storage"], &health["status"]) == (&json!("ok"), &json!("ok"))
        });
        let (asked, totals) = (self.answered + self.blocked, mock.totals());
        let mut seen = (Value::Null, 0.0);
        eventually("every request is in the store, each trace there or counted", || {
            seen = (
                self.luner.api().get("/api/dashboard/summary").json(),
                self.luner.metric("luner_traces_dropped_total", &[]),
            );
            seen.0["total_requests"] == asked
                && seen.0["total_traces"].as_f64().expect("a count") + seen.1 == asked as f64
        });
        let summary = seen.0;
        assert_eq!((&summary["blocked"], totals.requests), (&json!(self.blocked), self.answered));
        assert_eq!(summary["total_tokens"], totals.prompt_tokens + totals.completion_tokens);
        assert_eq!(self.luner.metric("luner_requests_total", &["status=\"200\""]), self.answered as f64);
        assert_eq!(self.luner.metric("luner_storage_pending_requests", &[]), 0.0);
    }
}

// 56: what fails a write other than for want of room (EFBIG here; EROFS and EIO are the same to SQLite).
#[test]
fn a_database_that_may_not_grow_holds_nothing_up_and_loses_no_account() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let (gateway, scratch) = filling(&mock);
    let luner = gateway.wrap(&["prlimit", &format!("--fsize={ROOM_BYTES}:unlimited")]).start_in(scratch);
    let mut callers = Callers::new(&luner);
    callers.fill();
    let pid = Pid::from_raw(i32::try_from(luner.pid()).expect("a process id"));
    rustix::process::prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None })
        .expect("its limit is raised");
    callers.ask();
    callers.settle(&mock);
}

/// Before a command: with a small filesystem on the folder that follows.
fn on_a_small_disk(options: &str) -> Vec<String> {
    with_mounts(&format!("mount -t tmpfs -o {options} small \"$0\""))
}

// 56
#[test]
fn a_full_disk_holds_nothing_up_and_loses_no_account() {
    if !has_mounts() {
        return;
    }
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let (gateway, scratch) = filling(&mock);
    let disk = scratch.folder.join("disk");
    let mut wrap = on_a_small_disk("size=8m");
    wrap.push(disk.to_str().expect("a path in UTF-8").to_owned());
    let luner = gateway.wrap(&wrap.iter().map(String::as_str).collect::<Vec<_>>()).start_in(scratch.clone());
    let mut callers = Callers::new(&luner);
    callers.ask();
    // Its mounts are seen through its root.
    let inside = disk.strip_prefix("/").expect("an absolute path");
    let filler = std::path::Path::new(&format!("/proc/{}/root", luner.pid())).join(inside).join("filler");
    let mut file = File::create(&filler).expect("a file on the small disk");
    while file.write_all(&[0; 4096]).is_ok() {}
    callers.fill();
    let told = luner.wait_log("storage is degraded");
    assert!(told.contains("the disk is full"), "{told}");
    drop(file);
    std::fs::remove_file(&filler).expect("the filler goes");
    callers.ask();
    callers.settle(&mock);
}

// 56
#[test]
fn a_read_only_disk_is_a_clear_failure_to_start() {
    if !has_mounts() {
        return;
    }
    let (gateway, scratch) = filling(&mock());
    drop(gateway);
    let disk = scratch.folder.join("disk");
    let words = on_a_small_disk("ro,size=1m");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(&disk).arg(binary()).arg("--config").arg(&scratch.path);
    command.args(["--listen", "127.0.0.1:0"]).env("LUNER_IT_FOLDER", &scratch.folder);
    let Output { status, stderr, .. } = command.output().expect("luner starts");
    let told = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("disk/luner.db") && told.to_lowercase().contains("read-only"), "{told}");
}

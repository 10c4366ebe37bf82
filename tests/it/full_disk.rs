//! A disk that fills up while luner runs: requests and policies keep working, health reports it, and every total is
//! complete once there is room again. A read-only disk fails the start (FAULTS.md row 56).

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output};
use std::sync::Arc;

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use crate::support::*;

/// Size limit of the database. More than an empty database with its log takes.
const DATABASE_BYTES_MAX: u64 = 3 << 20;

/// A gateway with its database in a folder of its own, `disk`. It records bodies, so that the database grows fast.
fn gateway_that_fills(mock: &Mock) -> (Gateway, Arc<Scratch>) {
    let storage = json!({ "capture": "all", "sqlite": { "path": format!("${{{FOLDER}}}/disk/luner.db") } });
    let gateway = Gateway::in_front_of(mock.base_url()).storage_sqlite().workers(2).log("info");
    let gateway = gateway.with(json!({ "storage": storage }));
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    std::fs::create_dir(scratch.folder.join("disk")).expect("a folder for the database");
    (gateway, scratch)
}

/// Callers of a luner whose disk fills up, and counts of their requests.
struct Callers<'l> {
    luner: &'l Running,
    client: Raw,
    answered: u64,
    blocked: u64,
}

impl Callers<'_> {
    /// Adds a policy that blocks one of the callers.
    fn new(luner: &Running) -> Callers<'_> {
        luner.api().create(&json!({ "name": "no dee", "expression": "user_id == 'dee'", "action": "block" }));
        Callers { luner, client: luner.connect(), answered: 0, blocked: 0 }
    }

    /// Sends ten requests, of which one is blocked.
    #[track_caller]
    fn send_ten(&mut self) {
        let body = chat("gpt-4o", &"a long question ".repeat(1_000));
        for _ in 0..9 {
            assert_eq!(self.client.send(post(CHAT, &body)).answer().status, 200);
            self.answered += 1;
        }
        assert_eq!(self.client.send(post_with(CHAT, "X-Luner-User: dee\r\n", &body)).answer().status, 403);
        self.blocked += 1;
    }

    /// Sends requests until the storage is degraded and a new policy is refused without being stored in part.
    #[track_caller]
    fn fill_disk(&mut self) {
        let mut health = Value::Null;
        eventually("the storage is degraded", || {
            self.send_ten();
            health = self.luner.health();
            health["storage"] == "degraded"
        });
        assert_eq!(health["status"], "degraded");
        let mut tries = 0;
        eventually("a new policy is refused", || {
            self.send_ten();
            tries += 1;
            let name = format!("policy {tries}");
            let policy =
                json!({ "name": name, "expression": "false", "action": "block", "description": "x".repeat(2_000) });
            let refused = self.luner.api().post("/api/policies", &policy).status == 503;
            let is_listed = self.luner.api().policies().iter().any(|policy| policy["name"] == *name);
            assert_eq!(is_listed, !refused, "the policy is stored or refused");
            refused
        });
    }

    /// Waits until the totals are complete, and each trace is stored or counted as dropped.
    #[track_caller]
    fn wait_for_totals(self, mock: &Mock) {
        eventually("the storage has recovered", || {
            let health = self.luner.health();
            (&health["storage"], &health["status"]) == (&json!("ok"), &json!("ok"))
        });
        let (sent, totals) = (self.answered + self.blocked, mock.totals());
        let mut summary = Value::Null;
        eventually("every request is in the store, and each trace is stored or dropped", || {
            summary = self.luner.api().get("/api/dashboard/summary").json();
            let dropped = self.luner.metric("luner_traces_dropped_total", &[]);
            summary["total_requests"] == sent
                && summary["total_traces"].as_f64().expect("a count") + dropped == sent as f64
        });
        assert_eq!((&summary["blocked"], totals.requests), (&json!(self.blocked), self.answered));
        assert_eq!(summary["total_tokens"], totals.prompt_tokens + totals.completion_tokens);
        assert_eq!(self.luner.metric("luner_requests_total", &["status=\"200\""]), self.answered as f64);
        assert_eq!(self.luner.metric("luner_storage_pending_requests", &[]), 0.0);
    }
}

/// FAULTS.md row 56: a write that fails for another reason than a full disk. Here it is EFBIG; SQLite treats EROFS and
/// EIO alike.
#[test]
fn database_at_its_size_limit_delays_nothing_and_loses_no_record() {
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let (gateway, scratch) = gateway_that_fills(&mock);
    let luner = gateway.wrap(&["prlimit", &format!("--fsize={DATABASE_BYTES_MAX}:unlimited")]).start_in(scratch);
    let mut callers = Callers::new(&luner);
    callers.fill_disk();
    let pid = Pid::from_raw(i32::try_from(luner.pid()).expect("a process id"));
    rustix::process::prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None })
        .expect("its limit is raised");
    callers.send_ten();
    callers.wait_for_totals(&mock);
}

/// The start of a command line that mounts a small filesystem on the folder that follows, and then runs the rest.
fn with_small_disk(options: &str) -> Vec<String> {
    with_mounts(&format!("mount -t tmpfs -o {options} small \"$0\""))
}

/// FAULTS.md row 56.
#[test]
fn full_disk_delays_nothing_and_loses_no_record() {
    if !can_mount() {
        return;
    }
    let mock = mock_with(|options| (options.ledger, options.bodies) = (false, false));
    let (gateway, scratch) = gateway_that_fills(&mock);
    let disk = scratch.folder.join("disk");
    let mut wrap = with_small_disk("size=8m");
    wrap.push(disk.to_str().expect("a path in UTF-8").to_owned());
    let luner = gateway.wrap(&wrap.iter().map(String::as_str).collect::<Vec<_>>()).start_in(scratch.clone());
    let mut callers = Callers::new(&luner);
    callers.send_ten();
    // The mounts of luner's namespace are visible through its root.
    let inside = disk.strip_prefix("/").expect("an absolute path");
    let filler = std::path::Path::new(&format!("/proc/{}/root", luner.pid())).join(inside).join("filler");
    let mut file = File::create(&filler).expect("a file on the small disk");
    while file.write_all(&[0; 4096]).is_ok() {}
    callers.fill_disk();
    let line = luner.wait_log("storage is degraded");
    assert!(line.contains("the disk is full"), "{line}");
    drop(file);
    std::fs::remove_file(&filler).expect("the filler is removed");
    callers.send_ten();
    callers.wait_for_totals(&mock);
}

/// FAULTS.md row 56.
#[test]
fn read_only_disk_fails_the_start_with_a_clear_error() {
    if !can_mount() {
        return;
    }
    let (_, scratch) = gateway_that_fills(&mock());
    let disk = scratch.folder.join("disk");
    let words = with_small_disk("ro,size=1m");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(&disk).arg(binary()).arg("--config").arg(&scratch.path);
    command.args(["--listen", "127.0.0.1:0"]).env(FOLDER, &scratch.folder);
    let Output { status, stderr, .. } = command.output().expect("luner starts");
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("disk/luner.db") && stderr.to_lowercase().contains("read-only"), "{stderr}");
}

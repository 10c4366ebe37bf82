//! A luner process that was started, and everything a test can observe or do to it from outside.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{Answer, Api, CANARY, Raw, Scratch, TIMEOUT, eventually, get, lock, post_chat};

/// A luner process. Dropping it kills the process, and panics if the log shows a provider's key or a failed thread.
pub struct Running {
    child: Child,
    /// Lines of stdout and stderr so far.
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    /// Absent until it listens.
    pub(super) addr: Option<SocketAddr>,
    exit: Option<ExitStatus>,
    scratch: Arc<Scratch>,
    token: Option<String>,
    /// Processes that took over, each from the one before it.
    successors: Vec<Pid>,
}

impl Running {
    pub(super) fn new(
        child: Child,
        lines: Arc<Mutex<Vec<String>>>,
        readers: Vec<JoinHandle<()>>,
        scratch: Arc<Scratch>,
        token: Option<String>,
    ) -> Running {
        Running { child, lines, readers, addr: None, exit: None, scratch, token, successors: Vec::new() }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("luner listens")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes the serving process hand over to a new one, and waits until the new one serves.
    #[track_caller]
    pub fn hand_over(&mut self) {
        let before = self.count_log("\"handed over, draining\"");
        self.signal(Signal::USR2);
        eventually("another process has taken over", || self.count_log("\"handed over, draining\"") > before);
        let line = self.logs().into_iter().rfind(|line| line.contains("\"handed over, draining\""));
        let line: Value = serde_json::from_str(&line.expect("just counted")).expect("a line of the log");
        let pid = line["pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32)).expect("a process id");
        self.successors.push(pid);
    }

    /// Counts the lines of output so far that contain `text`.
    pub fn count_log(&self, text: &str) -> usize {
        lock(&self.lines).iter().filter(|line| line.contains(text)).count()
    }

    /// The process that was started first.
    pub fn first_pid(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// The process that took over last, or the first one if none did.
    pub fn serving_pid(&self) -> Pid {
        self.successors.last().copied().unwrap_or_else(|| self.first_pid())
    }

    /// Waits until the process that was started first has ended. Its successors keep running.
    #[track_caller]
    pub fn wait_first_exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process that handed over ends", || {
            status = self.child.try_wait().expect("a state of the process");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// The config file and its folder.
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// A client of the REST API that calls it as `localhost`, with the admin token if there is one.
    pub fn api(&self) -> Api<'_> {
        Api::new(self, self.token.as_deref())
    }

    /// Waits until `/api/health` reports this plan.
    #[track_caller]
    pub fn wait_plan(&self, version: u64) {
        eventually(&format!("plan {version} runs"), || self.health()["plan"] == version);
    }

    /// Opens a connection.
    #[track_caller]
    pub fn connect(&self) -> Raw {
        Raw::connect(self.addr())
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().send(request).answer()
    }

    /// Sends a chat request on a connection of its own.
    #[track_caller]
    pub fn post_chat(&self, model: &str, prompt: &str) -> Answer {
        self.ask(post_chat(model, prompt))
    }

    /// Whether it accepts new connections.
    pub fn is_listening(&self) -> bool {
        TcpStream::connect_timeout(&self.addr(), TIMEOUT).is_ok()
    }

    /// The lines of output so far, of stdout and stderr.
    pub fn logs(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// Takes the lines of output so far, so that a failure that the test asked for does not fail the test on drop.
    pub fn take_logs(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.lines))
    }

    /// Waits for a line that contains `text` and returns it.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let mut found = None;
        eventually(&format!("a line of the log with {text:?}"), || {
            found = lock(&self.lines).iter().find(|line| line.contains(text)).cloned();
            found.is_some()
        });
        found.expect("just found")
    }

    /// Every metric, keyed by name and labels as `/metrics` prints them: `luner_requests_total{model="m",…}`.
    #[track_caller]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.ask(get("/metrics"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lines = answer.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let pairs = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a metric: {line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("a number: {line:?}")))
        });
        pairs.collect()
    }

    /// The sum of all metrics of this name whose labels contain each of `labels`, such as `status="200"`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let all = self.metrics();
        let of_name = all.iter().filter(|(key, _)| key.split('{').next() == Some(name));
        let wanted = of_name.filter(|(key, _)| labels.iter().all(|label| key.contains(label)));
        wanted.map(|(_, value)| value).sum()
    }

    /// `GET /api/health`.
    #[track_caller]
    pub fn health(&self) -> Value {
        self.ask(get("/api/health")).json()
    }

    /// Whether it runs on io_uring and not on epoll.
    pub fn is_on_io_uring(&self) -> bool {
        self.wait_log("\"listening\"").contains("\"io\":\"io_uring\"")
    }

    /// Number of descriptors that the process has open.
    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Resident memory.
    pub fn rss_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<usize>().map_or(0, |kb| kb * 1024)
    }

    /// Processor time that it has used, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> = after_name.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        // utime and stime are fields 14 and 15 of proc_pid_stat(5); the name is field 2.
        fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)
    }

    /// Sends a signal to the serving process.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.serving_pid(), signal).expect("a signal is delivered");
    }

    /// Whether the first process still runs.
    pub fn is_running(&mut self) -> bool {
        self.exit.is_none() && self.child.try_wait().expect("a state of the process").is_none()
    }

    /// Waits until the first process has ended and its last line was read.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a state of the process") {
                self.exit = Some(status);
                self.readers.drain(..).for_each(|reader| reader.join().expect("the log is read"));
                return status;
            }
            assert!(Instant::now() < until, "luner does not end: {:#?}", self.logs());
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The pid of a process that ended may belong to another program by now, so the command line must match too.
        let ours = |pid: &&Pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let config = self.scratch.path.as_os_str().as_encoded_bytes();
            command.split(|byte| *byte == 0).any(|word| word == config)
        };
        for successor in self.successors.iter().filter(ours) {
            let _ = rustix::process::kill_process(*successor, Signal::KILL);
        }
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.readers.drain(..).for_each(|reader| drop(reader.join()));
        }
        let lines = self.logs();
        if thread::panicking() {
            let last = lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>();
            eprintln!("last lines of luner's log: {last:#?}");
            return;
        }
        for line in lines {
            assert!(!line.contains(CANARY), "luner prints a provider's key: {line}");
            assert!(!line.contains("panicked") && !line.contains("ends the process"), "luner failed: {line}");
        }
    }
}

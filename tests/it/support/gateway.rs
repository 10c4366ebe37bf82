//! The process under test: a luner with a configuration of its own on a port of its own, and what can be seen of it from
//! outside.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{Answer, Api, GUARD, Raw, eventually, get, lock, post_chat};

/// Every provider's key, unless a test gives another. It must never be seen in any output of luner's.
pub const CANARY: &str = "sk-canary-7f3a91c4e0d25b86";

/// What is to be started.
#[derive(Clone, Default)]
pub struct Gateway {
    providers: String,
    server: String,
    yaml: Option<String>,
    workers: Option<usize>,
    env: Vec<(String, String)>,
    wrap: Vec<String>,
    sockets: Vec<Arc<TcpListener>>,
    program: Option<PathBuf>,
    demo: Vec<String>,
    storage: bool,
    more: String,
    log: Option<String>,
    token: Option<String>,
}

impl Gateway {
    /// One shard, log level debug, no storage, no providers yet.
    pub fn new() -> Gateway {
        Gateway::default()
    }

    /// A gateway before one provider with the models gpt-4o and gpt-4o-mini.
    pub fn before(url: impl AsRef<str>) -> Gateway {
        Gateway::new().provider("openai", url, &["gpt-4o", "gpt-4o-mini"])
    }

    /// Adds a provider with the canary as its key.
    pub fn provider(self, name: &str, url: impl AsRef<str>, models: &[&str]) -> Gateway {
        self.provider_with(name, url, models, "")
    }

    /// Adds a provider with further lines of YAML, such as `retries: 0`, not indented. One of them may be `api_key`.
    pub fn provider_with(mut self, name: &str, url: impl AsRef<str>, models: &[&str], lines: &str) -> Gateway {
        let url = url.as_ref();
        let _ = writeln!(self.providers, "  - name: {name}\n    base_url: \"{url}\"\n    models: {models:?}");
        if !lines.contains("api_key") {
            let _ = writeln!(self.providers, "    api_key: \"{CANARY}\"");
        }
        for line in lines.lines() {
            let _ = writeln!(self.providers, "    {line}");
        }
        self
    }

    /// Adds lines below `server:`, not indented.
    pub fn server(mut self, lines: &str) -> Gateway {
        for line in lines.lines() {
            let _ = writeln!(self.server, "  {line}");
        }
        self
    }

    /// `luner demo`, which has a configuration and a provider of its own.
    pub fn demo() -> Gateway {
        Gateway::demo_with(&[])
    }

    /// The same with these further arguments.
    pub fn demo_with(arguments: &[&str]) -> Gateway {
        let demo = ["demo", "--listen", "127.0.0.1:0"].iter().chain(arguments).map(|&word| word.into()).collect();
        Gateway { demo, ..Gateway::default() }
    }

    /// With a database beside the configuration's file.
    pub fn storage_sqlite(mut self) -> Gateway {
        self.storage = true;
        self
    }

    /// Adds lines at the top level.
    pub fn top(mut self, lines: &str) -> Gateway {
        let _ = writeln!(self.more, "{lines}");
        self
    }

    /// A log level other than debug.
    pub fn log(mut self, level: &str) -> Gateway {
        self.log = Some(level.into());
        self
    }

    /// With this admin token, which [`Running::api`] sends.
    pub fn token(mut self, token: &str) -> Gateway {
        self.token = Some(token.into());
        self.server(&format!("admin: {{ token: {token:?} }}"))
    }

    /// Instead of all that, a whole configuration.
    pub fn yaml(mut self, text: impl Into<String>) -> Gateway {
        self.yaml = Some(text.into());
        self
    }

    pub fn workers(mut self, n: usize) -> Gateway {
        self.workers = Some(n);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Gateway {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Puts a command before luner's own, one that ends by becoming what follows it: `&["prlimit", "--nofile=64"]`.
    pub fn wrap(mut self, command: &[&str]) -> Gateway {
        self.wrap = command.iter().map(|&word| word.into()).collect();
        self
    }

    /// Passes it these sockets, one or two, as a service manager does.
    pub fn activated(mut self, sockets: &[Arc<TcpListener>]) -> Gateway {
        self.sockets = sockets.to_vec();
        self
    }

    /// Starts this file instead of the binary under test.
    pub fn program(mut self, path: &Path) -> Gateway {
        self.program = Some(path.to_owned());
        self
    }

    /// The configuration's text.
    pub fn text(&self) -> String {
        self.yaml.clone().unwrap_or_else(|| {
            let server = if self.server.is_empty() { String::new() } else { format!("server:\n{}", self.server) };
            let Gateway { providers, more, .. } = self;
            let log = self.log.as_deref().unwrap_or("debug");
            let storage = if self.storage { DATABASE } else { "backend: none" };
            let rest = format!("{more}telemetry: {{ log: {log} }}\nproviders:\n{providers}");
            format!("version: v1\n{server}storage: {{ {storage} }}\n{rest}")
        })
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Running {
        let scratch = Arc::new(Scratch::new(&self.text()));
        self.start_in(scratch)
    }

    /// The same in a folder where one may have run before, with the configuration that is there.
    #[track_caller]
    pub fn start_in(self, scratch: Arc<Scratch>) -> Running {
        let mut words: Vec<OsString> = self.wrap.iter().map(OsString::from).collect();
        if let Some(last) = self.sockets.len().checked_sub(1) {
            words.extend(["sh", "-c", ACTIVATE[last], "sh"].map(OsString::from));
        }
        words.push(self.program.clone().unwrap_or_else(binary).into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if !self.demo.is_empty() {
            command.args(&self.demo);
        } else {
            command.env(FOLDER, &scratch.folder).arg("--config").arg(&scratch.path).args([
                "--listen",
                "127.0.0.1:0",
                "--log",
                "json",
            ]);
            command.args(["--workers", &self.workers.unwrap_or(1).to_string()]);
        }
        command.envs(self.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Standard streams are what a child gets without leaking them to those that other tests start meanwhile.
        let mut passed = self.sockets.iter().map(|s| Stdio::from(OwnedFd::from(s.try_clone().expect("a socket"))));
        passed.next().map(|socket| command.stdin(socket));
        passed.next().map(|socket| command.stdout(socket));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let out = child.stdout.take().map(|out| collect(out, lines.clone()));
        let err = child.stderr.take().map(|err| collect(err, lines.clone()));
        let readers = out.into_iter().chain(err).collect();
        let token = self.token;
        let mut running = Running { child, lines, readers, addr: None, exit: None, scratch, token, heirs: Vec::new() };
        let mut found = None;
        eventually("luner listens", || {
            found = running.logs().iter().find_map(|line| listening(line));
            let ended = running.child.try_wait().expect("a state of the process");
            assert!(found.is_some() || ended.is_none(), "luner ended, {ended:?}: {:#?}", running.logs());
            found.is_some()
        });
        running.addr = found;
        running
    }
}

/// The address in the line that says that it serves.
fn listening(line: &str) -> Option<SocketAddr> {
    if let Some(greeting) = line.strip_prefix("luner runs at http://") {
        return greeting.split(',').next()?.parse().ok();
    }
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            lock(&into).push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}

/// A luner that was started.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    addr: Option<SocketAddr>,
    exit: Option<ExitStatus>,
    scratch: Arc<Scratch>,
    token: Option<String>,
    /// Processes that took over, one from the other.
    heirs: Vec<Pid>,
}

impl Running {
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("luner listens")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes the process that serves hand over to a new one, and waits until that one does.
    #[track_caller]
    pub fn hand_over(&mut self) {
        let before = self.count_log("\"handed over, draining\"");
        self.signal(Signal::USR2);
        eventually("another process has taken over", || self.count_log("\"handed over, draining\"") > before);
        let line = self.logs().into_iter().rfind(|line| line.contains("\"handed over, draining\""));
        let line: Value = serde_json::from_str(&line.expect("just counted")).expect("a line of the log");
        let pid = line["pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32)).expect("a process id");
        self.heirs.push(pid);
    }

    /// Lines of output so far that contain `text`.
    pub fn count_log(&self, text: &str) -> usize {
        lock(&self.lines).iter().filter(|line| line.contains(text)).count()
    }

    /// The process that was started first.
    pub fn first_pid(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// The process that took over last, or the only one.
    pub fn serving_pid(&self) -> Pid {
        self.heirs.last().copied().unwrap_or_else(|| self.first_pid())
    }

    /// Waits until the process that was started first has ended, while those that took over go on.
    #[track_caller]
    pub fn wait_first_exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process that handed over ends", || {
            status = self.child.try_wait().expect("a state of the process");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// Its configuration, and the folder that it is in.
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// The REST API, with the admin token if there is one, under a loopback name.
    pub fn api(&self) -> Api<'_> {
        Api::new(self, self.token.as_deref())
    }

    /// Waits until this plan runs, as `/api/health` tells.
    #[track_caller]
    pub fn wait_plan(&self, version: u64) {
        eventually(&format!("plan {version} runs"), || self.health()["plan"] == version);
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Raw {
        Raw::connect(self.addr())
    }

    /// Sends a request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().send(request).answer()
    }

    /// One chat request on a connection of its own.
    #[track_caller]
    pub fn post_chat(&self, model: &str, prompt: &str) -> Answer {
        self.ask(post_chat(model, prompt))
    }

    /// Whether it takes new connections.
    pub fn is_listening(&self) -> bool {
        TcpStream::connect_timeout(&self.addr(), GUARD).is_ok()
    }

    /// Lines of output so far, stderr's and stdout's.
    pub fn logs(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// The same, and no complaint when they tell of a failure: it was asked for.
    pub fn take_logs(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.lines))
    }

    /// Waits for a line that contains `text` and gives it back.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let mut found = None;
        eventually(&format!("a line of the log with {text:?}"), || {
            found = lock(&self.lines).iter().find(|line| line.contains(text)).cloned();
            found.is_some()
        });
        found.expect("just found")
    }

    /// Every metric, by name and labels as they are printed: `luner_requests_total{model="m",…}`.
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

    /// The sum of all metrics of that name whose labels contain each of `labels`, such as `status="200"`.
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

    /// Whether io_uring carries it (and not epoll).
    pub fn is_on_io_uring(&self) -> bool {
        self.wait_log("\"listening\"").contains("\"io\":\"io_uring\"")
    }

    /// Descriptors that the process has open.
    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Memory that is resident.
    pub fn rss_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<usize>().map_or(0, |kb| kb * 1024)
    }

    /// Time on a processor that it has taken, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<u64> = behind_name.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        // utime and stime, fields 14 and 15 of proc_pid_stat(5); the name is field 2.
        fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0)
    }

    /// To the process that serves.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.serving_pid(), signal).expect("a signal is delivered");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.exit.is_none() && self.child.try_wait().expect("a state of the process").is_none()
    }

    /// Waits until it has ended, and until its last line was read.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let until = Instant::now() + GUARD;
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
        // By its name, too: the number of one that ended may be another's by now.
        let ours = |pid: &&Pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let config = self.scratch.path.as_os_str().as_encoded_bytes();
            command.split(|byte| *byte == 0).any(|word| word == config)
        };
        for heir in self.heirs.iter().filter(ours) {
            let _ = rustix::process::kill_process(*heir, Signal::KILL);
        }
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.readers.drain(..).for_each(|reader| drop(reader.join()));
        }
        let lines = self.logs();
        if thread::panicking() {
            let last = lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>();
            eprintln!("the last lines of luner's log: {last:#?}");
            return;
        }
        for line in lines {
            assert!(!line.contains(CANARY), "luner tells a provider's key: {line}");
            assert!(!line.contains("panicked") && !line.contains("ends the process"), "luner failed: {line}");
        }
    }
}

/// Runs luner to its end.
#[track_caller]
pub fn luner(arguments: &[&str]) -> Output {
    luner_with(arguments, &[])
}

/// The same, with these variables in its environment.
#[track_caller]
pub fn luner_with(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).envs(env.iter().copied()).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot start luner: {error}"))
}

/// A configuration in a folder of its own for one test, gone with it.
pub struct Scratch {
    pub path: PathBuf,
    pub folder: PathBuf,
}

impl Scratch {
    #[track_caller]
    pub fn new(text: &str) -> Scratch {
        let folder = Scratch::empty();
        let path = folder.join("config.yaml");
        std::fs::write(&path, text).expect("a file in the temporary folder");
        Scratch { path, folder }
    }

    /// As the kubelet lays a ConfigMap out: config.yaml → ..data/config.yaml, ..data → ..1.
    #[track_caller]
    pub fn config_map(text: &str) -> Scratch {
        let folder = Scratch::empty();
        let scratch = Scratch { path: folder.join("config.yaml"), folder };
        scratch.swap(text);
        symlink("..data/config.yaml", &scratch.path).expect("a link");
        scratch
    }

    #[track_caller]
    fn empty() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("luner-it-{}-{}", std::process::id(), Scratch::number()));
        std::fs::create_dir(&folder).expect("a folder in the temporary folder");
        folder
    }

    fn number() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes the configuration anew, in place.
    #[track_caller]
    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("the configuration can be written");
    }

    /// Puts another file in its place, as editors save.
    #[track_caller]
    pub fn rename(&self, text: &str) {
        let beside = self.folder.join("config.yaml.new");
        std::fs::write(&beside, text).expect("a file beside the configuration");
        std::fs::rename(&beside, &self.path).expect("a file can be renamed");
    }

    /// Swaps the link to the folder of a [`Scratch::config_map`], as the kubelet does.
    #[track_caller]
    pub fn swap(&self, text: &str) {
        let name = format!("..{}", Scratch::number());
        std::fs::create_dir(self.folder.join(&name)).expect("a folder for the new data");
        std::fs::write(self.folder.join(&name).join("config.yaml"), text).expect("the new data");
        symlink(&name, self.folder.join("..data_tmp")).expect("a link");
        std::fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).expect("a link can be renamed");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What puts sockets where `sd_listen_fds(3)` looks for them, then becomes its arguments.
const ACTIVATE: [&str; 2] = [
    "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"",
    "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"",
];

/// The variable that names the configuration's folder, and the storage that is in it.
const FOLDER: &str = "LUNER_IT_FOLDER";
const DATABASE: &str = "sqlite: { path: \"${LUNER_IT_FOLDER}/luner.db\" }";

/// The binary under test: cargo's, or where `LUNER_BIN` says.
pub fn binary() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_luner") {
        Some(path) => path.into(),
        None => std::env::var_os("LUNER_BIN").expect("LUNER_BIN names the binary under test").into(),
    }
}

/// A file of the project, by its path from the project's root.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

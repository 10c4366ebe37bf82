//! The process under test: what it is started with.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::{Running, Scratch, eventually, lock};

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
        let mut running = Running::new(child, lines, readers, scratch, token);
        let mut found = None;
        eventually("luner listens", || {
            found = running.logs().iter().find_map(|line| listening(line));
            assert!(found.is_some() || running.is_running(), "luner ended: {:#?}", running.logs());
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

//! What a luner process is started with: config, command line, environment. Starts it, or runs it to its end.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::{Running, Scratch, eventually, lock};

/// Every provider's key, unless a test sets another. It must never show up in any output of luner.
pub const CANARY: &str = "sk-canary-7f3a91c4e0d25b86";

/// A luner process to be started.
#[derive(Clone)]
pub struct Gateway {
    /// The config file: JSON, which is YAML too.
    config: Value,
    workers: usize,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    sockets: Vec<Arc<TcpListener>>,
    program: Option<PathBuf>,
    /// Arguments of `luner demo`, which takes no config file. Empty for any other gateway.
    demo: Vec<String>,
    token: Option<String>,
}

impl Gateway {
    /// One shard, log level debug, no storage, no providers yet.
    pub fn new() -> Gateway {
        let config = json!({
            "version": "v1",
            "storage": { "backend": "none" },
            "telemetry": { "log": "debug" },
            "providers": [],
        });
        Gateway {
            config,
            workers: 1,
            env: Vec::new(),
            wrapper: Vec::new(),
            sockets: Vec::new(),
            program: None,
            demo: Vec::new(),
            token: None,
        }
    }

    /// A gateway in front of one provider that serves gpt-4o and gpt-4o-mini.
    pub fn in_front_of(url: impl AsRef<str>) -> Gateway {
        Gateway::new().provider("openai", url, &["gpt-4o", "gpt-4o-mini"])
    }

    /// `luner demo`, which brings a config and a provider of its own.
    pub fn demo() -> Gateway {
        Gateway::demo_with(&[])
    }

    /// `luner demo` with these further arguments.
    pub fn demo_with(arguments: &[&str]) -> Gateway {
        let demo = ["demo", "--listen", "127.0.0.1:0"].iter().chain(arguments).map(|&word| word.into()).collect();
        Gateway { demo, ..Gateway::new() }
    }

    /// Adds a provider whose key is the canary.
    pub fn provider(self, name: &str, url: impl AsRef<str>, models: &[&str]) -> Gateway {
        self.provider_with(name, url, models, json!({}))
    }

    /// Adds a provider with further settings, such as `{ "retries": 0 }`. They may replace the `api_key`.
    pub fn provider_with(mut self, name: &str, url: impl AsRef<str>, models: &[&str], settings: Value) -> Gateway {
        let mut provider = json!({ "name": name, "base_url": url.as_ref(), "models": models, "api_key": CANARY });
        merge(&mut provider, settings);
        self.config["providers"].as_array_mut().expect("a list of providers").push(provider);
        self
    }

    /// Adds settings to the config, such as `{ "cache": { "max_items": 10 } }`. They replace those of the same keys.
    pub fn with(mut self, settings: Value) -> Gateway {
        merge(&mut self.config, settings);
        self
    }

    /// Adds settings to the config's `server` section.
    pub fn server(self, settings: Value) -> Gateway {
        self.with(json!({ "server": settings }))
    }

    /// Adds a database next to the config file.
    pub fn storage_sqlite(mut self) -> Gateway {
        self.config["storage"] = json!({ "sqlite": { "path": format!("${{{FOLDER}}}/luner.db") } });
        self
    }

    /// Replaces the log level, which is debug.
    pub fn log(self, level: &str) -> Gateway {
        self.with(json!({ "telemetry": { "log": level } }))
    }

    /// Sets the admin token, which [`Running::api`] sends.
    pub fn token(mut self, token: &str) -> Gateway {
        self.token = Some(token.into());
        self.server(json!({ "admin": { "token": token } }))
    }

    pub fn workers(mut self, n: usize) -> Gateway {
        self.workers = n;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Gateway {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts luner through this command, which must end by executing its remaining arguments, as `prlimit --nofile=64`
    /// does.
    pub fn wrap(mut self, command: &[&str]) -> Gateway {
        self.wrapper = command.iter().map(|&word| word.into()).collect();
        self
    }

    /// Passes luner these listening sockets, one or two, as a service manager does.
    pub fn activated(mut self, sockets: &[Arc<TcpListener>]) -> Gateway {
        self.sockets = sockets.to_vec();
        self
    }

    /// Starts this file instead of the binary under test.
    pub fn program(mut self, path: &Path) -> Gateway {
        self.program = Some(path.to_owned());
        self
    }

    /// The text of the config file.
    pub fn config_text(&self) -> String {
        serde_json::to_string_pretty(&self.config).expect("JSON can be written")
    }

    /// Starts luner and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Running {
        let scratch = Arc::new(Scratch::new(&self.config_text()));
        self.start_in(scratch)
    }

    /// Starts luner with the config file that is in this folder, where another luner may have run before.
    #[track_caller]
    pub fn start_in(self, scratch: Arc<Scratch>) -> Running {
        let mut command = self.command(&scratch);
        // Standard streams reach the child without leaking to the processes that other tests start meanwhile.
        let mut passed = self.sockets.iter().map(|s| Stdio::from(OwnedFd::from(s.try_clone().expect("a socket"))));
        passed.next().map(|socket| command.stdin(socket));
        passed.next().map(|socket| command.stdout(socket));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let out = child.stdout.take().map(|out| collect_lines(out, lines.clone()));
        let err = child.stderr.take().map(|err| collect_lines(err, lines.clone()));
        let readers = out.into_iter().chain(err).collect();
        let mut running = Running::new(child, lines, readers, scratch, self.token);
        let mut found = None;
        eventually("luner listens", || {
            found = running.logs().iter().find_map(|line| listening_address(line));
            assert!(found.is_some() || running.is_running(), "luner ended: {:#?}", running.logs());
            found.is_some()
        });
        running.addr = found;
        running
    }

    fn command(&self, scratch: &Scratch) -> Command {
        let mut words: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        if let Some(last) = self.sockets.len().checked_sub(1) {
            words.extend(["sh", "-c", ACTIVATE[last], "sh"].map(OsString::from));
        }
        words.push(self.program.clone().unwrap_or_else(binary).into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if !self.demo.is_empty() {
            command.args(&self.demo);
        } else {
            command.env(FOLDER, &scratch.folder).arg("--config").arg(&scratch.path);
            command.args(["--listen", "127.0.0.1:0", "--log", "json", "--workers", &self.workers.to_string()]);
        }
        command.envs(self.env.iter().cloned()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Merges objects key by key. Any other value of `from` replaces the one in `into`.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The address in the line that says that luner listens.
fn listening_address(line: &str) -> Option<SocketAddr> {
    if let Some(greeting) = line.strip_prefix("luner runs at http://") {
        return greeting.split(',').next()?.parse().ok();
    }
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}

/// Reads lines until the stream ends, on a thread of its own.
fn collect_lines(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
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
pub fn run_luner(arguments: &[&str]) -> Output {
    run_luner_with_env(arguments, &[])
}

/// Runs luner to its end with these environment variables.
#[track_caller]
pub fn run_luner_with_env(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).envs(env.iter().copied()).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot start luner: {error}"))
}

/// Shell commands that move one or two sockets to where `sd_listen_fds(3)` looks for them, then execute their
/// arguments.
const ACTIVATE: [&str; 2] = [
    "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"",
    "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"",
];

/// The environment variable that names the folder of the config file, for paths in that file.
pub const FOLDER: &str = "LUNER_IT_FOLDER";

/// The binary under test: the one that cargo built, or the one that `LUNER_BIN` names.
pub fn binary() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_luner") {
        Some(path) => path.into(),
        None => std::env::var_os("LUNER_BIN").expect("LUNER_BIN names the binary under test").into(),
    }
}

/// A file of the project, by its path from the project's root.
pub fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

//! luner under a supervisor: sockets passed at the start, `sd_notify(3)` messages, `luner health` (FAULTS.md row 61).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::process::{Output, Stdio};
use std::sync::Arc;

use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use serde_json::json;

use crate::support::*;

/// The socket on which a supervisor receives notifications.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
    _folder: Scratch,
}

impl Supervisor {
    fn with_path() -> Supervisor {
        let folder = Scratch::new("");
        let path = folder.folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in the temporary folder");
        Supervisor::new(socket, path.to_str().unwrap().to_owned(), folder)
    }

    fn with_abstract_name() -> Supervisor {
        let name = format!("luner-it-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&Name::from_abstract_name(&name).unwrap()).expect("an abstract socket");
        Supervisor::new(socket, format!("@{name}"), Scratch::new(""))
    }

    fn new(socket: UnixDatagram, name: String, folder: Scratch) -> Supervisor {
        socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        Supervisor { socket, name, _folder: folder }
    }

    /// The next message.
    #[track_caller]
    fn next_message(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("the supervisor receives a message");
        String::from_utf8(buffer[..n].to_vec()).expect("text")
    }

    /// The next message that is not a watchdog heartbeat.
    #[track_caller]
    fn next_state(&self) -> String {
        loop {
            let message = self.next_message();
            if message != WATCHDOG {
                return message;
            }
        }
    }

    /// Discards the messages that have arrived and returns their number.
    fn discard_messages(&self) -> usize {
        self.socket.set_nonblocking(true).expect("a socket that does not block");
        let mut buffer = [0; 4096];
        let count = std::iter::from_fn(|| self.socket.recv(&mut buffer).ok()).count();
        self.socket.set_nonblocking(false).expect("a socket that blocks");
        count
    }
}

const WATCHDOG: &str = "WATCHDOG=1\n";

fn gateway() -> Gateway {
    Gateway::in_front_of("http://127.0.0.1:9/v1")
}

#[test]
fn supervisor_is_notified_of_start_and_stop() {
    for supervisor in [Supervisor::with_path(), Supervisor::with_abstract_name()] {
        let mut luner = gateway().workers(2).env("NOTIFY_SOCKET", &supervisor.name).start();
        let ready = supervisor.next_message();
        assert_eq!(ready, format!("READY=1\nSTATUS=serving at {} with 2 workers\n", luner.addr()));
        luner.signal(Signal::TERM);
        assert_eq!(supervisor.next_message(), "STOPPING=1\nSTATUS=draining\n");
        assert_eq!(luner.wait_exit().code(), Some(0));
        assert_eq!(supervisor.discard_messages(), 0);
    }
}

#[test]
fn supervisor_is_notified_of_hand_overs_and_failed_ones() {
    let supervisor = Supervisor::with_path();
    let gateway = gateway();
    let good = gateway.config_text();
    let mut luner = gateway.env("NOTIFY_SOCKET", &supervisor.name).env("WATCHDOG_USEC", "60000000").start();
    assert!(supervisor.next_state().starts_with("READY=1\n"));
    luner.scratch().write("version: v0");
    luner.signal(Signal::USR2);
    assert!(supervisor.next_state().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let failed = supervisor.next_state();
    assert!(failed.starts_with("READY=1\nSTATUS=serving; the hand-over failed") && failed.contains("78"), "{failed}");

    luner.scratch().write(&good);
    luner.hand_over();
    assert!(supervisor.next_state().starts_with("RELOADING=1\n"));
    let main = format!("MAINPID={}\nREADY=1\nSTATUS=handed over\n", luner.serving_pid());
    assert_eq!(supervisor.next_state(), main, "the successor sends nothing before this");
    assert!(supervisor.next_state().starts_with("READY=1\nSTATUS=serving at "));
    assert_eq!(luner.wait_first_exit().code(), Some(0));
    luner.wait_log("the predecessor has ended");
    luner.signal(Signal::TERM);
    let rest = std::iter::from_fn(|| Some(supervisor.next_state())).find(|state| !state.starts_with("READY=1\n"));
    assert_eq!(rest.as_deref(), Some("STOPPING=1\nSTATUS=draining\n"));
    luner.wait_exit();
}

/// The id of the thread of this name.
fn thread_of(luner: &Running, name: &str) -> nix::unistd::Pid {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", luner.pid())).expect("its threads");
    let is_named =
        |path: &std::path::Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|found| found.trim() == name);
    let found = tasks.flatten().map(|task| task.path()).find(|path| is_named(path)).expect("a thread of this name");
    nix::unistd::Pid::from_raw(found.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

/// FAULTS.md row 61. The shard's thread is stopped as a debugger would stop it.
#[test]
fn stalled_shard_is_reported_and_stops_the_watchdog_messages() {
    let supervisor = Supervisor::with_path();
    let luner = gateway().workers(2).env("NOTIFY_SOCKET", &supervisor.name).env("WATCHDOG_USEC", "200000").start();
    for _ in 0..3 {
        while supervisor.next_message() != WATCHDOG {}
    }
    assert_eq!(luner.health()["stalled_workers"], 0);
    let stalled = thread_of(&luner, "shard-1");
    // Some of these connections belong to the other shard.
    let mut clients: Vec<Raw> = (0..16).map(|_| luner.connect()).collect();
    if let Err(error) = ptrace::attach(stalled) {
        println!("skipped: this machine does not allow tracing a child ({error})");
        return;
    }
    waitpid(stalled, Some(nix::sys::wait::WaitPidFlag::__WALL)).expect("the thread stops");
    let line = luner.wait_log("a shard is stalled");
    assert!(line.contains("\"shard\":1"), "{line}");
    supervisor.discard_messages();
    clients.iter_mut().for_each(|client| _ = client.send(get("/api/health")));
    let mut health = json!(null);
    eventually("the other shard answers", || {
        let answered = clients.iter_mut().position(|client| !client.is_quiet());
        answered.is_some_and(|at| {
            health = clients[at].answer().json();
            true
        })
    });
    assert_eq!((&health["status"], &health["stalled_workers"]), (&json!("degraded"), &json!(1)));
    assert_eq!(supervisor.discard_messages(), 0, "a stalled luner sends no heartbeat");
    ptrace::detach(stalled, None).expect("the thread can be resumed");
    luner.wait_log("a stalled shard runs again");
    while supervisor.next_message() != WATCHDOG {}
    eventually("health is ok again", || luner.health()["status"] == "ok");
}

fn listening() -> (Arc<TcpListener>, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("its address");
    (Arc::new(socket), addr)
}

#[test]
fn passed_sockets_are_served_by_every_shard() {
    let mock = mock();
    let ((first, at_first), (second, at_second)) = (listening(), listening());
    for (sockets, addresses, workers) in [
        (vec![first.clone()], vec![at_first], 3),
        (vec![first.clone(), second.clone()], vec![at_first, at_second], 1),
        (vec![first, second], vec![at_first, at_second], 2),
    ] {
        let gateway = Gateway::in_front_of(mock.base_url()).workers(workers).server(json!({ "drain_timeout": "4s" }));
        let mut luner = gateway.activated(&sockets).start();
        assert_eq!(luner.addr(), addresses[0]);
        let ask_all = || {
            for addr in addresses.iter().cycle().take(20) {
                assert_eq!(Raw::connect(*addr).send(post_chat("gpt-4o", "passed")).answer().content(), reply("passed"));
            }
        };
        ask_all();
        luner.hand_over();
        ask_all();
        assert_eq!(luner.wait_first_exit().code(), Some(0));
        ask_all();
        luner.signal(Signal::TERM);
        luner.wait_exit();
        // A request between two processes waits for the next one.
        let mut early = Raw::connect(at_first);
        early.send(post_chat("gpt-4o", "early"));
        let luner = Gateway::in_front_of(mock.base_url()).activated(&sockets).start();
        assert_eq!(early.answer().content(), reply("early"));
        drop(luner);
    }
}

/// Runs luner to its end with this as the only passed socket.
fn run_with_socket(stdin: Stdio) -> Output {
    let config = Scratch::new(&gateway().config_text());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"]);
    command.arg(binary()).arg("--config").arg(&config.path).stdin(stdin);
    command.output().expect("luner ends")
}

#[test]
fn passed_socket_that_does_not_listen_is_refused() {
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let fd = |socket: std::os::fd::OwnedFd| Stdio::from(socket);
    for (socket, reason) in
        [(fd(bound.into()), "does not listen"), (fd(datagrams.into()), "tcp socket"), (Stdio::null(), "not a socket")]
    {
        let output = run_with_socket(socket);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    }
}

/// Runs `luner health`. Returns its exit code and what it printed.
fn run_health(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run_luner(&[&["health"], arguments].concat());
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

/// Runs `luner health` and asserts that it prints one line. Returns its exit code and the line.
#[track_caller]
fn health_line(arguments: &[&str]) -> (Option<i32>, String) {
    let (code, stdout) = run_health(arguments);
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    (code, stdout)
}

#[test]
fn health_prints_a_line_and_sets_the_exit_code() {
    let mut luner = gateway().start();
    let url = format!("http://{}", luner.addr());
    let (code, line) = health_line(&["--url", &url]);
    assert_eq!(code, Some(0));
    assert!(line.starts_with("ok: luner ") && line.contains(&url), "{line}");
    let listen = json!({ "listen": format!(":{}", luner.addr().port()) });
    let config = Scratch::new(&gateway().server(listen).config_text());
    let path = config.path.to_str().unwrap();
    assert_eq!(health_line(&["--config", path, "--live"]).0, Some(0), "the address is read from the config");
    luner.signal(Signal::TERM);
    luner.wait_exit();
    for live in [&[][..], &["--live"]] {
        let (code, line) = health_line(&[&["--config", path], live].concat());
        assert_eq!((code, line.starts_with("unreachable: ")), (Some(1), true), "{line}");
    }
    // Mistakes in the config file are reported too.
    config.write("version: v0");
    let (code, stdout) = run_health(&["--config", path]);
    assert!(code == Some(1) && stdout.contains("version"), "{stdout}");
}

#[test]
fn health_exit_code_depends_on_the_state() {
    let state = |status: &str| {
        let body = json!({ "status": status, "version": "1", "uptime_s": 1, "io": "epoll", "storage": "ok" });
        let code = if status == "draining" { "503 Service Unavailable" } else { "200 OK" };
        ok_json(body.to_string()).replace("200 OK", code)
    };
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n".to_owned();
    for (answer, serves, lives) in [
        (state("ok"), 0, 0),
        (state("degraded"), 0, 0),
        (state("draining"), 1, 0),
        (state("odd"), 1, 1),
        (ok_json("<html>"), 1, 1),
        (redirect, 1, 1),
    ] {
        let upstream = Upstream::always(answer.clone());
        let url = format!("http://{}/", upstream.addr());
        assert_eq!(health_line(&["--url", &url]).0, Some(serves), "{answer}");
        assert_eq!(health_line(&["--url", &url, "--live"]).0, Some(lives), "{answer}");
    }
    let silent = Upstream::script(|conn| _ = conn.hold());
    assert_eq!(health_line(&["--url", &format!("http://{}", silent.addr())]).0, Some(1));
}

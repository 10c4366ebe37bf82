//! What supervisors start, are told, and ask: sockets that they pass, `sd_notify(3)`, `luner health` (FAULTS.md row 61).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::process::{Output, Stdio};
use std::sync::Arc;

use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use serde_json::json;

use crate::support::*;

/// A supervisor, as far as it listens.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
    _folder: Scratch,
}

impl Supervisor {
    fn at_a_path() -> Supervisor {
        let folder = Scratch::new("");
        let path = folder.folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in the temporary folder");
        Supervisor::on(socket, path.to_str().unwrap().to_owned(), folder)
    }

    fn without_a_path() -> Supervisor {
        let name = format!("luner-it-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&Name::from_abstract_name(&name).unwrap()).expect("an abstract socket");
        Supervisor::on(socket, format!("@{name}"), Scratch::new(""))
    }

    fn on(socket: UnixDatagram, name: String, folder: Scratch) -> Supervisor {
        socket.set_read_timeout(Some(GUARD)).expect("a timeout");
        Supervisor { socket, name, _folder: folder }
    }

    /// The next message.
    #[track_caller]
    fn hears(&self) -> String {
        let mut room = [0; 4096];
        let n = self.socket.recv(&mut room).expect("the supervisor is told something");
        String::from_utf8(room[..n].to_vec()).expect("text")
    }

    /// The next message that is no sign of life.
    #[track_caller]
    fn hears_news(&self) -> String {
        loop {
            let message = self.hears();
            if message != WATCHDOG {
                return message;
            }
        }
    }

    /// Messages that wait.
    fn waiting(&self) -> usize {
        self.socket.set_nonblocking(true).expect("a socket that does not block");
        let mut room = [0; 4096];
        let count = std::iter::from_fn(|| self.socket.recv(&mut room).ok()).count();
        self.socket.set_nonblocking(false).expect("a socket that blocks");
        count
    }
}

const WATCHDOG: &str = "WATCHDOG=1\n";

fn gateway() -> Gateway {
    Gateway::before("http://127.0.0.1:9/v1")
}

#[test]
fn the_supervisor_hears_when_it_serves_and_when_it_ends() {
    for supervisor in [Supervisor::at_a_path(), Supervisor::without_a_path()] {
        let mut luner = gateway().workers(2).env("NOTIFY_SOCKET", &supervisor.name).start();
        let ready = supervisor.hears();
        assert_eq!(ready, format!("READY=1\nSTATUS=serving at {} with 2 workers\n", luner.addr()));
        luner.signal(Signal::TERM);
        assert_eq!(supervisor.hears(), "STOPPING=1\nSTATUS=draining\n");
        assert_eq!(luner.wait_exit().code(), Some(0));
        assert_eq!(supervisor.waiting(), 0);
    }
}

#[test]
fn the_supervisor_follows_a_hand_over_and_hears_of_one_that_fails() {
    let supervisor = Supervisor::at_a_path();
    let gateway = gateway();
    let good = gateway.text();
    let mut luner = gateway.env("NOTIFY_SOCKET", &supervisor.name).env("WATCHDOG_USEC", "60000000").start();
    assert!(supervisor.hears_news().starts_with("READY=1\n"));
    luner.scratch().write("version: v0");
    luner.signal(Signal::USR2);
    assert!(supervisor.hears_news().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let failed = supervisor.hears_news();
    assert!(
        failed.starts_with("READY=1\nSTATUS=serving; no other process took over") && failed.contains("78"),
        "{failed}"
    );

    luner.scratch().write(&good);
    luner.hand_over();
    assert!(supervisor.hears_news().starts_with("RELOADING=1\n"));
    let main = format!("MAINPID={}\nREADY=1\nSTATUS=handed over\n", luner.serving_pid());
    assert_eq!(supervisor.hears_news(), main, "the other is silent before");
    assert!(supervisor.hears_news().starts_with("READY=1\nSTATUS=serving at "));
    assert_eq!(luner.wait_first_exit().code(), Some(0));
    luner.wait_log("the process before this one has ended");
    luner.signal(Signal::TERM);
    let rest = std::iter::from_fn(|| Some(supervisor.hears_news())).find(|news| !news.starts_with("READY=1\n"));
    assert_eq!(rest.as_deref(), Some("STOPPING=1\nSTATUS=draining\n"));
    luner.wait_exit();
}

/// The thread of this name.
fn thread_of(luner: &Running, name: &str) -> nix::unistd::Pid {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", luner.pid())).expect("its threads");
    let is_it =
        |path: &std::path::Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|found| found.trim() == name);
    let found = tasks.flatten().map(|task| task.path()).find(|path| is_it(path)).expect("that thread");
    nix::unistd::Pid::from_raw(found.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

// Row 61. Another thread's stop is what a debugger does.
#[test]
fn a_stalled_shard_is_told_of_and_ends_the_signs_of_life() {
    let supervisor = Supervisor::at_a_path();
    let luner = gateway().workers(2).env("NOTIFY_SOCKET", &supervisor.name).env("WATCHDOG_USEC", "200000").start();
    for _ in 0..3 {
        while supervisor.hears() != WATCHDOG {}
    }
    assert_eq!(luner.health()["stalled_workers"], 0);
    // Whom the other shard serves.
    let stalled = thread_of(&luner, "shard-1");
    let mut asking: Vec<Raw> = (0..16).map(|_| luner.connect()).collect();
    if let Err(error) = ptrace::attach(stalled) {
        println!("skipped: this machine lets nobody trace its own child ({error})");
        return;
    }
    waitpid(stalled, Some(nix::sys::wait::WaitPidFlag::__WALL)).expect("it has stopped");
    let told = luner.wait_log("a shard is stalled");
    assert!(told.contains("\"shard\":1"), "{told}");
    supervisor.waiting();
    asking.iter_mut().for_each(|client| _ = client.send(get("/api/health")));
    let mut health = json!(null);
    eventually("the other shard answers", || {
        let served = asking.iter_mut().position(|client| !client.is_quiet());
        served.is_some_and(|at| {
            health = asking[at].answer().json();
            true
        })
    });
    assert_eq!((&health["status"], &health["stalled_workers"]), (&json!("degraded"), &json!(1)));
    assert_eq!(supervisor.waiting(), 0, "no sign of life meanwhile");
    ptrace::detach(stalled, None).expect("it goes on");
    luner.wait_log("a shard goes on that was stalled");
    while supervisor.hears() != WATCHDOG {}
    eventually("all is well again", || luner.health()["status"] == "ok");
}

fn listening() -> (Arc<TcpListener>, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("its address");
    (Arc::new(socket), addr)
}

#[test]
fn sockets_that_were_passed_are_served_by_every_shard() {
    let mock = mock();
    let ((first, at_first), (second, at_second)) = (listening(), listening());
    for (sockets, addresses, workers) in [
        (vec![first.clone()], vec![at_first], 3),
        (vec![first.clone(), second.clone()], vec![at_first, at_second], 1),
        (vec![first, second], vec![at_first, at_second], 2),
    ] {
        let gateway = Gateway::before(mock.base_url()).workers(workers).server("drain_timeout: 4s");
        let mut luner = gateway.activated(&sockets).start();
        assert_eq!(luner.addr(), addresses[0]);
        let ask_all = || {
            for addr in addresses.iter().cycle().take(20) {
                assert_eq!(Raw::connect(*addr).send(post_chat("gpt-4o", "passed")).answer().said(), reply("passed"));
            }
        };
        ask_all();
        luner.hand_over();
        ask_all();
        assert_eq!(luner.wait_first_exit().code(), Some(0));
        ask_all();
        luner.signal(Signal::TERM);
        luner.wait_exit();
        // Whoever asks between two processes waits for the next.
        let mut early = Raw::connect(at_first);
        early.send(post_chat("gpt-4o", "early"));
        let luner = Gateway::before(mock.base_url()).activated(&sockets).start();
        assert_eq!(early.answer().said(), reply("early"));
        drop(luner);
    }
}

/// Starts luner with this as the only socket that was passed, to its end.
fn passed(stdin: Stdio) -> Output {
    let config = Scratch::new(&gateway().text());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"", "sh"]);
    command.arg(binary()).arg("--config").arg(&config.path).stdin(stdin);
    command.output().expect("luner ends")
}

#[test]
fn what_does_not_listen_is_refused() {
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let fd = |socket: std::os::fd::OwnedFd| Stdio::from(socket);
    for (socket, reason) in
        [(fd(bound.into()), "does not listen"), (fd(datagrams.into()), "tcp socket"), (Stdio::null(), "not a socket")]
    {
        let output = passed(socket);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

fn health(arguments: &[&str]) -> (Option<i32>, String) {
    let output = luner(&[&["health"], arguments].concat());
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code(), said)
}

#[test]
fn health_is_a_line_and_an_exit_code() {
    let mut luner = gateway().start();
    let url = format!("http://{}", luner.addr());
    let (code, said) = health(&["--url", &url]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("ok: luner ") && said.contains(&url), "{said}");
    let config = Scratch::new(&gateway().server(&format!("listen: \":{}\"", luner.addr().port())).text());
    let path = config.path.to_str().unwrap();
    assert_eq!(health(&["--config", path, "--live"]).0, Some(0), "by the configuration's address");
    luner.signal(Signal::TERM);
    luner.wait_exit();
    for live in [&[][..], &["--live"]] {
        let (code, said) = health(&[&["--config", path], live].concat());
        assert_eq!((code, said.starts_with("unreachable: ")), (Some(1), true), "{said}");
    }
    // A mistake in the file is told, too.
    config.write("version: v0");
    let (code, said) = health_of_many_lines(path);
    assert!(code == Some(1) && said.contains("version"), "{said}");
}

fn health_of_many_lines(path: &str) -> (Option<i32>, String) {
    let output = luner(&["health", "--config", path]);
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn health_tells_the_states_apart() {
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
        assert_eq!(health(&["--url", &url]).0, Some(serves), "{answer}");
        assert_eq!(health(&["--url", &url, "--live"]).0, Some(lives), "{answer}");
    }
    let silent = Upstream::script(|conn| _ = conn.hold());
    assert_eq!(health(&["--url", &format!("http://{}", silent.addr())]).0, Some(1));
}

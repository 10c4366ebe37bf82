//! Providers that misbehave once and then behave, and what a refusal must look like: what the tests of upstream faults
//! share.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{
    Answer, CHAT, Gateway, Raw, Refusal, Running, Served, Upstream, assert_refusal, chat, completion, eventually,
    ok_chat, post,
};

/// How a scene ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// In order.
    Fin,
    /// With a reset.
    Rst,
    /// The connection stays open and silent until the gateway closes it.
    Hold,
}

impl End {
    pub fn play(self, conn: &mut Served) {
        match self {
            End::Fin => conn.close(),
            End::Rst => conn.reset(),
            End::Hold => drop(conn.hold()),
        }
    }
}

/// What a provider does with one request.
#[derive(Clone, Debug)]
pub struct Scene {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub end: End,
}

pub fn scene(name: &'static str, bytes: impl Into<Vec<u8>>, end: End) -> Scene {
    Scene { name, bytes: bytes.into(), end }
}

/// Plays each scene on a connection of its own, with one good answer on a connection of its own behind each.
pub fn plays(scenes: &[Scene]) -> Upstream {
    let scenes = scenes.to_vec();
    Upstream::script(move |conn| {
        conn.request();
        match scenes.get(conn.number / 2).filter(|_| conn.number % 2 == 0) {
            None => drop(conn.write(last(&completion("well")))),
            Some(scene) => {
                conn.write(&scene.bytes);
                scene.end.play(conn);
            }
        }
    })
}

/// A whole JSON answer behind which the provider closes.
pub fn last(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// A whole chat answer of exactly so many bytes, head included.
pub fn answer_of(bytes: usize) -> String {
    let answer = |n: usize| ok_chat(&"l".repeat(n));
    // Only the digits of the length vary with it.
    let near = bytes - answer(0).len();
    let fitting = (near.saturating_sub(8)..=near).map(answer).find(|answer| answer.len() == bytes);
    fitting.unwrap_or_else(|| panic!("no answer has {bytes} bytes"))
}

/// The most memory that was ever resident, in bytes.
pub fn rss_peak(gateway: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().map_or(0, |kb| kb * 1024)
}

/// Whether the gateway has taken everything that a provider on this port has sent: the receive queues of
/// `/proc/net/tcp`.
pub fn all_read(port: u16) -> bool {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Columns: number, local and remote address, state, transmit queue : receive queue.
    let mut theirs = sockets.filter(|fields| fields[2].ends_with(&port));
    theirs.all(|fields| fields[4].ends_with(":00000000"))
}

/// Answers every request well.
pub fn serve_well(conn: &mut Served) {
    while conn.next_request().is_some() {
        conn.write(ok_chat("well"));
    }
}

/// A gateway before one provider, `openai`, with these lines of YAML.
#[track_caller]
pub fn gateway(upstream: &Upstream, lines: &str) -> Running {
    Gateway::new().provider_with("openai", upstream.url(), &["gpt-4o"], lines).start()
}

/// A chat request that asks for no stream.
pub fn question() -> Vec<u8> {
    post(CHAT, chat("gpt-4o", "how are you?"))
}

/// The next request on this connection is answered well.
#[track_caller]
pub fn assert_goes_on(caller: &mut Raw) {
    let answer = caller.send(question()).answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.said(), "well");
}

/// Each scene makes this refusal of `request`, the provider sees that request once, and the next one works on the same
/// connection of the caller. In the end no descriptor is left.
#[track_caller]
pub fn assert_each_is_refused(lines: &str, scenes: &[Scene], request: &[u8], refusal: Refusal) -> Running {
    let upstream = plays(scenes);
    let gateway = gateway(&upstream, lines);
    let fds = gateway.open_fds();
    let mut caller = gateway.connect();
    for (index, scene) in scenes.iter().enumerate() {
        println!("scene: {}", scene.name);
        assert_refusal(&caller.send(request).answer(), refusal);
        assert_goes_on(&mut caller);
        assert_eq!(upstream.requests().len(), 2 * (index + 1), "the provider saw each request once");
    }
    drop(caller);
    eventually("the provider's connections are closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
    gateway
}

/// A socket with a port, on which nobody listens yet.
pub fn unheard() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    (socket, address)
}

/// A listener whose queue is full, so that the kernel drops each further SYN.
pub struct BlackHole {
    pub address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let (listener, address) = unheard();
        listener.listen(0).expect("it listens");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queue.push(stream);
            assert!(queue.len() < 16, "a queue of length 0 takes no end of connections");
        }
        BlackHole { address, _listener: listener, _queue: queue }
    }
}

pub const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// A 200 with this body and these further header lines.
pub fn ok_with(headers: &str, body: &str) -> String {
    format!("{JSON_HEAD}{headers}\r\n{body}")
}

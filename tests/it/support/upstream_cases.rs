//! Providers that misbehave on one request and then behave, for the tests of upstream faults.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{
    Answer, CHAT, ExpectedRefusal, Gateway, ProviderConn, Raw, Running, Upstream, assert_refusal, chat, completion,
    eventually, ok_chat, post,
};

/// What a provider does with one request.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    /// What it sends, whatever it was asked.
    pub bytes: Vec<u8>,
    pub ending: Ending,
}

/// What a provider does with the connection after that.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// Closes it in order (FIN).
    Close,
    /// Resets it (RST).
    Reset,
    /// Leaves it open and silent until the gateway closes it.
    Hold,
}

impl Ending {
    pub fn apply(self, conn: &mut ProviderConn) {
        match self {
            Ending::Close => conn.close(),
            Ending::Reset => conn.reset(),
            Ending::Hold => drop(conn.hold()),
        }
    }
}

pub fn case(name: &'static str, bytes: impl Into<Vec<u8>>, ending: Ending) -> Case {
    Case { name, bytes: bytes.into(), ending }
}

/// A provider that runs through the cases: each on a connection of its own, followed by one good answer on another.
pub fn upstream_with_cases(cases: &[Case]) -> Upstream {
    let cases = cases.to_vec();
    Upstream::script(move |conn| {
        conn.request();
        match cases.get(conn.number / 2).filter(|_| conn.number % 2 == 0) {
            None => drop(conn.write(ok_json_then_close(&completion("well")))),
            Some(case) => {
                conn.write(&case.bytes);
                case.ending.apply(conn);
            }
        }
    })
}

/// Answers every request with a good chat answer.
pub fn answer_every_request(conn: &mut ProviderConn) {
    while conn.next_request().is_some() {
        conn.write(ok_chat("well"));
    }
}

/// A whole JSON answer that announces the end of its connection.
pub fn ok_json_then_close(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

const JSON_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// A 200 of JSON with these further header lines and this body.
pub fn ok_json_with(headers: &str, body: &str) -> String {
    format!("{JSON_HEAD}{headers}\r\n{body}")
}

/// A whole chat answer of exactly this many bytes, head included.
pub fn ok_chat_of_size(bytes: usize) -> String {
    let answer = |n: usize| ok_chat(&"l".repeat(n));
    // The head grows with the digits of the length, so the fitting text is a few bytes shorter than this.
    let near = bytes - answer(0).len();
    let fitting = (near.saturating_sub(8)..=near).map(answer).find(|answer| answer.len() == bytes);
    fitting.unwrap_or_else(|| panic!("no answer has {bytes} bytes"))
}

/// The most memory that was ever resident, in bytes.
pub fn peak_rss_bytes(gateway: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<usize>().map_or(0, |kb| kb * 1024)
}

/// Whether the gateway has read everything that a provider on this port has sent: the receive queues in `/proc/net/tcp`
/// are empty.
pub fn gateway_has_read_all(port: u16) -> bool {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Columns: number, local and remote address, state, transmit queue : receive queue.
    let mut from_provider = sockets.filter(|fields| fields[2].ends_with(&port));
    from_provider.all(|fields| fields[4].ends_with(":00000000"))
}

/// Starts a gateway in front of one provider, `openai`, that serves gpt-4o.
#[track_caller]
pub fn start_in_front_of(upstream: &Upstream) -> Running {
    start_with(upstream, json!({}))
}

/// Starts a gateway in front of one provider, `openai`, that serves gpt-4o and has these settings.
#[track_caller]
pub fn start_with(upstream: &Upstream, settings: Value) -> Running {
    Gateway::new().provider_with("openai", upstream.url(), &["gpt-4o"], settings).start()
}

/// A chat request that asks for no stream.
pub fn chat_request() -> Vec<u8> {
    post(CHAT, chat("gpt-4o", "how are you?"))
}

/// Asserts that the next request on this connection is answered well.
#[track_caller]
pub fn assert_next_is_answered(caller: &mut Raw) {
    let answer = caller.send(chat_request()).answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.content(), "well");
}

/// Asserts that each case turns `request` into this refusal, that the provider sees that request once, and that the
/// next one is answered on the same connection of the caller. In the end no descriptor is left.
#[track_caller]
pub fn assert_each_is_refused(settings: Value, cases: &[Case], request: &[u8], refusal: ExpectedRefusal) -> Running {
    let upstream = upstream_with_cases(cases);
    let gateway = start_with(&upstream, settings);
    let fds = gateway.open_fds();
    let mut caller = gateway.connect();
    for (index, case) in cases.iter().enumerate() {
        println!("case: {}", case.name);
        assert_refusal(&caller.send(request).answer(), refusal);
        assert_next_is_answered(&mut caller);
        assert_eq!(upstream.requests().len(), 2 * (index + 1), "the provider saw each request once");
    }
    drop(caller);
    eventually("the provider's connections are closed", || upstream.running() == 0);
    eventually("no descriptor is left", || gateway.open_fds() <= fds);
    gateway
}

/// A socket bound to a port, which refuses connections until it listens.
pub fn bound_but_not_listening() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    (socket, address)
}

/// A listener with a full accept queue, so that the kernel drops each further SYN.
pub struct BlackHole {
    pub address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let (listener, address) = bound_but_not_listening();
        listener.listen(0).expect("it listens");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queue.push(stream);
            assert!(queue.len() < 16, "an accept queue of length 0 never fills up");
        }
        BlackHole { address, _listener: listener, _queue: queue }
    }
}

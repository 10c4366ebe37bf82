//! A present for the demo: a few requests a second through the running gateway, like any caller's, so that what is live
//! moves. A helper thread of the demo; it ends with the process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::seed::{AGENTS, USERS};
use crate::names;

/// Between two requests, on average half of it. Arbitrary: one can watch it.
const PAUSE_MS_MAX: u64 = 1_600;
/// A request that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is asked; the same question comes back, so that the cache has something to do.
const QUESTIONS: [&str; 6] = [
    "Summarize the incident report in three sentences.",
    "Write a test for the parser's empty input.",
    "Which invoices are overdue?",
    "Translate the release notes into German.",
    "Draft a polite answer to a customer whose parcel is late.",
    "What changed between the two contracts?",
];

/// Starts it.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(gateway: SocketAddr) -> io::Result<()> {
    let thread = thread::Builder::new().name("demo traffic".into());
    // The gateway may be draining; then this ends with it.
    thread.spawn(move || send(&gateway.to_string(), |_| {}))?;
    Ok(())
}

/// Sends requests for ever, and hands on how each went.
pub(super) fn send(gateway: &str, mut outcome: impl FnMut(io::Result<()>)) -> ! {
    let mut rng = Rng::new();
    loop {
        thread::sleep(Duration::from_millis(rng.u64(0..PAUSE_MS_MAX)));
        outcome(ask(gateway, &request(&mut rng)));
    }
}

fn request(rng: &mut Rng) -> String {
    let (agent, tenant, model, _, _) = AGENTS[rng.usize(0..AGENTS.len())];
    let (user, question) = (USERS[rng.usize(0..USERS.len())], QUESTIONS[rng.usize(0..QUESTIONS.len())]);
    let (path, body) = if model.starts_with("text-embedding") {
        ("/v1/embeddings", json!({ "model": model, "input": question }))
    } else {
        let temperature = if rng.bool() { 0.0 } else { 0.7 };
        let messages = json!([{ "role": "user", "content": question }]);
        let stream = rng.u8(0..4) == 0;
        let body = json!({ "model": model, "temperature": temperature, "stream": stream, "max_tokens": 400, "messages": messages });
        ("/v1/chat/completions", body)
    };
    let body = body.to_string();
    let length = body.len();
    let head = [
        format!("POST {path} HTTP/1.1"),
        "Host: localhost".into(),
        "Content-Type: application/json".into(),
        "Connection: close".into(),
        format!("{}: {agent}", names::LUNER_AGENT),
        format!("{}: {tenant}", names::LUNER_TENANT),
        format!("{}: {user}", names::LUNER_USER),
        format!("Content-Length: {length}\r\n\r\n{body}"),
    ];
    head.join("\r\n")
}

fn ask(gateway: &str, request: &str) -> io::Result<()> {
    // Each time anew: a container that was replaced has another address.
    let address = gateway.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 16 * 1024];
    while stream.read(&mut answer)? > 0 {}
    Ok(())
}

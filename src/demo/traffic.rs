//! Sample traffic for the demo: a few requests a second, sent to the running gateway like those of any caller, so that the
//! live views of the console change.
//! Runs on a helper thread of the demo, which ends with the process.
//! Never stops on its own: after a failed request it sends the next one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::seed::{AGENTS, DemoAgent, USERS};
use crate::who::Who;

/// Longest pause between two requests; the average is half of it. Arbitrary: slow enough to watch.
const PAUSE_MS_MAX: u64 = 1_600;
/// Longest time to connect, and longest silence of an answer. Arbitrary: longer than any scripted answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The prompts. They repeat, so that some requests hit the cache.
const PROMPTS: [&str; 6] = [
    "Summarize the incident report in three sentences.",
    "Write a test for the parser's empty input.",
    "Which invoices are overdue?",
    "Translate the release notes into German.",
    "Draft a polite answer to a customer whose parcel is late.",
    "What changed between the two contracts?",
];

/// Starts the thread.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(gateway: SocketAddr) -> io::Result<()> {
    let thread = thread::Builder::new().name("demo traffic".into());
    // Failures are ignored: the gateway may be draining, and then the thread ends with the process.
    thread.spawn(move || send(&gateway.to_string(), |_| {}))?;
    Ok(())
}

/// Sends requests forever, and calls `outcome` with the result of each.
pub(super) fn send(gateway: &str, mut outcome: impl FnMut(io::Result<()>)) -> ! {
    let mut rng = Rng::new();
    loop {
        thread::sleep(Duration::from_millis(rng.u64(0..PAUSE_MS_MAX)));
        outcome(exchange(gateway, &request(&mut rng)));
    }
}

fn request(rng: &mut Rng) -> String {
    let DemoAgent { who, model, .. } = AGENTS[rng.usize(0..AGENTS.len())];
    let who = Who { user: USERS[rng.usize(0..USERS.len())], ..who };
    let prompt = PROMPTS[rng.usize(0..PROMPTS.len())];
    let (path, body) = if model.starts_with("text-embedding") {
        ("/v1/embeddings", json!({ "model": model, "input": prompt }))
    } else {
        let temperature = if rng.bool() { 0.0 } else { 0.7 };
        let messages = json!([{ "role": "user", "content": prompt }]);
        let stream = rng.u8(0..4) == 0;
        let body = json!({ "model": model, "temperature": temperature, "stream": stream, "max_tokens": 400, "messages": messages });
        ("/v1/chat/completions", body)
    };
    let body = body.to_string();
    let length = body.len();
    let identity: String = who.parts().map(|(part, value)| format!("{}: {value}\r\n", part.header())).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {identity}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn exchange(gateway: &str, request: &str) -> io::Result<()> {
    // Resolved for every request, because a container that was replaced has another address.
    let address = gateway.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 16 * 1024];
    while stream.read(&mut answer)? > 0 {}
    Ok(())
}

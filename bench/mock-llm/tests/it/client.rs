//! A client that sees every byte. No HTTP library would accept most of the faults.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mock_llm::{Mock, Options};
use serde_json::Value;

pub fn mock() -> Mock {
    Mock::start(Options::default()).unwrap()
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    // Arbitrary: only a failing test waits this long.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// The bytes that arrived, and how the connection ended.
pub struct Got {
    pub bytes: Vec<u8>,
    pub reset: bool,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn status(&self) -> u16 {
        self.text().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub fn head(&self) -> String {
        self.text().split("\r\n\r\n").next().unwrap_or_default().to_owned()
    }

    pub fn body(&self) -> String {
        self.text().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The `data` fields of a chunked stream, `[DONE]` included.
    pub fn data(&self) -> Vec<String> {
        let text = unchunked(&self.body());
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }

    pub fn events(&self) -> Vec<Value> {
        self.data().iter().filter_map(|data| serde_json::from_str(data).ok()).collect()
    }
}

/// The payload of the chunks up to the first malformed one.
pub fn unchunked(mut rest: &str) -> String {
    let mut out = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        let Some(data) = after.get(..size).filter(|data| !data.is_empty()) else {
            break;
        };
        out.push_str(data);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    out
}

pub fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: mock\r\nContent-Length: {len}\r\n{headers}\r\n{body}")
}

pub fn read_all(mut stream: &TcpStream) -> Got {
    let mut bytes = Vec::new();
    let reset = match stream.read_to_end(&mut bytes) {
        Ok(_) => false,
        Err(e) if e.kind() == ErrorKind::ConnectionReset => true,
        Err(e) => panic!("after {} bytes: {e}", bytes.len()),
    };
    Got { bytes, reset }
}

/// Sends one request on its own connection and reads until it ends.
pub fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Got {
    let mut stream = connect(addr);
    let headers = format!("{headers}Connection: close\r\n");
    stream.write_all(request(method, path, &headers, body).as_bytes()).unwrap();
    read_all(&stream)
}

pub fn post(addr: SocketAddr, path: &str, body: &Value) -> Got {
    ask(addr, "POST", path, "", &body.to_string())
}

/// A chat request with one message and the members of `more`.
pub fn chat(model: &str, prompt: &str, more: Value) -> Value {
    let mut body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

pub const CHAT: &str = "/v1/chat/completions";

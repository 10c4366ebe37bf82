//! An answer as bytes and acts: what to write, when to pause, how to end. Pure, so that each fault can be read and
//! tested without a socket; `conn` performs the acts. Each connection's thread keeps one [`Wire`] and its buffers.

mod bend;
mod events;
mod gzip;

use std::time::Duration;

use crate::fault::Fault;
use crate::template::{ID, digits};

/// The script of one answer.
#[derive(Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub acts: Vec<Act>,
    /// The connection ends after the acts.
    pub close: bool,
    /// The acts end with the whole answer, as far as its fault allows: what the ledger calls complete.
    pub whole: bool,
    /// Events put since the last write.
    events: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes the bytes from the last write's end up to `to`, in which `events` events end.
    Write {
        to: usize,
        events: usize,
    },
    Pause(Duration),
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Waits until the peer leaves.
    Hang,
}

/// An answer with its slots filled.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    pub status: u16,
    pub headers: &'a [(&'static str, String)],
    pub id: u64,
    pub body: &'a [u8],
    /// Where each event ends in `body`; of use if `stream`.
    pub ends: &'a [usize],
    pub stream: bool,
    pub keep_alive: bool,
    pub http10: bool,
    /// The request's method was HEAD.
    pub head_only: bool,
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub chunk_delay: Duration,
    pub events_per_write: usize,
}

impl Wire {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), acts: Vec::new(), close: false, whole: true, events: 0 }
    }

    /// Plans `reply`, bent by `fault`.
    pub fn plan(&mut self, reply: &Reply<'_>, pace: Pace, latency: Duration, fault: Option<&Fault>) {
        self.bytes.clear();
        self.acts.clear();
        (self.close, self.whole, self.events) = (!reply.keep_alive, true, 0);
        self.pause(latency);
        match fault {
            None => self.honest(reply, pace),
            Some(fault) => bend::bend(self, reply, pace, fault),
        }
    }

    fn honest(&mut self, reply: &Reply<'_>, pace: Pace) {
        if reply.stream {
            self.stream(reply, pace, usize::MAX);
        } else {
            self.with_length(reply, reply.body.len());
        }
    }

    /// The whole body behind a Content-Length, in one write.
    fn with_length(&mut self, reply: &Reply<'_>, announced: usize) {
        self.head(reply, &format!("Content-Length: {announced}\r\n"));
        if !reply.head_only {
            self.put(reply.body);
        }
        self.flush();
    }

    /// The first `take` events, each in its own chunk; the last chunk too if these were all.
    fn stream(&mut self, reply: &Reply<'_>, pace: Pace, take: usize) {
        let chunked = !reply.http10;
        self.close |= reply.http10;
        self.head(reply, if chunked { CHUNKED } else { "" });
        for (at, event) in reply.events().take(take).enumerate() {
            if at > 0 && at % pace.events_per_write.max(1) == 0 {
                self.flush();
                self.pause(pace.chunk_delay);
            }
            if chunked {
                self.chunk(event, "");
            } else {
                self.put(event);
            }
            self.events += 1;
        }
        if take >= reply.ends.len() && chunked {
            self.put(b"0\r\n\r\n");
        }
        self.flush();
    }

    /// Status line and headers; `framing` is the header lines that say where the body ends.
    fn head(&mut self, reply: &Reply<'_>, framing: &str) {
        self.put(b"HTTP/1.1 ");
        self.put(&digits::<3>(u64::from(reply.status)));
        self.put(b" ");
        self.put(reason(reply.status).as_bytes());
        let kind = if reply.stream { "text/event-stream; charset=utf-8" } else { "application/json" };
        self.lines(&["\r\nContent-Type: ", kind, "\r\nx-request-id: req_"]);
        self.put(&digits::<{ ID.len() }>(reply.id));
        self.put(b"\r\n");
        for (name, value) in reply.headers {
            self.lines(&[name, ": ", value, "\r\n"]);
        }
        if self.close {
            self.put(b"Connection: close\r\n");
        } else if reply.http10 {
            self.put(b"Connection: keep-alive\r\n");
        }
        self.lines(&[framing, "\r\n"]);
    }

    fn chunk(&mut self, data: &[u8], extension: &str) {
        self.lines(&[&format!("{:x}", data.len()), extension, "\r\n"]);
        self.put(data);
        self.put(b"\r\n");
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn lines(&mut self, parts: &[&str]) {
        for part in parts {
            self.put(part.as_bytes());
        }
    }

    /// Ends a write here, if there is anything to write.
    fn flush(&mut self) {
        if self.bytes.len() > self.written() {
            let events = std::mem::take(&mut self.events);
            self.acts.push(Act::Write { to: self.bytes.len(), events });
        }
    }

    fn written(&self) -> usize {
        let last =
            self.acts.iter().rev().find_map(|act| if let Act::Write { to, .. } = act { Some(*to) } else { None });
        last.unwrap_or(0)
    }

    fn pause(&mut self, how_long: Duration) {
        if !how_long.is_zero() {
            self.acts.push(Act::Pause(how_long));
        }
    }

    /// Ends short of the whole answer.
    fn break_off(&mut self, act: Act) {
        self.flush();
        self.whole = false;
        if self.written() > 0 && act == Act::Reset {
            self.pause(SETTLE);
        }
        self.acts.push(act);
    }
}

impl<'a> Reply<'a> {
    fn events(&self) -> impl Iterator<Item = &'a [u8]> {
        let body = self.body;
        self.ends.iter().scan(0, move |from, to| body.get(std::mem::replace(from, *to)..*to))
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Between the last bytes and a RST, so that the peer can read them: a reset may overtake what its socket still holds.
/// Arbitrary; long against loopback, short against a test.
const SETTLE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;

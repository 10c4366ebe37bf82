//! An answer as bytes and steps: what to write, when to pause, how to end. Pure, so that each fault can be tested
//! without a socket. `conn` carries out the steps. Each connection owns one [`Wire`] and reuses its buffers.

// Bodies in gzip.
mod gzip;

// Faults within the events of a stream.
mod events;

// Faults of head, framing and body.
mod faults;

use std::time::Duration;

use crate::fault::Fault;
use crate::template::{ID, digits};

/// The plan of one answer.
#[derive(Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
    /// Whether the connection closes after the steps.
    pub close: bool,
    /// Whether the steps write everything that the fault intends, which the ledger calls complete.
    pub whole: bool,
    /// Events added since the last write.
    events: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes the bytes from the end of the last write to `to`. `events` events end in them.
    Write {
        to: usize,
        events: usize,
    },
    Pause(Duration),
    /// Sends a RST.
    Reset,
    /// Sends a FIN.
    Close,
    /// Waits until the peer leaves.
    Hang,
}

/// An answer whose slots are filled.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    pub status: u16,
    pub headers: &'a [(&'static str, String)],
    pub id: u64,
    pub body: &'a [u8],
    /// The end of each event in `body`, for a stream.
    pub ends: &'a [usize],
    pub stream: bool,
    pub keep_alive: bool,
    pub http10: bool,
    /// Whether the request was a HEAD.
    pub head_only: bool,
}

/// The pace of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub chunk_delay: Duration,
    pub events_per_write: usize,
}

impl Wire {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), steps: Vec::new(), close: false, whole: true, events: 0 }
    }

    /// Plans `reply` as `fault` changes it.
    pub fn plan(&mut self, reply: &Reply<'_>, pace: Pace, latency: Duration, fault: Option<&Fault>) {
        self.bytes.clear();
        self.steps.clear();
        (self.close, self.whole, self.events) = (!reply.keep_alive, true, 0);
        self.pause(latency);
        match fault {
            None => self.plan_normal(reply, pace),
            Some(fault) => faults::plan(self, reply, pace, fault),
        }
    }

    fn plan_normal(&mut self, reply: &Reply<'_>, pace: Pace) {
        if reply.stream {
            self.stream(reply, pace, usize::MAX);
        } else {
            self.with_length(reply, reply.body.len());
        }
    }

    /// Writes the whole answer with a Content-Length at once.
    fn with_length(&mut self, reply: &Reply<'_>, announced: usize) {
        self.head(reply, &format!("Content-Length: {announced}\r\n"));
        if !reply.head_only {
            self.put(reply.body);
        }
        self.flush();
    }

    /// Writes the first `take` events, each in its own chunk, and the last chunk if these are all.
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

    /// Adds the status line and headers. `framing` is the header lines that mark the end of the body.
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

    /// Adds a write of the bytes that no write covers yet, if there are any.
    fn flush(&mut self) {
        if self.bytes.len() > self.written() {
            let events = std::mem::take(&mut self.events);
            self.steps.push(Step::Write { to: self.bytes.len(), events });
        }
    }

    fn written(&self) -> usize {
        let last =
            self.steps.iter().rev().find_map(|step| if let Step::Write { to, .. } = step { Some(*to) } else { None });
        last.unwrap_or(0)
    }

    fn pause(&mut self, how_long: Duration) {
        if !how_long.is_zero() {
            self.steps.push(Step::Pause(how_long));
        }
    }

    /// Ends the answer before it is complete.
    fn end_early(&mut self, step: Step) {
        self.flush();
        self.whole = false;
        if self.written() > 0 && step == Step::Reset {
            self.pause(RESET_DELAY);
        }
        self.steps.push(step);
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

/// Pause before a RST, so that the peer can read the last bytes: a reset discards what its socket still holds.
/// Arbitrary: long against loopback latency, short against a test.
const RESET_DELAY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;

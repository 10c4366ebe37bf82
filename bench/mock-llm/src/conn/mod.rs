//! One connection: reads a request, prepares its answer, sends it, records both. The same steps run in two ways. The
//! thread of `event_loop` serves all connections without blocking, as long as their requests have arrived and their
//! answers can be written at once. A connection that has to wait or misbehave moves for good to a thread of its own,
//! which makes blocking calls. Never holds a lock across a system call.

// Chooses the answer to a request.
mod prepare;

// Sends an answer step by step.
mod progress;

use std::io::Write;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::event::PollFlags;

use crate::Shared;
use crate::api::{Answer, ApiError};
use crate::control;
use crate::fault::Fault;
use crate::ledger::Begun;
use crate::request::{Head, ReadError, Reader};
use crate::settings::Settings;
use crate::wire::{Pace, Reply, Wire};
use prepare::{Prepared, Request, prepare};
use progress::{Progress, linger, wait_for};

pub(crate) struct Conn {
    shared: Arc<Shared>,
    stream: Arc<TcpStream>,
    number: u64,
    reader: Reader,
    wire: Wire,
    /// The answer's body with its slots filled.
    body: Vec<u8>,
    /// The answer to the last request. Identical requests, as in a benchmark, are parsed once.
    prepared: Option<Prepared>,
    /// The answer that is being sent.
    in_flight: Option<InFlight>,
    /// Idle time after which the connection closes.
    idle: Option<Duration>,
}

/// An answer that is being sent, with what the record needs when it ends.
struct InFlight {
    /// The ledger entry. Control requests have none.
    id: Option<u64>,
    status: u16,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Bytes of the request.
    used: usize,
    progress: Progress,
}

/// The next step for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Look for the next request in the buffer.
    Next,
    /// Wait for more input.
    Read,
    /// Move to a thread of its own. Only the event loop gets this.
    Detach,
    End,
}

impl Conn {
    pub fn new(shared: Arc<Shared>, stream: Arc<TcpStream>, number: u64) -> Self {
        let idle = idle_close(&shared.defaults);
        Self {
            shared,
            stream,
            number,
            reader: Reader::new(),
            wire: Wire::new(),
            body: Vec::new(),
            prepared: None,
            in_flight: None,
            idle,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Serves what can be served without waiting. Called when the socket has become readable.
    pub fn serve_without_blocking(&mut self) -> Turn {
        if self.reader.fill(&self.stream).is_err() {
            return Turn::End;
        }
        loop {
            match self.turn_without_blocking() {
                Turn::Next => {}
                other => return other,
            }
        }
    }

    /// Serves until either side ends the connection. The caller closes it.
    pub fn serve_blocking(&mut self) {
        let mut turn = if self.in_flight.is_some() { self.continue_sending(true) } else { Turn::Next };
        while turn == Turn::Next {
            turn = self.blocking_turn();
        }
    }

    fn turn_without_blocking(&mut self) -> Turn {
        // The idle time, set by the request before, needs a thread that waits.
        if self.idle.is_some() {
            return Turn::Detach;
        }
        if self.reader.is_empty() {
            return Turn::Read;
        }
        match self.reader.parsed() {
            Ok(None) => Turn::Read,
            Ok(Some(head)) => match self.reader.plain_body(&head) {
                // Some faults apply before the body arrives, which only the blocking path handles.
                _ if self.shared.armed.left() > 0 || head.settings.fault.is_some() => Turn::Detach,
                None => Turn::Detach,
                Some(body) if !self.reader.holds(&body) => Turn::Read,
                Some(body) => {
                    let used = body.end;
                    self.begin(&head, &body, used, head.settings.clone());
                    self.continue_sending(false)
                }
            },
            Err(_) => Turn::Detach,
        }
    }

    fn blocking_turn(&mut self) -> Turn {
        if let Some(idle) = self.idle
            && self.reader.is_empty()
            && !wait_for(&self.stream, PollFlags::IN, Some(idle))
        {
            return Turn::End;
        }
        let head = match self.reader.head(&self.stream) {
            Ok(head) => head,
            Err(e) => return self.refuse(e),
        };
        let mut overrides = head.settings.clone();
        if self.reader.bytes(&head.method) == b"POST"
            && !self.is_control(&head)
            && let Some(armed) = self.shared.armed.take()
        {
            overrides.fault = Some(armed);
        }
        let fault = overrides.fault.as_ref().or(self.shared.defaults.fault.as_ref());
        if fault == Some(&Fault::EarlyResponse) && !self.is_control(&head) {
            return self.answer_early(&head);
        }
        match self.read_body(&head) {
            Ok((body, used)) => {
                self.begin(&head, &body, used, overrides);
                self.continue_sending(true)
            }
            Err(e) => self.refuse(e),
        }
    }

    fn read_body(&mut self, head: &Head) -> Result<(Range<usize>, usize), ReadError> {
        if head.expects_continue {
            (&*self.stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.reader.body(&self.stream, head)
    }

    fn is_control(&self, head: &Head) -> bool {
        self.reader.bytes(&head.target).starts_with(b"/mock/")
    }

    /// Prepares the answer to a whole request and plans its bytes.
    fn begin(&mut self, head: &Head, body: &Range<usize>, used: usize, overrides: Settings) {
        if self.is_control(head) {
            let (method, target) = (self.reader.text(&head.method), self.reader.text(&head.target));
            let answer = control::answer(&self.shared, method, target, self.reader.bytes(body));
            return self.send(&answer, None, used, head.keep_alive);
        }
        let last = self.prepared.take();
        let request = Request { reader: &self.reader, head, body };
        let prepared = prepare(&self.shared, &request, overrides, last);
        self.idle = idle_close(&prepared.settings).or(self.idle);
        let (answer, settings) = (&prepared.answer, &prepared.settings);
        let method = self.reader.text(&head.method);
        let id = self.shared.recorder.begin(&Begun {
            connection: self.number,
            method,
            path: self.reader.text(&head.target),
            model: &answer.model,
            stream: answer.stream,
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            head: self.reader.bytes(&(0..head.len)),
            body: self.reader.bytes(body),
            body_hash: prepared.body_hash,
        });
        answer.template.render(id, unix_s(), &mut self.body);
        let reply = Reply {
            status: answer.status,
            headers: &answer.headers,
            id,
            body: &self.body,
            ends: &answer.template.ends,
            stream: answer.stream,
            keep_alive: head.keep_alive,
            http10: head.http10,
            head_only: method == "HEAD",
        };
        let pace = Pace {
            chunk_delay: settings.chunk_delay.unwrap_or_default(),
            events_per_write: self.shared.options.events_per_write,
        };
        self.wire.plan(&reply, pace, settings.latency.unwrap_or_default(), settings.fault.as_ref());
        self.in_flight = Some(InFlight {
            id: Some(id),
            status: answer.status,
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            used,
            progress: Progress::new(),
        });
        self.prepared = Some(prepared);
    }

    /// Continues to send the planned answer. Unless it may block, stops before a step that waits.
    fn continue_sending(&mut self, may_block: bool) -> Turn {
        let Some(in_flight) = &mut self.in_flight else {
            return Turn::End;
        };
        if !in_flight.progress.run(&self.stream, &self.wire, may_block) {
            return Turn::Detach;
        }
        let mut ended = in_flight.progress.ended();
        if ended.bytes_sent > 0 {
            ended.status = in_flight.status;
        }
        if let Some(id) = in_flight.id {
            self.shared.recorder.end(id, in_flight.prompt_tokens, in_flight.completion_tokens, ended);
        }
        self.reader.consume(in_flight.used);
        self.in_flight = None;
        if ended.complete && !self.wire.close { Turn::Next } else { Turn::End }
    }

    /// Plans a plain answer without a fault.
    fn send(&mut self, answer: &Answer, id: Option<u64>, used: usize, keep_alive: bool) {
        answer.template.render(id.unwrap_or(0), unix_s(), &mut self.body);
        let reply = Reply {
            status: answer.status,
            headers: &answer.headers,
            id: id.unwrap_or(0),
            body: &self.body,
            ends: &[],
            stream: false,
            keep_alive,
            http10: false,
            head_only: false,
        };
        let pace = Pace { chunk_delay: Duration::ZERO, events_per_write: 1 };
        self.wire.plan(&reply, pace, Duration::ZERO, None);
        self.in_flight = Some(InFlight {
            id,
            status: answer.status,
            prompt_tokens: 0,
            completion_tokens: 0,
            used,
            progress: Progress::new(),
        });
    }

    /// Answers 413 while the request's body may still be arriving. Then reads on, so that no reset discards the answer.
    fn answer_early(&mut self, head: &Head) -> Turn {
        let answer = ApiError::of_status(413).into_answer();
        let id = self.shared.recorder.begin(&Begun {
            connection: self.number,
            method: self.reader.text(&head.method),
            path: self.reader.text(&head.target),
            model: &answer.model,
            stream: false,
            prompt_tokens: 0,
            completion_tokens: 0,
            head: self.reader.bytes(&(0..head.len)),
            body: &[],
            body_hash: 0,
        });
        self.send(&answer, Some(id), head.len, false);
        self.continue_sending(true);
        linger(&self.stream);
        Turn::End
    }

    /// Answers 400 to a malformed request, and nothing to a peer that left.
    fn refuse(&mut self, e: ReadError) -> Turn {
        if let ReadError::Bad(message) = e {
            self.send(&ApiError::invalid(&message).into_answer(), None, 0, false);
            self.continue_sending(true);
            linger(&self.stream);
        }
        Turn::End
    }
}

fn idle_close(settings: &Settings) -> Option<Duration> {
    match settings.fault {
        Some(Fault::IdleClose(after)) => Some(after),
        _ => None,
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

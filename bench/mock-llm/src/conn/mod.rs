//! One connection: read a request, decide what to play, perform it, enter it in the books. The same steps run in two
//! ways. *Hasty* is `reception`'s thread, which serves all connections whose requests have arrived and whose answers
//! can be written at once; *patient* is a thread of the connection's own, with blocking calls, to which it moves for
//! good when it first has to wait or misbehave. Never holds a lock across a system call.

mod perform;
mod play;

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
use crate::script::Script;
use crate::wire::{Pace, Reply, Wire};
use perform::{Performance, happens, linger};
use play::{Played, played_again};

pub(crate) struct Conn {
    shared: Arc<Shared>,
    stream: Arc<TcpStream>,
    number: u64,
    reader: Reader,
    wire: Wire,
    /// The answer's body with its slots filled.
    body: Vec<u8>,
    /// The last request's answer: identical requests, as in a benchmark, are parsed once.
    played: Option<Played>,
    /// An answer under way.
    running: Option<Running>,
    /// Close after so long without a request.
    idle: Option<Duration>,
}

/// What has to be known when an answer ends.
struct Running {
    /// In the ledger; control requests are not entered.
    id: Option<u64>,
    status: u16,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Bytes that the request took.
    used: usize,
    performance: Performance,
}

/// What is to be done next with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Look for the next request in what was read.
    Next,
    /// More has to be read first.
    Read,
    /// It needs a thread of its own. Hasty only.
    Detach,
    End,
}

impl Conn {
    pub fn new(shared: Arc<Shared>, stream: Arc<TcpStream>, number: u64) -> Self {
        let idle = idle_close(&shared.base);
        Self {
            shared,
            stream,
            number,
            reader: Reader::new(),
            wire: Wire::new(),
            body: Vec::new(),
            played: None,
            running: None,
            idle,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Serves what can be served without waiting, after the socket has become readable.
    pub fn hasty(&mut self) -> Turn {
        if self.reader.fill(&self.stream).is_err() {
            return Turn::End;
        }
        loop {
            match self.hasty_turn() {
                Turn::Next => {}
                other => return other,
            }
        }
    }

    /// Serves until one side has had enough. The caller closes.
    pub fn patient(&mut self) {
        let mut turn = if self.running.is_some() { self.perform(true) } else { Turn::Next };
        while turn == Turn::Next {
            turn = self.patient_turn();
        }
    }

    fn hasty_turn(&mut self) -> Turn {
        // Set by the request before, it needs someone who waits.
        if self.idle.is_some() {
            return Turn::Detach;
        }
        if self.reader.is_empty() {
            return Turn::Read;
        }
        match self.reader.parsed() {
            Ok(None) => Turn::Read,
            Ok(Some(head)) => match self.reader.plain_body(&head) {
                // Some faults have to be known before the body comes; threads see to that.
                _ if self.shared.armed.left() > 0 || head.script.fault.is_some() => Turn::Detach,
                None => Turn::Detach,
                Some(body) if !self.reader.holds(&body) => Turn::Read,
                Some(body) => {
                    let used = body.end;
                    self.begin(&head, &body, used, head.script.clone());
                    self.perform(false)
                }
            },
            Err(_) => Turn::Detach,
        }
    }

    fn patient_turn(&mut self) -> Turn {
        if let Some(idle) = self.idle
            && self.reader.is_empty()
            && !happens(&self.stream, PollFlags::IN, Some(idle))
        {
            return Turn::End;
        }
        let head = match self.reader.head(&self.stream) {
            Ok(head) => head,
            Err(e) => return self.refuse(e),
        };
        let mut outer = head.script.clone();
        if self.reader.bytes(&head.method) == b"POST"
            && !self.is_control(&head)
            && let Some(armed) = self.shared.armed.take()
        {
            outer.fault = Some(armed);
        }
        let fault = outer.fault.as_ref().or(self.shared.base.fault.as_ref());
        if fault == Some(&Fault::EarlyResponse) && !self.is_control(&head) {
            return self.early(&head);
        }
        match self.read_body(&head) {
            Ok((body, used)) => {
                self.begin(&head, &body, used, outer);
                self.perform(true)
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

    /// Decides on the answer to a request that is all there, and plans its bytes.
    fn begin(&mut self, head: &Head, body: &Range<usize>, used: usize, outer: Script) {
        if self.is_control(head) {
            let (method, target) = (self.reader.text(&head.method), self.reader.text(&head.target));
            let answer = control::answer(&self.shared, method, target, self.reader.bytes(body));
            return self.send(&answer, None, used, head.keep_alive);
        }
        let last = self.played.take();
        let played = played_again(&self.shared, &self.reader, head, body, outer, last);
        self.idle = idle_close(&played.script).or(self.idle);
        let (answer, script) = (&played.answer, &played.script);
        let method = self.reader.text(&head.method);
        let id = self.shared.books.begin(&Begun {
            connection: self.number,
            method,
            path: self.reader.text(&head.target),
            model: &answer.model,
            stream: answer.stream,
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            head: self.reader.bytes(&(0..head.len)),
            body: self.reader.bytes(body),
            body_hash: played.body_hash,
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
            chunk_delay: script.chunk_delay.unwrap_or_default(),
            events_per_write: self.shared.options.events_per_write,
        };
        self.wire.plan(&reply, pace, script.latency.unwrap_or_default(), script.fault.as_ref());
        self.running = Some(Running {
            id: Some(id),
            status: answer.status,
            prompt_tokens: answer.prompt_tokens,
            completion_tokens: answer.completion_tokens,
            used,
            performance: Performance::new(),
        });
        self.played = Some(played);
    }

    /// Performs what was planned, from where it stopped. Not patient, it stops before anything that waits.
    fn perform(&mut self, patient: bool) -> Turn {
        let Some(running) = &mut self.running else {
            return Turn::End;
        };
        if !running.performance.go_on(&self.stream, &self.wire, patient) {
            return Turn::Detach;
        }
        let mut ended = running.performance.ended();
        if ended.bytes_sent > 0 {
            ended.status = running.status;
        }
        if let Some(id) = running.id {
            self.shared.books.end(id, running.prompt_tokens, running.completion_tokens, ended);
        }
        self.reader.consume(running.used);
        self.running = None;
        if ended.complete && !self.wire.close { Turn::Next } else { Turn::End }
    }

    /// Plans a plain answer that no fault bends.
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
        self.running = Some(Running {
            id,
            status: answer.status,
            prompt_tokens: 0,
            completion_tokens: 0,
            used,
            performance: Performance::new(),
        });
    }

    /// 413 while the request's body may still be on its way; then takes in what comes, lest a reset eats the answer.
    fn early(&mut self, head: &Head) -> Turn {
        let answer = ApiError::of_status(413).into_answer();
        let id = self.shared.books.begin(&Begun {
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
        self.perform(true);
        linger(&self.stream);
        Turn::End
    }

    /// What arrived was not a request: 400 if it was anything.
    fn refuse(&mut self, e: ReadError) -> Turn {
        if let ReadError::Bad(complaint) = e {
            self.send(&ApiError::invalid(&complaint).into_answer(), None, 0, false);
            self.perform(true);
            linger(&self.stream);
        }
        Turn::End
    }
}

fn idle_close(script: &Script) -> Option<Duration> {
    match script.fault {
        Some(Fault::IdleClose(after)) => Some(after),
        _ => None,
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

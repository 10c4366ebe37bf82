//! Server-sent events, passed on the moment they came, in the order and shape in which they came. Reads them on the way:
//! usage, the end, how much text went by. A stream that ends before its end gets an error event, never a silent end.

use super::incoming::Incoming;
use super::pool::Line;
use super::{Failure, Forward, Opened, stall};
use crate::dialect::openai::error::ErrorBody;
use crate::dialect::openai::stream::{error_event, read_chunk};
use crate::dialect::openai::usage::Usage;
use crate::http::head::Version;
use crate::http::sse::{EventSplitter, SseEvent};
use crate::link::AttemptOutcome;
use crate::llm::Operation;
use crate::plan::Plan;
use crate::shard::answer::respond;
use crate::shard::conn::{Conn, Turn};
use crate::shard::judge::record::Record;

/// Longest event, in bytes. Arbitrary: an image in base64 fits.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the events said so far.
struct Reading {
    operation: Operation,
    usage_injected: bool,
    usage: Option<Usage>,
    content_chars: usize,
    done: bool,
    /// The number of the next event, for the operations that count them.
    next_sequence: u64,
}

impl Reading {
    /// Reads one event and appends it to `out`, unless it is the usage chunk that the caller did not ask for.
    fn take(&mut self, event: &SseEvent<'_>, out: &mut Vec<u8>) {
        let data = event.data();
        let chunk = read_chunk(self.operation, event.name(), &data);
        self.content_chars += chunk.content_chars;
        // A provider that says that it failed has ended the stream in a way that the caller sees.
        self.done |= chunk.done || chunk.failed;
        self.next_sequence = chunk.sequence.map_or(self.next_sequence, |sequence| sequence.saturating_add(1));
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        if !(self.usage_injected && chunk.only_usage) {
            out.extend_from_slice(event.raw);
        }
    }
}

/// Passes the stream on. The head stands in `Conn::out`, but for the framing.
pub(crate) async fn relay(
    conn: &mut Conn,
    opened: Opened,
    forward: &Forward<'_>,
    mut record: Record<'_>,
    plan: &Plan,
) -> Turn {
    let Opened { mut line, answer, frame, tether } = opened;
    let chunked = frame.version == Version::Http11;
    if chunked {
        respond::header("Transfer-Encoding", b"chunked", &mut conn.out);
    }
    conn.out.extend_from_slice(b"\r\n");
    let mut reading = Reading {
        operation: forward.operation,
        usage_injected: forward.usage_injected,
        usage: None,
        content_chars: 0,
        done: false,
        next_sequence: 0,
    };
    let mut pump = Pump {
        incoming: Incoming::new(&answer),
        splitter: EventSplitter::new(EVENT_BYTES_MAX),
        payload: std::mem::take(&mut conn.body),
        events: Vec::new(),
    };
    let ended = loop {
        let step = pump.step(&line, &mut reading);
        record.kept.answer(&pump.events);
        if pump.flush(conn, chunked, plan).await.is_err() {
            break Err(Failure::Abandoned);
        }
        match step {
            Ok(false) => {}
            Ok(true) => break Ok(()),
            Err(failure) => break Err(failure),
        }
        match pump.incoming.more(&mut line, forward).await {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    drop(tether);
    let rest = pump.splitter.pending().to_vec();
    let end = pump.finish(ended, &reading);
    if end.is_none() && !rest.is_empty() {
        // What follows the last event, a line end in most cases, is no event and passes as it came.
        pump.events.extend_from_slice(&rest);
        let _ = pump.flush(conn, chunked, plan).await;
    }
    let turn =
        end_stream(conn, &end, chunked && frame.keep_alive, (chunked, reading.next_sequence), forward, plan).await;
    let clean = end.is_none() && pump.incoming.at_clean_end(&line) && answer.keep_alive;
    conn.body = std::mem::take(&mut pump.payload);
    if clean {
        conn.shard.pools.put(forward.provider.origin, line, conn.shard.now());
    }
    let estimated = || Usage::estimated(forward.body_bytes, reading.content_chars);
    record.used(reading.usage.unwrap_or_else(estimated), plan);
    record.cut = end.as_ref().map(|failure| match failure {
        Failure::Abandoned => "the caller left in the middle of the stream",
        _ => "the provider's stream broke",
    });
    let outcome = end.as_ref().map_or(AttemptOutcome::Answered, Failure::outcome);
    record.attempt_ended(&conn.shard, outcome);
    record.settle(&conn.shard, answer.status, None);
    turn
}

/// Ends the caller's side: in order after a whole stream, with an error event after a broken one.
async fn end_stream(
    conn: &mut Conn,
    failure: &Option<Failure>,
    keep_alive: bool,
    (chunked, sequence): (bool, u64),
    forward: &Forward<'_>,
    plan: &Plan,
) -> Turn {
    conn.out.clear();
    match failure {
        Some(Failure::Abandoned) => return Turn::Close,
        Some(failure) => {
            let (reason, kind, code) = failure.told();
            let message = format!("The provider `{}` broke the stream off: {reason}.", forward.provider.name);
            let mut event = Vec::new();
            let error = ErrorBody { message: &message, kind, param: None, code: Some(code) };
            error_event(forward.operation, &error, sequence, &mut event);
            append(&event, chunked, &mut conn.out);
        }
        None => {}
    }
    if chunked {
        conn.out.extend_from_slice(b"0\r\n\r\n");
    }
    let sent = conn.flush(stall(plan)).await;
    match (sent, failure) {
        (Ok(()), None) if keep_alive => Turn::Next,
        (Ok(()), _) => Turn::Linger,
        (Err(()), _) => Turn::Close,
    }
}

impl Failure {
    /// Reason, type and code for an error event.
    fn told(&self) -> (&str, &'static str, &'static str) {
        match self {
            Failure::TimedOut => ("nothing came in time", "timeout", "upstream_timeout"),
            Failure::Broken(reason) | Failure::Unreachable(reason) => (reason, "server_error", "provider_error"),
            _ => ("it ended early", "server_error", "provider_error"),
        }
    }
}

/// Appends a piece of the body, as a chunk where the caller knows chunks.
fn append(piece: &[u8], chunked: bool, out: &mut Vec<u8>) {
    match chunked {
        true => respond::chunk(piece, out),
        false => out.extend_from_slice(piece),
    }
}

/// From the provider's bytes to whole events.
struct Pump {
    incoming: Incoming,
    splitter: EventSplitter,
    payload: Vec<u8>,
    /// Whole events that are to be written.
    events: Vec<u8>,
}

impl Pump {
    /// Decodes and splits what was read. True when the body is over.
    fn step(&mut self, line: &Line, reading: &mut Reading) -> Result<bool, Failure> {
        self.payload.clear();
        // What came before a fault in the framing still is the caller's.
        let over = self.incoming.decode(line, &mut self.payload);
        let events = &mut self.events;
        let split = self.splitter.push(&self.payload, |event| reading.take(&event, events));
        split.map_err(|_| Failure::Broken("an event was too long".into()))?;
        over
    }

    /// Writes what is whole. The first time the head goes with it, in one write.
    async fn flush(&mut self, conn: &mut Conn, chunked: bool, plan: &Plan) -> Result<(), ()> {
        if self.events.is_empty() && conn.out.is_empty() {
            return Ok(());
        }
        if !self.events.is_empty() {
            append(&self.events, chunked, &mut conn.out);
            self.events.clear();
        }
        conn.flush(stall(plan)).await
    }

    /// How the stream ended after all: one without its last event broke, even if its framing did not.
    fn finish(&self, ended: Result<(), Failure>, reading: &Reading) -> Option<Failure> {
        match ended {
            Err(Failure::Abandoned) => Some(Failure::Abandoned),
            // What follows the last event is of no interest to anyone.
            _ if reading.done => None,
            Err(failure) => Some(failure),
            Ok(()) => Some(Failure::Broken("it ended before its last event".into())),
        }
    }
}

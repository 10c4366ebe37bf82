//! The one body pump: whole answers, long answers and streams pass through here, and end in one place.
//!
//! An answer of ordinary size is collected whole, so that a provider that dies in the middle becomes a refusal and never a
//! torn answer. Longer answers and event streams are passed on as they arrive. In each case the last bytes are left in
//! `Caller::out`, so that the request is accounted for before the caller sees the end of its answer.

use std::sync::Arc;

use super::attempt::{AnswerHead, Opened};
use super::exchange::{Passed, ProviderExchange};
use super::failure::Failure;
use super::incoming::IncomingBody;
use super::passage::{Passage, PassageEnd};
use super::pool::UpstreamConn;
use crate::cache::{CachedAnswer, NewEntry};
use crate::dialect::openai::answer::calls_tools;
use crate::dialect::openai::usage_scan::of_answer;
use crate::http::head::{Framing, Version};
use crate::http::wire::DisconnectGuard;
use crate::link::AttemptOutcome;
use crate::llm::Usage;
use crate::shard::answer::head::{self, CostHeaderSlot, Frame};
use crate::shard::caller::Turn;
use crate::shard::judge::record::Record;

/// Answers up to this size are collected whole. Arbitrary: a long completion is 100 KB, a batch of embeddings is more.
const COLLECTED_BYTES_MAX: usize = 1024 * 1024;

/// An answer whose body is being passed on.
pub(crate) struct Body {
    conn: UpstreamConn,
    incoming: IncomingBody,
    head: AnswerHead,
    frame: Frame,
    disconnect_guard: DisconnectGuard,
}

/// How the caller learns where a body that is passed on as it arrives ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CallerFraming {
    Length,
    Chunked,
    UntilClose,
}

/// How far an answer was collected.
enum Collected {
    /// All of it, in a buffer that begins with the caller's head if there is a slot for the cost.
    Whole { buffer: Vec<u8>, body_at: usize, slot: Option<CostHeaderSlot> },
    /// The beginning of an answer that is too long to collect.
    TooLong(Vec<u8>),
}

impl<'p> ProviderExchange<'_, 'p> {
    /// Passes an answer on, except for its last bytes.
    pub(crate) async fn pass_body(&mut self, opened: Opened, record: &mut Record<'p>) -> Passed {
        let Opened { conn, head, frame, disconnect_guard } = opened;
        let mut body = Body { incoming: IncomingBody::new(&head), conn, head, frame, disconnect_guard };
        if body.head.is_event_stream {
            self.unshare();
            let mut payload = std::mem::take(&mut self.caller.body);
            payload.clear();
            let passage = Passage::events(self.outgoing.operation, self.outgoing.usage_injected);
            return self.pump(body, passage, payload, record).await;
        }
        match self.collect(&mut body).await {
            Ok(Collected::Whole { buffer, body_at, slot }) => self.lay_out_whole(body, buffer, body_at, slot, record),
            Ok(Collected::TooLong(first)) => {
                self.unshare();
                self.pump(body, Passage::bytes(), first, record).await
            }
            Err(failure) => {
                self.caller.accounting.end_attempt(record, failure.outcome());
                let substitute = self.substitute(failure, self.outgoing.provider, record);
                self.lay_out(substitute, record)
            }
        }
    }

    /// Collects the body, up to [`COLLECTED_BYTES_MAX`].
    async fn collect(&mut self, body: &mut Body) -> Result<Collected, Failure> {
        // With a known length the head is complete but for the cost, and the body is decoded right behind it.
        let known_length = match body.head.framing {
            Framing::Length(n) => usize::try_from(n).ok().filter(|n| *n <= COLLECTED_BYTES_MAX),
            Framing::Empty => Some(0),
            Framing::Chunked | Framing::UntilClose => None,
        };
        let slot = known_length.map(|length| {
            let slot = CostHeaderSlot::reserve(&mut self.caller.out);
            match body.head.framing {
                // 204 and 304 have no body and must not say how long it is (RFC 9110 section 8.6).
                Framing::Empty => self.caller.out.extend_from_slice(b"\r\n"),
                _ => head::length(length, &mut self.caller.out),
            }
            slot
        });
        let mut buffer = match slot {
            Some(_) => std::mem::take(&mut self.caller.out),
            None => std::mem::take(&mut self.caller.body),
        };
        let body_at = if slot.is_some() { buffer.len() } else { 0 };
        buffer.truncate(body_at);
        let result = body.collect_into(&mut buffer, body_at + COLLECTED_BYTES_MAX, self).await;
        match result {
            Ok(true) => Ok(Collected::Whole { buffer, body_at, slot }),
            Ok(false) => Ok(Collected::TooLong(buffer)),
            Err(failure) => {
                self.caller.body = buffer;
                Err(failure)
            }
        }
    }

    /// Lays a whole answer out, shares it, and ends the attempt.
    fn lay_out_whole(
        &mut self,
        body: Body,
        buffer: Vec<u8>,
        body_at: usize,
        slot: Option<CostHeaderSlot>,
        record: &mut Record<'p>,
    ) -> Passed {
        let content = buffer.get(body_at..).unwrap_or_default();
        let estimated = || Usage::estimated(self.outgoing.body_bytes, 0);
        record.set_usage(match body.head.status {
            200..300 if body.head.is_plain_json => of_answer(content).unwrap_or_else(estimated),
            200..300 => estimated(),
            // A provider that refuses charges nothing.
            _ => Usage::default(),
        });
        self.share(&body.head, content, record);
        record.capture.add_answer(content);
        let from = match slot {
            Some(slot) => {
                self.caller.out = buffer;
                slot.fill(record.cost, &mut self.caller.out)
            }
            None => {
                head::cost(record.cost, &mut self.caller.out);
                head::length(buffer.len(), &mut self.caller.out);
                self.caller.out.extend_from_slice(&buffer);
                self.caller.body = buffer;
                0
            }
        };
        let then = if body.frame.keep_alive { Turn::Next } else { Turn::Linger };
        let status = body.head.status;
        self.end_body(body, &None, record);
        Passed { status, refusal: None, from, then }
    }

    /// Passes a body on as it arrives. `payload` holds what was decoded of it already. The head is in `Caller::out`, except
    /// for the framing.
    async fn pump(
        &mut self,
        mut body: Body,
        mut passage: Passage,
        mut payload: Vec<u8>,
        record: &mut Record<'p>,
    ) -> Passed {
        let framing = body.lay_out_framing(payload.len(), &mut self.caller.out);
        let mut over = match passage {
            // Collecting has decoded everything that was read.
            Passage::Bytes { .. } => Ok(false),
            Passage::Events(_) => body.incoming.decode(&body.conn, &mut payload),
        };
        let result = loop {
            // The bytes before a fault in the framing still belong to the caller.
            let (passed, taken) = passage.take(&payload);
            record.capture.add_answer(passed);
            framing.append(passed, &mut self.caller.out);
            match taken.and(over) {
                Ok(false) => {}
                Ok(true) => break Ok(()),
                Err(failure) => break Err(failure),
            }
            if !self.caller.out.is_empty() && self.caller.flush(self.plan.write_timeout).await.is_err() {
                break Err(Failure::Abandoned);
            }
            payload.clear();
            match body.incoming.read(&mut body.conn, self.outgoing.provider).await {
                Ok(true) => over = body.incoming.decode(&body.conn, &mut payload),
                Ok(false) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        payload.clear();
        self.caller.body = payload;
        let end = passage.end(result, &self.outgoing.provider.name);
        self.end_pump(body, end, framing, record)
    }

    /// Ends a body that was passed on as it arrived.
    fn end_pump(&mut self, body: Body, end: PassageEnd, framing: CallerFraming, record: &mut Record<'p>) -> Passed {
        let PassageEnd { failure, tail, in_order, usage, generated_chars, cut } = end;
        framing.append(&tail, &mut self.caller.out);
        if in_order && framing == CallerFraming::Chunked {
            self.caller.out.extend_from_slice(b"0\r\n\r\n");
        }
        let usage = usage.filter(|_| body.head.is_event_stream || body.head.is_plain_json);
        record.set_usage(usage.unwrap_or_else(|| Usage::estimated(self.outgoing.body_bytes, generated_chars)));
        record.cut = cut;
        let then = match (in_order, &failure) {
            // A torn answer must look torn: the connection closes before the announced length or the last chunk.
            (false, _) => Turn::Close,
            (true, None) if framing != CallerFraming::UntilClose && body.frame.keep_alive => Turn::Next,
            (true, _) => Turn::Linger,
        };
        if matches!(failure, Some(Failure::Abandoned)) {
            self.caller.out.clear();
        }
        let status = body.head.status;
        self.end_body(body, &failure, record);
        Passed { status, refusal: None, from: 0, then }
    }

    /// The one end of every body: counts the attempt, and returns the connection to the pool if it may be used again.
    fn end_body(&mut self, body: Body, failure: &Option<Failure>, record: &mut Record<'p>) {
        let Body { conn, incoming, head, disconnect_guard, .. } = body;
        drop(disconnect_guard);
        let outcome = failure.as_ref().map_or(AttemptOutcome::Answered, Failure::outcome);
        self.caller.accounting.end_attempt(record, outcome);
        if failure.is_none() && head.keep_alive && incoming.ended_cleanly(&conn) {
            self.upstream.pools.put(self.outgoing.provider.origin, conn, self.caller.ground.now());
        }
    }

    /// Hands a whole answer to the cache and to everyone who waits for it, if it may be shared.
    fn share(&mut self, head: &AnswerHead, body: &[u8], record: &Record<'_>) {
        let Some(miss) = self.outgoing.cache_miss else { return };
        // An answer that calls tools carries ids that belong to one conversation.
        let content_type = head.content_type.clone().filter(|_| head.status == 200 && !calls_tools(body));
        let Some(content_type) = content_type else {
            return self.unshare();
        };
        let (usage, cost, ttl) = (record.usage, record.cost, self.plan.cache.ttl);
        let parts = NewEntry { key: miss.key, body: body.to_vec(), content_type, usage, cost, ttl };
        let entry = Arc::new(CachedAnswer::new(parts, self.caller.ground.now()));
        match self.lead.take() {
            Some(lead) => lead.landed(entry),
            None => self.upstream.cache.store(miss, entry),
        }
    }

    /// Tells everyone who waits that this answer cannot be shared.
    fn unshare(&mut self) {
        if let Some(lead) = self.lead.take() {
            lead.unshared();
        }
    }
}

impl Body {
    /// Decodes into `buffer` until the body ends (true) or `buffer` holds more than `bytes_max` (false).
    async fn collect_into(
        &mut self,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
        exchange: &ProviderExchange<'_, '_>,
    ) -> Result<bool, Failure> {
        loop {
            if self.incoming.decode(&self.conn, buffer)? {
                return Ok(true);
            }
            if buffer.len() > bytes_max {
                return Ok(false);
            }
            if !self.incoming.read(&mut self.conn, exchange.outgoing.provider).await? {
                return Ok(true);
            }
        }
    }

    /// Ends the caller's head with the body's framing. `decoded` bytes of the body were decoded already.
    fn lay_out_framing(&self, decoded: usize, out: &mut Vec<u8>) -> CallerFraming {
        let length = match self.head.is_event_stream {
            true => None,
            false => self.incoming.decoder.remaining().map(|left| left + decoded as u64),
        };
        let framing = match (length, self.frame.version) {
            (Some(n), _) => {
                head::header("Content-Length", itoa::Buffer::new().format(n).as_bytes(), out);
                CallerFraming::Length
            }
            (None, Version::Http11) => {
                head::header("Transfer-Encoding", b"chunked", out);
                CallerFraming::Chunked
            }
            (None, Version::Http10) => CallerFraming::UntilClose,
        };
        out.extend_from_slice(b"\r\n");
        framing
    }
}

impl CallerFraming {
    /// Appends a piece of the body.
    fn append(self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            _ if piece.is_empty() => {}
            CallerFraming::Chunked => head::chunk(piece, out),
            CallerFraming::Length | CallerFraming::UntilClose => out.extend_from_slice(piece),
        }
    }
}

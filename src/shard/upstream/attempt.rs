//! One attempt: takes or opens a connection, sends the request, reads the head of the answer and lays it out for the caller.
//! Nothing of an answer reaches the caller here, so that another attempt stays possible.

use std::io;

use super::connect::Connector;
use super::exchange::ProviderExchange;
use super::failure::{Failure, reason};
use super::pool::{READ_BYTES, UpstreamConn};
use super::retry::Tries;
use crate::http::body::BodyDecoder;
use crate::http::head::{self, Framing, HeadError, HeadLimits, HeadScan, KnownHeader, Method, ResponseHead, Version};
use crate::http::wire::{DisconnectGuard, ShutdownReason};
use crate::plan::Provider;
use crate::shard::answer::head::{self as answer_head, Frame};
use crate::shard::judge::charge::Charged;
use crate::shard::judge::record::AttemptRecord;

/// An answer that has begun. The caller's head is laid out in `Caller::out`, except for the length of the body.
pub(crate) struct Opened {
    pub(crate) conn: UpstreamConn,
    pub(crate) head: AnswerHead,
    /// The frame that the request asked for, except for what this answer rules out.
    pub(crate) frame: Frame,
    /// Shuts the connection down when the caller leaves.
    pub(crate) disconnect_guard: DisconnectGuard,
}

/// What the head of an answer says.
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// The provider keeps the connection open.
    pub(crate) keep_alive: bool,
    /// The body is a stream of server-sent events.
    pub(crate) is_event_stream: bool,
    /// The body is JSON without a content coding.
    pub(crate) is_plain_json: bool,
    /// Set if the body is plain JSON and may be cached.
    pub(crate) content_type: Option<Box<str>>,
    /// Offset of the body in the connection's buffer.
    pub(crate) head_len: usize,
}

/// Interim answers (1xx) before the real one. Arbitrary.
const INTERIM_MAX: u32 = 16;

/// Longest `Retry-After` that is passed on, in seconds. Arbitrary: an hour.
const RETRY_AFTER_S_MAX: u32 = 3600;

/// Bounds on the head of a provider's answer. Arbitrary: twice what large clouds send.
const HEAD_LIMITS: HeadLimits = HeadLimits { head_bytes: 64 * 1024, headers: 200 };

impl ProviderExchange<'_, '_> {
    /// Sends the request once, to the provider that it was charged to.
    pub(crate) async fn attempt(
        &mut self,
        charged: &Charged<'_>,
        tries: &Tries,
        attempt: &mut AttemptRecord<'_>,
    ) -> Result<Opened, Failure> {
        let provider = charged.provider();
        let mut conn = self.connection(provider, tries, attempt).await?;
        let disconnect_guard = DisconnectGuard::new(&self.caller.wire, &conn.wire);
        let request = std::mem::take(&mut self.outgoing.bytes);
        let (sent, request) = conn.wire.write_request(request, provider.timeout).await;
        self.outgoing.bytes = request;
        // A provider that refuses early may have answered and closed before it took the whole request. Its answer still
        // counts, so a failed write is reported only if nothing can be read.
        let mut sent = sent.err();
        let until = self.caller.ground.watch.deadline(provider.timeout);
        let mut scan = HeadScan::default();
        let mut interim = 0;
        loop {
            let broken = |error: HeadError| Failure::Broken(error.to_string());
            if let Some(head_len) = scan.advance(&conn.buf, &HEAD_LIMITS).map_err(broken)? {
                let head_bytes = conn.buf.get(..head_len).unwrap_or_default();
                let head = head::response(head_bytes, &HEAD_LIMITS, Method::Post).map_err(broken)?;
                if head.status >= 200 {
                    attempt.status = Some(head.status);
                    let mut answer = AnswerHead::new(&head, head_len, self.outgoing.cache_miss.is_some());
                    // The unsent rest of this request would be read as the next one.
                    answer.keep_alive &= sent.is_none();
                    if let Some(failure) = failure_of(&head, tries.has_others()) {
                        self.recycle(provider, conn, &answer);
                        return Err(failure);
                    }
                    let frame = answer.frame(&self.frame).closing_if(self.caller.ground.is_draining());
                    self.lay_out_head(&head, &frame);
                    return Ok(Opened { conn, head: answer, frame, disconnect_guard });
                }
                interim += 1;
                if interim > INTERIM_MAX || head.status == 101 {
                    return Err(Failure::Broken("it sent interim answers that were not asked for".into()));
                }
                conn.buf.drain(..head_len);
                scan.reset();
                continue;
            }
            if !head::plausible_response_start(&conn.buf) {
                return Err(Failure::Broken("it does not speak HTTP/1.1".into()));
            }
            match conn.wire.read(&mut conn.buf, READ_BYTES, until).await {
                Ok(n) if n > 0 => _ = attempt.first_byte.get_or_insert_with(|| self.caller.ground.now()),
                end => return Err(no_head(&conn, interim > 0, sent.take().map_or(end, Err))),
            }
        }
    }

    /// A pooled connection, or a new one.
    async fn connection(
        &self,
        provider: &Provider,
        tries: &Tries,
        attempt: &mut AttemptRecord<'_>,
    ) -> Result<UpstreamConn, Failure> {
        if !tries.needs_fresh()
            && let Some(conn) = self.upstream.pools.take(provider.origin, attempt.started)
        {
            return Ok(conn);
        }
        let (ground, addresses) = (&*self.caller.ground, &self.upstream.addresses);
        Connector { ground, addresses, provider, plan: self.plan }.connect(attempt).await
    }

    /// Returns the connection of an answer that is not passed on to the pool, if the whole answer has arrived.
    fn recycle(&self, provider: &Provider, conn: UpstreamConn, answer: &AnswerHead) {
        let mut decoder = BodyDecoder::new(answer.framing);
        let rest = conn.buf.get(answer.head_len..).unwrap_or_default();
        let whole = decoder.feed(rest, &mut Vec::new()).is_ok_and(|used| used == rest.len() && decoder.is_done());
        if whole && answer.keep_alive && conn.wire.shutdown_reason() == ShutdownReason::None {
            self.upstream.pools.put(provider.origin, conn, self.caller.ground.now());
        }
    }

    /// Starts the caller's head from the provider's, in `Caller::out`: everything but the body's length.
    fn lay_out_head(&mut self, head: &ResponseHead<'_>, frame: &Frame) {
        let out = &mut self.caller.out;
        out.clear();
        answer_head::open(head.status, frame, &self.caller.ground.date(), out);
        let lists_hops = head.first(KnownHeader::Connection).is_some();
        for header in head.headers().filter(|header| goes_to_caller(header.known, header.name)) {
            if !(lists_hops && head.headers.connection_lists(header.name)) {
                answer_head::header(header.name, header.value, out);
            }
        }
        self.outgoing.labels().write(if self.outgoing.cache_miss.is_some() { "MISS" } else { "BYPASS" }, out);
    }
}

/// Why nothing more comes before the head is complete.
fn no_head(conn: &UpstreamConn, began: bool, end: io::Result<usize>) -> Failure {
    match (conn.wire.shutdown_reason(), end) {
        (ShutdownReason::DeadlinePassed, _) => Failure::TimedOut,
        (ShutdownReason::CallerLeft, _) => Failure::Abandoned,
        (ShutdownReason::None, _) if conn.reused && !began && conn.buf.is_empty() => Failure::Stale,
        (ShutdownReason::None, Err(error)) => Failure::Broken(reason(&error)),
        (ShutdownReason::None, Ok(_)) => {
            Failure::Broken("it closed the connection before its answer was complete".into())
        }
    }
}

impl AnswerHead {
    fn new(head: &ResponseHead<'_>, head_len: usize, may_be_cached: bool) -> AnswerHead {
        let media = head.first(KnownHeader::ContentType).unwrap_or_default();
        let is_plain =
            head.first(KnownHeader::ContentEncoding).is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
        let is_plain_json = is_plain && starts_with(media, b"application/json");
        let content_type = std::str::from_utf8(media).ok().filter(|_| is_plain_json && may_be_cached);
        AnswerHead {
            status: head.status,
            framing: head.framing,
            keep_alive: head.keep_alive,
            is_event_stream: head.status < 300 && is_plain && starts_with(media, b"text/event-stream"),
            is_plain_json,
            content_type: content_type.map(Into::into),
            head_len,
        }
    }

    /// An HTTP/1.0 caller learns the end of a body without a length from the end of the connection.
    fn frame(&self, asked: &Frame) -> Frame {
        let lengthless = !matches!(self.framing, Framing::Length(_) | Framing::Empty);
        Frame { keep_alive: asked.keep_alive && !(lengthless && asked.version == Version::Http10), ..*asked }
    }
}

fn starts_with(value: &[u8], media: &[u8]) -> bool {
    value.get(..media.len()).is_some_and(|start| start.eq_ignore_ascii_case(media))
}

/// The failure that an answer's status means, or `None` if the answer is passed on.
///
/// A provider's redirects are not followed, because a key must not travel to another host. Its 5xx are not passed on.
/// Everything else is, except a 429 while there are other providers to ask.
fn failure_of(head: &ResponseHead<'_>, has_others: bool) -> Option<Failure> {
    if head.status < 300 || ((400..500).contains(&head.status) && !(head.status == 429 && has_others)) {
        return None;
    }
    let seconds = head
        .first(KnownHeader::RetryAfter)
        .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<u64>().ok());
    let retry_after_s = seconds.map(|s| u32::try_from(s).unwrap_or(u32::MAX).min(RETRY_AFTER_S_MAX));
    Some(match head.status {
        300..400 => Failure::Broken(format!("it answered with a redirect ({})", head.status)),
        status => Failure::Status { status, retry_after_s },
    })
}

/// Whether the caller sees this header of the provider's: all except those of the connection, those that the gateway writes
/// itself, and those that speak for the provider's site (cookies of one caller must not reach another).
fn goes_to_caller(known: KnownHeader, name: &str) -> bool {
    const DROPPED: [&str; 5] = ["set-cookie", "alt-svc", "strict-transport-security", "cf-ray", "cf-cache-status"];
    match known {
        KnownHeader::ContentLength
        | KnownHeader::TransferEncoding
        | KnownHeader::Connection
        | KnownHeader::KeepAlive
        | KnownHeader::Te => false,
        KnownHeader::Trailer
        | KnownHeader::Upgrade
        | KnownHeader::ProxyConnection
        | KnownHeader::Date
        | KnownHeader::Server => false,
        KnownHeader::XRequestId | KnownHeader::Traceparent | KnownHeader::Tracestate => false,
        _ => {
            !DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped))
                && !name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("x-luner-"))
        }
    }
}

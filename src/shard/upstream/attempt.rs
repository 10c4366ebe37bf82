//! One attempt: a connection, the request sent, the head of the answer read and laid out for the caller. Nothing of an
//! answer reaches the caller here, so that another attempt stays possible.

use std::io;

use super::pool::Line;
use super::retry::Tries;
use super::{ANSWER_HEAD, Failure, Forward, READ_BYTES, connect};
use crate::http::body::BodyDecoder;
use crate::http::head::{self, Framing, HeadError, HeadScan, KnownHeader, Method, ResponseHead, Version};
use crate::http::wire::{DisconnectGuard, ShutdownReason};
use crate::plan::{Plan, Provider};
use crate::shard::Shard;
use crate::shard::answer::respond::{self, Frame};
use crate::shard::conn::Conn;
use crate::shard::judge::charge::Charged;
use crate::shard::judge::record::Tried;

/// An answer whose head has been read; the caller's head stands in `Conn::out`, but for what says how long the body is.
pub(crate) struct Opened {
    pub(crate) line: Line,
    pub(crate) answer: Answer,
    /// As asked, but for what this answer makes impossible.
    pub(crate) frame: Frame,
    /// Shuts the line down when the caller leaves.
    pub(crate) tether: DisconnectGuard,
}

/// What the head of an answer says.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// The provider keeps the connection open.
    pub(crate) keep_alive: bool,
    /// Server-sent events.
    pub(crate) is_stream: bool,
    /// The body is JSON that can be read as it is.
    pub(crate) is_readable: bool,
    /// Of a readable body that may be cached.
    pub(crate) content_type: Option<Box<str>>,
    /// Where in `Line::buf` the body begins.
    pub(crate) head_len: usize,
}

/// Interim answers (1xx) before the real one. Arbitrary.
const INTERIM_MAX: u32 = 16;

/// Longest `Retry-After` that is passed on, in seconds. Arbitrary: an hour.
const RETRY_AFTER_S_MAX: u32 = 3600;

/// Sends the request once, to the provider that it was charged to.
pub(crate) async fn attempt(
    conn: &mut Conn,
    (forward, charged): (&mut Forward<'_>, &Charged<'_>),
    frame: &Frame,
    tries: &Tries,
    tried: &mut Tried<'_>,
    plan: &Plan,
) -> Result<Opened, Failure> {
    let shard = conn.shard.clone();
    let provider = charged.provider();
    let pooled = if tries.needs_fresh() { None } else { shard.pools.take(provider.origin, tried.started) };
    let mut line = match pooled {
        Some(line) => line,
        None => connect::connect(&shard, provider, plan, tried).await?,
    };
    let tether = DisconnectGuard::new(&conn.wire, &line.wire);
    let (sent, request) = line.wire.write_request(std::mem::take(&mut forward.request), provider.timeout).await;
    forward.request = request;
    // A provider that refuses early may have answered and closed before it took everything: its answer still counts, so
    // a failed write is reported only if nothing can be read.
    let mut sent = sent.err();
    let until = shard.watch.deadline(provider.timeout);
    let mut scan = HeadScan::default();
    let mut interim = 0;
    loop {
        let broken = |error: HeadError| Failure::Broken(error.to_string());
        if let Some(head_len) = scan.advance(&line.buf, &ANSWER_HEAD).map_err(broken)? {
            let head_bytes = line.buf.get(..head_len).unwrap_or_default();
            let head = head::response(head_bytes, &ANSWER_HEAD, Method::Post).map_err(broken)?;
            if head.status >= 200 {
                tried.status = Some(head.status);
                let mut answer = Answer::of(&head, head_len, forward.asking.is_some());
                // What is left of the request would be read as the next one.
                answer.keep_alive &= sent.is_none();
                if let Some(failure) = refused(&head, tries.has_others()) {
                    recycle(&shard, provider, line, &answer);
                    return Err(failure);
                }
                let frame = answer.frame(frame).as_of(&shard);
                lay_out(&head, forward, &frame, conn);
                return Ok(Opened { line, answer, frame, tether });
            }
            interim += 1;
            if interim > INTERIM_MAX || head.status == 101 {
                return Err(Failure::Broken("it sent interim answers that nobody asked for".into()));
            }
            line.buf.drain(..head_len);
            scan.reset();
            continue;
        }
        if !head::plausible_response_start(&line.buf) {
            return Err(Failure::Broken("it does not speak HTTP/1.1".into()));
        }
        match line.wire.read(&mut line.buf, READ_BYTES, until).await {
            Ok(n) if n > 0 => _ = tried.first_byte.get_or_insert_with(|| shard.now()),
            end => return Err(ended(&line, interim > 0, sent.take().map_or(end, Err))),
        }
    }
}

/// What it means that nothing more comes before the head was complete.
fn ended(line: &Line, began: bool, end: io::Result<usize>) -> Failure {
    match (line.wire.shutdown_reason(), end) {
        (ShutdownReason::DeadlinePassed, _) => Failure::TimedOut,
        (ShutdownReason::CallerLeft, _) => Failure::Abandoned,
        (ShutdownReason::None, _) if line.reused && !began && line.buf.is_empty() => Failure::Stale,
        (ShutdownReason::None, Err(error)) => Failure::Broken(connect::reason(&error)),
        (ShutdownReason::None, Ok(_)) => {
            Failure::Broken("it closed the connection before its answer was complete".into())
        }
    }
}

impl Answer {
    fn of(head: &ResponseHead<'_>, head_len: usize, may_be_cached: bool) -> Answer {
        let media = head.first(KnownHeader::ContentType).unwrap_or_default();
        let is_plain =
            head.first(KnownHeader::ContentEncoding).is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
        let is_readable = is_plain && starts_with(media, b"application/json");
        let content_type = std::str::from_utf8(media).ok().filter(|_| is_readable && may_be_cached);
        Answer {
            status: head.status,
            framing: head.framing,
            keep_alive: head.keep_alive,
            is_stream: head.status < 300 && is_plain && starts_with(media, b"text/event-stream"),
            is_readable,
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

/// A provider's redirects are not followed, since a key must not travel to another host, and its 5xx are not passed on;
/// everything else is the caller's to see, but that it has no room (429) while there are `others` to ask.
fn refused(head: &ResponseHead<'_>, others: bool) -> Option<Failure> {
    if head.status < 300 || ((400..500).contains(&head.status) && !(head.status == 429 && others)) {
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

/// Keeps the connection of an answer that is not passed on, if all of the answer is here already.
fn recycle(shard: &Shard, provider: &Provider, line: Line, answer: &Answer) {
    let mut decoder = BodyDecoder::new(answer.framing);
    let rest = line.buf.get(answer.head_len..).unwrap_or_default();
    let whole = decoder.feed(rest, &mut Vec::new()).is_ok_and(|used| used == rest.len() && decoder.is_done());
    if whole && answer.keep_alive && line.wire.shutdown_reason() == ShutdownReason::None {
        shard.pools.put(provider.origin, line, shard.now());
    }
}

/// Starts the caller's head from the provider's, in `Conn::out`: everything but the body's length.
fn lay_out(head: &ResponseHead<'_>, forward: &Forward<'_>, frame: &Frame, conn: &mut Conn) {
    let out = &mut conn.out;
    out.clear();
    respond::open(head.status, frame, &conn.shard.date.borrow(), out);
    let hops = head.first(KnownHeader::Connection).is_some();
    for header in head.headers().filter(|header| returns(header.known, header.name)) {
        if !(hops && head.headers.connection_lists(header.name)) {
            respond::header(header.name, header.value, out);
        }
    }
    forward.labels().write(if forward.asking.is_some() { "MISS" } else { "BYPASS" }, out);
}

/// Which of the provider's headers the caller sees: all but those of the connection, those that the gateway writes itself,
/// and those that speak for the provider's site (cookies of one caller must not reach another).
fn returns(known: KnownHeader, name: &str) -> bool {
    const KEPT_BACK: [&str; 5] = ["set-cookie", "alt-svc", "strict-transport-security", "cf-ray", "cf-cache-status"];
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
            !KEPT_BACK.iter().any(|kept| name.eq_ignore_ascii_case(kept))
                && !name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("x-luner-"))
        }
    }
}

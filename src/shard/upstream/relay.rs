//! An answer that is no stream: collected whole where it is of ordinary size, so that a provider that dies in the middle
//! becomes a refusal and never a torn answer; passed on piece by piece beyond that.

use super::flight::share;
use super::incoming::Incoming;
use super::pool::Line;
use super::{Failure, Forward, Opened, left, stall};
use crate::dialect::openai::usage::{Usage, UsageScan, of_answer};
use crate::http::head::{Framing, Version};
use crate::link::AttemptOutcome;
use crate::plan::Plan;
use crate::shard::answer::respond::{self, CostRoom, Frame};
use crate::shard::conn::{Conn, Turn};
use crate::shard::judge::record::Record;
use crate::units::MicroUsd;

/// Answers up to this size are collected whole. Arbitrary: a long completion is 100 KB, a batch of embeddings is more.
const COLLECTED_BYTES_MAX: usize = 1024 * 1024;

/// Passes the answer on.
pub(crate) async fn relay(
    conn: &mut Conn,
    opened: Opened,
    forward: &mut Forward<'_>,
    mut record: Record<'_>,
    plan: &Plan,
) -> Turn {
    let Opened { mut line, answer, frame, tether } = opened;
    let mut incoming = Incoming::new(&answer);
    // With a known length the head is complete but for the cost, and the body is decoded right behind it.
    let known = match answer.framing {
        Framing::Length(n) => usize::try_from(n).ok().filter(|n| *n <= COLLECTED_BYTES_MAX),
        Framing::Empty => Some(0),
        Framing::Chunked | Framing::UntilClose => None,
    };
    let mut room = None;
    let mut body = match known {
        Some(n) => {
            room = Some(CostRoom::open(&mut conn.out));
            if answer.framing == Framing::Empty {
                // 204 and 304 have no body and must not say how long it is (RFC 9110 section 8.6).
                conn.out.extend_from_slice(b"\r\n");
            } else {
                respond::length(n, &mut conn.out);
            }
            std::mem::take(&mut conn.out)
        }
        None => std::mem::take(&mut conn.body),
    };
    let body_at = if known.is_some() { body.len() } else { 0 };
    body.truncate(body_at);
    let collected = collect(&mut incoming, &mut line, &mut body, body_at + COLLECTED_BYTES_MAX, forward).await;
    let whole = match collected {
        Ok(whole) => whole,
        Err(failure) => {
            conn.body = body;
            record.attempt_ended(&conn.shard, failure.outcome());
            return match failure.refusal(forward.provider) {
                Some(refusal) => {
                    forward.failed();
                    conn.refuse(&refusal, &frame, record, plan).await
                }
                None => left(conn, record, forward, plan),
            };
        }
    };
    if !whole {
        forward.unshared();
        let passing = Passing {
            incoming,
            line,
            answer_status: answer.status,
            readable: answer.is_readable,
            keep_alive: answer.keep_alive,
        };
        return pass(conn, passing, body, forward, &frame, record, plan).await;
    }
    let usage = usage_of(body.get(body_at..).unwrap_or_default(), answer.status, answer.is_readable, forward);
    record.used(usage, plan);
    share(&conn.shard, forward, &answer, body.get(body_at..).unwrap_or_default(), &record, plan);
    record.kept.answer(body.get(body_at..).unwrap_or_default());
    let from = assemble(conn, room, body, record.cost);
    drop(tether);
    record.attempt_ended(&conn.shard, AttemptOutcome::Answered);
    if incoming.at_clean_end(&line) && answer.keep_alive {
        conn.shard.pools.put(forward.provider.origin, line, conn.shard.now());
    }
    record.settle(&conn.shard, answer.status, None);
    conn.send_from(from, &frame, stall(plan)).await
}

/// Puts the answer together in `Conn::out`: with room for the cost it stands in `body` already. From which byte on it is to
/// be sent.
fn assemble(conn: &mut Conn, room: Option<CostRoom>, body: Vec<u8>, cost: MicroUsd) -> usize {
    match room {
        Some(room) => {
            conn.out = body;
            room.fill(cost, &mut conn.out)
        }
        None => {
            respond::cost(cost, &mut conn.out);
            respond::length(body.len(), &mut conn.out);
            conn.out.extend_from_slice(&body);
            conn.body = body;
            0
        }
    }
}

fn usage_of(body: &[u8], status: u16, readable: bool, forward: &Forward<'_>) -> Usage {
    match status {
        200..300 if readable => of_answer(body).unwrap_or_else(|| Usage::estimated(forward.body_bytes, 0)),
        200..300 => Usage::estimated(forward.body_bytes, 0),
        // A provider that refuses charges nothing.
        _ => Usage::default(),
    }
}

/// Decodes into `into` until the body ends (true) or `into` holds more than `max` bytes (false).
async fn collect(
    incoming: &mut Incoming,
    line: &mut Line,
    into: &mut Vec<u8>,
    max: usize,
    forward: &Forward<'_>,
) -> Result<bool, Failure> {
    loop {
        if incoming.decode(line, into)? {
            return Ok(true);
        }
        if into.len() > max {
            return Ok(false);
        }
        if !incoming.more(line, forward).await? {
            return Ok(true);
        }
    }
}

/// An answer that is too long to collect.
struct Passing {
    incoming: Incoming,
    line: Line,
    answer_status: u16,
    readable: bool,
    keep_alive: bool,
}

/// Passes a long answer on as it comes, `first` being what was collected of it. The head stands in `Conn::out`.
async fn pass(
    conn: &mut Conn,
    passing: Passing,
    mut first: Vec<u8>,
    forward: &Forward<'_>,
    frame: &Frame,
    mut record: Record<'_>,
    plan: &Plan,
) -> Turn {
    let Passing { mut incoming, mut line, answer_status, readable, keep_alive } = passing;
    let mut scan = UsageScan::new();
    let length = incoming.decoder.remaining().map(|left| left + first.len() as u64);
    let chunked = length.is_none() && frame.version == Version::Http11;
    match length {
        Some(n) => respond::header("Content-Length", itoa::Buffer::new().format(n).as_bytes(), &mut conn.out),
        None if chunked => respond::header("Transfer-Encoding", b"chunked", &mut conn.out),
        None => {}
    }
    conn.out.extend_from_slice(b"\r\n");
    let mut ended: Result<bool, Failure> = Ok(true);
    loop {
        scan.feed(&first);
        record.kept.answer(&first);
        if chunked && !first.is_empty() {
            respond::chunk(&first, &mut conn.out);
        } else {
            conn.out.extend_from_slice(&first);
        }
        let over = incoming.decoder.is_done() || !matches!(ended, Ok(true));
        if over && chunked && ended.is_ok() {
            conn.out.extend_from_slice(b"0\r\n\r\n");
        }
        if conn.flush(stall(plan)).await.is_err() {
            ended = Err(Failure::Abandoned);
        }
        if over || ended.is_err() {
            break;
        }
        first.clear();
        ended = incoming.more(&mut line, forward).await;
        if let Err(failure) = incoming.decode(&line, &mut first) {
            ended = Err(failure);
        }
    }
    let usage = if readable { scan.finish() } else { None };
    record.used(usage.unwrap_or_else(|| Usage::estimated(forward.body_bytes, 0)), plan);
    let outcome = ended.as_ref().map_or_else(Failure::outcome, |_| AttemptOutcome::Answered);
    record.attempt_ended(&conn.shard, outcome);
    let whole = ended.is_ok();
    if whole && keep_alive && incoming.at_clean_end(&line) {
        conn.shard.pools.put(forward.provider.origin, line, conn.shard.now());
    }
    record.cut = (!whole).then_some("the answer was cut");
    record.settle(&conn.shard, answer_status, None);
    // A torn answer must look torn: the connection ends without the length or the last chunk that was announced.
    let framed = chunked || length.is_some();
    if whole && framed && frame.keep_alive { Turn::Next } else { Turn::Close }
}

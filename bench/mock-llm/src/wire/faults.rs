//! The effect of each fault on the bytes of an answer. Pure. `fault::Fault` has the names.

use super::{CHUNKED, Pace, Reply, Step, Wire, events, gzip};
use crate::fault::Fault;

/// Plans `reply` as `fault` changes it. Faults that changed the answer before (status, usage) change nothing here.
pub fn plan(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, fault: &Fault) {
    if reply.stream
        && let Some((body, ends)) = events::apply(fault, reply.events())
    {
        return wire.plan_normal(&Reply { body: &body, ends: &ends, ..*reply }, pace);
    }
    match fault {
        Fault::Hang => wire.end_early(Step::Hang),
        Fault::ResetBefore => wire.end_early(Step::Reset),
        Fault::CloseBefore => wire.end_early(Step::Close),
        Fault::ResetHead => {
            wire.head(reply, CHUNKED);
            wire.bytes.truncate(wire.bytes.len() / 2);
            wire.end_early(Step::Reset);
        }
        Fault::ResetMidBody => partial(wire, reply, pace, reply.ends.len() / 2, Step::Reset),
        Fault::CloseMidBody => partial(wire, reply, pace, reply.ends.len() / 2, Step::Close),
        Fault::ResetMidStream(events) => partial(wire, reply, pace, *events, Step::Reset),
        Fault::CloseMidStream(events) => partial(wire, reply, pace, *events, Step::Close),
        Fault::GarbageStatus => not_http(wire, b"HTTP/one.one OK 200\r\nContent-Length: 0\r\n\r\n"),
        Fault::Http09 => not_http(wire, reply.body),
        Fault::H2Preface => not_http(wire, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        Fault::BareLf | Fault::HugeHead | Fault::ManyHeaders | Fault::LongHeaderName => odd_head(wire, reply, fault),
        Fault::LongLength | Fault::ShortLength | Fault::TwoLengths | Fault::LengthAndChunked | Fault::NoContent => {
            lengths(wire, reply, fault);
        }
        Fault::BadChunk | Fault::EmptyChunkSize | Fault::HugeChunkSize => bad_chunk(wire, reply, fault),
        Fault::Interim => {
            wire.put(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </hint>; rel=preload\r\n\r\n");
            wire.flush();
            wire.plan_normal(reply, pace);
        }
        Fault::CloseDelimited => {
            wire.close = true;
            wire.head(reply, "");
            wire.put(reply.body);
            wire.flush();
        }
        Fault::Trailers => {
            chunked(wire, reply, "", "Trailer: x-mock-checksum\r\n", "x-mock-checksum: 0123\r\nx-mock-late: yes\r\n");
        }
        Fault::ChunkExtensions => chunked(wire, reply, ";name=value;quoted=\"a;b\"", "", ""),
        Fault::Gzip => encoded(wire, reply, &gzip::stored(reply.body)),
        Fault::GzipBomb => encoded(wire, reply, &gzip::bomb(BOMB_BYTES)),
        Fault::Split(bytes) => split(wire, reply, pace, *bytes),
        Fault::SplitWire(bytes) => resplit(wire, reply, pace, *bytes),
        Fault::Drip(every) => resplit(wire, reply, Pace { chunk_delay: *every, ..pace }, 1),
        _ => wire.plan_normal(reply, pace),
    }
}

/// Sends this many events, or half of a plain body, and then `end`.
fn partial(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, events: usize, end: Step) {
    if reply.stream {
        wire.stream(reply, pace, events.min(reply.ends.len().saturating_sub(1)));
    } else {
        wire.with_length(reply, reply.body.len());
        wire.bytes.truncate(wire.bytes.len().saturating_sub(reply.body.len() / 2));
        wire.steps.pop();
    }
    wire.end_early(end);
}

fn not_http(wire: &mut Wire, bytes: &[u8]) {
    wire.put(bytes);
    wire.flush();
    wire.close = true;
}

/// Sends an oversized head, or one with the wrong line ends, and then the normal body.
fn odd_head(wire: &mut Wire, reply: &Reply<'_>, fault: &Fault) {
    let length = format!("Content-Length: {}\r\n", reply.body.len());
    let more = match fault {
        Fault::HugeHead => format!("x-mock-huge: {}\r\n", "h".repeat(1 << 20)),
        Fault::ManyHeaders => (0..10_000).map(|n| format!("x-mock-{n}: {n}\r\n")).collect(),
        Fault::LongHeaderName => format!("{}: long\r\n", "n".repeat(65_536)),
        _ => String::new(),
    };
    wire.head(reply, &(length + &more));
    if *fault == Fault::BareLf {
        wire.bytes.retain(|byte| *byte != b'\r');
    }
    wire.put(reply.body);
    wire.flush();
}

fn lengths(wire: &mut Wire, reply: &Reply<'_>, fault: &Fault) {
    let len = reply.body.len();
    match fault {
        Fault::LongLength => {
            wire.with_length(reply, len + 100);
            wire.end_early(Step::Close);
        }
        Fault::ShortLength => {
            wire.head(reply, &format!("Content-Length: {len}\r\n"));
            wire.put(reply.body);
            wire.put(POISON);
        }
        Fault::TwoLengths => {
            wire.head(reply, &format!("Content-Length: {len}\r\nContent-Length: {}\r\n", len + 1));
            wire.put(reply.body);
        }
        Fault::LengthAndChunked => {
            wire.head(reply, &format!("Content-Length: {len}\r\n{CHUNKED}"));
            wire.chunk(reply.body, "");
            wire.put(b"0\r\n\r\n");
        }
        _ => wire.head(&Reply { status: 204, ..*reply }, "Content-Length: 5\r\n"),
    }
    wire.flush();
}

/// The pieces of the body: events, or two halves.
fn pieces<'a>(reply: &Reply<'a>) -> Vec<&'a [u8]> {
    if reply.stream {
        return reply.events().collect();
    }
    let (first, second) = reply.body.split_at(reply.body.len() / 2);
    vec![first, second]
}

/// Sends chunks with a wrong size for the second one, and then a clean end.
fn bad_chunk(wire: &mut Wire, reply: &Reply<'_>, fault: &Fault) {
    wire.close = true;
    wire.head(reply, CHUNKED);
    for (at, piece) in pieces(reply).into_iter().enumerate() {
        if at == 1 {
            let size = match fault {
                Fault::BadChunk => "zz",
                Fault::HugeChunkSize => "ffffffffffffffff",
                _ => "",
            };
            wire.lines(&[size, "\r\n"]);
            wire.put(piece);
            wire.put(b"\r\n");
        } else {
            wire.chunk(piece, "");
        }
    }
    wire.put(b"0\r\n\r\n");
    wire.flush();
}

fn chunked(wire: &mut Wire, reply: &Reply<'_>, extension: &str, header: &str, trailers: &str) {
    wire.head(reply, &format!("{CHUNKED}{header}"));
    for piece in pieces(reply) {
        wire.chunk(piece, extension);
        wire.events += usize::from(reply.stream);
        wire.flush();
    }
    wire.lines(&["0", extension, "\r\n", trailers, "\r\n"]);
    wire.flush();
}

fn encoded(wire: &mut Wire, reply: &Reply<'_>, body: &[u8]) {
    wire.head(reply, &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len()));
    wire.put(body);
    wire.flush();
}

/// Sends the body in writes of `bytes`. Each write of a stream is a chunk, so that the framing splits events too.
fn split(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, bytes: usize) {
    let framing = if reply.stream { CHUNKED.to_owned() } else { format!("Content-Length: {}\r\n", reply.body.len()) };
    wire.head(reply, &framing);
    wire.flush();
    for piece in reply.body.chunks(bytes) {
        wire.pause(pace.chunk_delay);
        if reply.stream {
            wire.chunk(piece, "");
        } else {
            wire.put(piece);
        }
        wire.flush();
    }
    if reply.stream {
        wire.put(b"0\r\n\r\n");
        wire.events = reply.ends.len();
        wire.flush();
    }
}

/// Sends the normal bytes in writes of `bytes`, with a pause after each.
fn resplit(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, bytes: usize) {
    let steps = wire.steps.len();
    wire.plan_normal(reply, pace);
    wire.steps.truncate(steps);
    let len = wire.bytes.len();
    for from in (0..len).step_by(bytes) {
        let to = len.min(from + bytes);
        wire.steps.push(Step::Write { to, events: if to == len && reply.stream { reply.ends.len() } else { 0 } });
        wire.pause(if to == len { std::time::Duration::ZERO } else { pace.chunk_delay });
    }
}

/// A whole second answer, which must never reach a caller.
const POISON: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"canary\":\"poisoned\"}";

/// Unpacked size of the bomb (FAULTS.md row 16).
const BOMB_BYTES: usize = 10 << 20;

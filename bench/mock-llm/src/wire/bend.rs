//! What each fault does to the bytes of an answer. Pure; the names are `fault::Fault`'s.

use super::{Act, CHUNKED, Pace, Reply, Wire, events, gzip};
use crate::fault::Fault;

/// Plans `reply` as `fault` would have it. Faults that were dealt with before (status, usage) change nothing here.
pub fn bend(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, fault: &Fault) {
    if reply.stream
        && let Some((body, ends)) = events::dress(fault, reply.events())
    {
        return wire.honest(&Reply { body: &body, ends: &ends, ..*reply }, pace);
    }
    match fault {
        Fault::Hang => wire.break_off(Act::Hang),
        Fault::ResetBefore => wire.break_off(Act::Reset),
        Fault::CloseBefore => wire.break_off(Act::Close),
        Fault::ResetHead => {
            wire.head(reply, CHUNKED);
            wire.bytes.truncate(wire.bytes.len() / 2);
            wire.break_off(Act::Reset);
        }
        Fault::ResetMidBody => in_part(wire, reply, pace, reply.ends.len() / 2, Act::Reset),
        Fault::CloseMidBody => in_part(wire, reply, pace, reply.ends.len() / 2, Act::Close),
        Fault::ResetMidStream(events) => in_part(wire, reply, pace, *events, Act::Reset),
        Fault::CloseMidStream(events) => in_part(wire, reply, pace, *events, Act::Close),
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
            wire.honest(reply, pace);
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
        Fault::SplitWire(bytes) => recut(wire, reply, pace, *bytes),
        Fault::Drip(every) => recut(wire, reply, Pace { chunk_delay: *every, ..pace }, 1),
        _ => wire.honest(reply, pace),
    }
}

/// So many events, or half of a plain body, and then `end`.
fn in_part(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, events: usize, end: Act) {
    if reply.stream {
        wire.stream(reply, pace, events.min(reply.ends.len().saturating_sub(1)));
    } else {
        wire.with_length(reply, reply.body.len());
        wire.bytes.truncate(wire.bytes.len().saturating_sub(reply.body.len() / 2));
        wire.acts.pop();
    }
    wire.break_off(end);
}

fn not_http(wire: &mut Wire, bytes: &[u8]) {
    wire.put(bytes);
    wire.flush();
    wire.close = true;
}

/// Heads that are too large or ended by the wrong bytes, with the honest body behind them.
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
            wire.break_off(Act::Close);
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

/// The body's pieces: events, or two halves.
fn pieces<'a>(reply: &Reply<'a>) -> Vec<&'a [u8]> {
    if reply.stream {
        return reply.events().collect();
    }
    let (first, second) = reply.body.split_at(reply.body.len() / 2);
    vec![first, second]
}

/// Two chunks, of which the second is announced wrongly, and a clean end behind them for whoever gets there.
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

/// The body in writes of `bytes`; in a stream each write is a chunk, so that events are cut by the framing as well.
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

/// The honest bytes, cut anew: `bytes` in each write, a pause between two.
fn recut(wire: &mut Wire, reply: &Reply<'_>, pace: Pace, bytes: usize) {
    let acts = wire.acts.len();
    wire.honest(reply, pace);
    wire.acts.truncate(acts);
    let len = wire.bytes.len();
    for from in (0..len).step_by(bytes) {
        let to = len.min(from + bytes);
        wire.acts.push(Act::Write { to, events: if to == len && reply.stream { reply.ends.len() } else { 0 } });
        wire.pause(if to == len { std::time::Duration::ZERO } else { pace.chunk_delay });
    }
}

/// A whole second answer, which must never reach anybody.
const POISON: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"canary\":\"poisoned\"}";

/// FAULTS.md row 16.
const BOMB_BYTES: usize = 10 << 20;

//! One caller's connection: requests come in one at a time, each is read whole, decided and answered. One task of one shard
//! owns it; it never reads the next request while one is being answered, so that answers keep their order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::answer::refusal::Refusal;
use super::answer::respond::{self, Frame, Token};
use super::answer::traceparent::Parent;
use super::body_budget::{Room, SHORT_BYTES};
use super::judge::flow::{self, Decision, Judging};
use super::judge::record::{Ids, Record};
use super::{Shard, upstream};
use crate::clock::Now;
use crate::http::body::BodyDecoder;
use crate::http::head::{self, Expect, Framing, HeadScan, KnownHeader, Method, RequestHead};
use crate::http::wire::{ShutdownReason, Wire};
use crate::plan::Plan;

/// A connection may wait so long for its next request. nginx's default.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Room for one read: a typical request with its head fits.
const READ_BYTES: usize = 4 * 1024;
/// How many times as much as has come there is room for in the next read of a long body. Arbitrary, well below the hundred
/// times that a caller may make the gateway hold.
const READ_GROWTH: usize = 16;
/// A connection between requests keeps no more than this, which is not counted as held.
const KEPT_BYTES_MAX: usize = SHORT_BYTES;
/// After a refusal that left bytes unread, so much more is read and thrown away, so that the refusal is not lost to a
/// reset (RFC 9112 section 9.6).
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// And for so long.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// What is to happen with the connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It serves another one.
    Next,
    /// It ends; everything that was sent to us has been read.
    Close,
    /// It ends, with bytes of the caller's perhaps unread.
    Linger,
}

/// One connection and its buffers, which outlive a request so that the next one needs no allocation.
pub(crate) struct Conn {
    pub(crate) shard: Rc<Shard>,
    pub(crate) wire: Wire,
    /// The answer while it is being put together.
    pub(crate) out: Vec<u8>,
    /// A decoded body: the caller's if it came in chunks, then the provider's.
    pub(crate) body: Vec<u8>,
    /// The request to the provider.
    pub(crate) spare: Vec<u8>,
    input: Vec<u8>,
    /// For the request, if it is a long one.
    room: Room,
    pub(crate) peer: SocketAddr,
}

/// Serves a connection that is counted already until it ends.
pub(crate) async fn serve(wire: Wire, peer: SocketAddr, shard: Rc<Shard>) {
    let (out, body, spare, input) = Default::default();
    let room = Room::new(shard.clone());
    let mut conn = Conn { shard: shard.clone(), wire, out, body, spare, input, room, peer };
    let mut turn = Turn::Next;
    while turn == Turn::Next {
        turn = conn.turn().await;
        conn.room.give_back();
    }
    if turn == Turn::Linger {
        conn.linger().await;
    }
    drop(conn);
    shard.connections.set(shard.connections.get() - 1);
}

/// A request on its way in.
struct Arrival {
    scan: HeadScan,
    /// Set once the end of the head was found.
    head_len: Option<usize>,
    /// Bytes of input that must be there before it is worth looking again.
    wanted: usize,
    chunks: Option<Chunks>,
    continued: bool,
}

struct Chunks {
    decoder: BodyDecoder,
    /// Where in the input the next undecoded byte stands.
    at: usize,
}

/// A whole request of `used` bytes, and what is to be done with it.
struct Decided<'p> {
    decision: Decision<'p>,
    frame: Frame,
    used: usize,
}

/// What a look at the input yields.
#[allow(clippy::large_enum_variant, reason = "it lives for one match; a box would be an allocation a request")]
enum Look<'p> {
    /// More bytes are needed.
    More,
    /// The caller waits for a word before it sends its body.
    Continue,
    /// A whole request.
    Decided(Decided<'p>),
}

impl Conn {
    /// One request and its answer.
    async fn turn(&mut self) -> Turn {
        if self.input.is_empty() {
            // While it drains a caller gets the time to send what it took this connection to be there for; the answer then
            // says that it closes.
            let until = match self.shard.drains_until.get() {
                Some(until) => until.max(self.shard.watch.deadline(LINGER)),
                None => self.shard.watch.deadline(KEEP_ALIVE),
            };
            if !matches!(self.wire.read_idle(&mut self.input, READ_BYTES, until).await, Ok(n) if n > 0) {
                return Turn::Close;
            }
        }
        let shard = self.shard.clone();
        let plan = shard.plan();
        let mut record = Record::new(shard.now(), None);
        match self.arrive(&plan, &mut record).await {
            Ok(decided) => {
                self.consume(decided.used);
                self.carry_out(decided, record, &plan).await
            }
            Err(Some(refusal)) => self.refuse_unframed(refusal, record, &plan).await,
            Err(None) => Turn::Close,
        }
    }

    /// Reads until a whole request is there and decided. `Err(None)` means that the caller left.
    async fn arrive<'p>(&mut self, plan: &'p Plan, record: &mut Record<'p>) -> Result<Decided<'p>, Option<Refusal>> {
        let until = self.shard.watch.deadline(plan.read_timeout);
        let mut arrival =
            Arrival { scan: HeadScan::default(), head_len: None, wanted: 0, chunks: None, continued: false };
        let mut now = record.started;
        loop {
            match self.look(&mut arrival, plan, now, record)? {
                Look::Decided(decided) => return Ok(decided),
                Look::Continue => {
                    arrival.continued = true;
                    self.out.clear();
                    self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    self.flush(plan.write_timeout).await.map_err(|()| None)?;
                }
                Look::More => {
                    // In proportion to what came, so that a long body costs few reads and announcing one costs nothing.
                    let missing = arrival.wanted.saturating_sub(self.input.len());
                    let room = missing.min(self.input.len() * READ_GROWTH).max(READ_BYTES);
                    if !self.room.grow(self.input.len() + room, plan) {
                        return Err(Some(Refusal::Crowded));
                    }
                    match self.wire.read(&mut self.input, room, until).await {
                        Ok(n) if n > 0 => now = self.shard.now(),
                        _ if self.wire.shutdown_reason() == ShutdownReason::DeadlinePassed => {
                            return Err(Some(Refusal::RequestTimeout));
                        }
                        // It may still listen (RFC 9112 section 8).
                        Ok(_) if self.wire.shutdown_reason() == ShutdownReason::None => {
                            return Err(Some(Refusal::CutShort));
                        }
                        _ => return Err(None),
                    }
                }
            }
        }
    }

    /// Looks at what has arrived. Pure but for the buffers.
    fn look<'p>(
        &mut self,
        arrival: &mut Arrival,
        plan: &'p Plan,
        now: Now,
        record: &mut Record<'p>,
    ) -> Result<Look<'p>, Refusal> {
        if self.input.len() < arrival.wanted {
            return Ok(Look::More);
        }
        if arrival.head_len.is_none() {
            arrival.head_len = arrival.scan.advance(&self.input, &plan.head_limits).map_err(Refusal::Head)?;
        }
        let Some(head_len) = arrival.head_len else { return Ok(Look::More) };
        let (head_bytes, rest) = self.input.split_at(head_len);
        let head = head::request(head_bytes, &plan.head_limits).map_err(Refusal::Head)?;
        refuse_upgrade(&head)?;
        let waits = expectation(&head)? && !arrival.continued;
        let (body, used) = match head.framing {
            Framing::Length(n) if n > plan.body_bytes_max => return Err(too_large(plan)),
            Framing::Length(n) => {
                let n = usize::try_from(n).map_err(|_| too_large(plan))?;
                let Some(body) = rest.get(..n) else {
                    arrival.wanted = head_len + n;
                    return Ok(if waits && rest.is_empty() { Look::Continue } else { Look::More });
                };
                (body, head_len + n)
            }
            Framing::Chunked => {
                let chunks = arrival.chunks.get_or_insert_with(|| {
                    self.body.clear();
                    Chunks { decoder: BodyDecoder::new(Framing::Chunked), at: head_len }
                });
                let fresh = self.input.get(chunks.at..).unwrap_or_default();
                chunks.at += chunks.decoder.feed(fresh, &mut self.body).map_err(Refusal::Body)?;
                if self.body.len() as u64 > plan.body_bytes_max {
                    return Err(too_large(plan));
                }
                if !chunks.decoder.is_done() {
                    return Ok(if waits && rest.is_empty() { Look::Continue } else { Look::More });
                }
                (self.body.as_slice(), chunks.at)
            }
            Framing::Empty | Framing::UntilClose => (&[][..], head_len),
        };
        // A peer that disagrees with itself about where its last request ends (RFC 9112 section 9.6) may be two peers.
        let behind = self.input.get(used..).unwrap_or_default();
        if !head.keep_alive && behind.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return Err(Refusal::AfterTheLast);
        }
        let parent = head.first(KnownHeader::Traceparent).and_then(Parent::read);
        record.decided = Some(now);
        record.ids = Ids::new(parent, record.started, self.shard.random());
        let frame = self.shard.frame(&head, &record.ids);
        record.request_id = frame.request_id;
        self.out.clear();
        let date = self.shard.date.borrow();
        let mut governor = self.shard.governor.borrow_mut();
        let draw = self.shard.random() as u32;
        let mut cache = self.shard.cache.borrow_mut();
        let judging = Judging { plan, governor: &mut governor, cache: &mut cache, now, draw };
        let buffers = (&mut self.out, &mut self.spare);
        let decision = flow::decide(judging, &head, body, &frame, &date, record, buffers);
        Ok(Look::Decided(Decided { decision, frame, used }))
    }

    async fn carry_out(&mut self, decided: Decided<'_>, record: Record<'_>, plan: &Plan) -> Turn {
        let Decided { decision, frame, .. } = decided;
        match decision {
            Decision::Forward(forward) => upstream::forward(self, *forward, frame, record, plan).await,
            Decision::Answered { status } => {
                record.settle(&self.shard, status, None);
                self.send(&frame, plan.write_timeout).await
            }
            Decision::Page => self.send(&frame, plan.write_timeout).await,
            Decision::Refuse(refusal) => self.refuse(&refusal, &frame, record, plan).await,
            Decision::Api(request) => self.ask_coordinator(*request, frame, plan).await,
        }
    }

    /// Says no to a well-framed request: the connection goes on.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal, frame: &Frame, record: Record<'_>, plan: &Plan) -> Turn {
        self.out.clear();
        let frame = &frame.as_of(&self.shard);
        respond::refusal(refusal, frame, &self.shard.date.borrow(), &mut self.out);
        record.settle(&self.shard, refusal.row().status, Some(refusal));
        self.send(frame, plan.write_timeout).await
    }

    /// Says no to what has no certain end: the connection closes.
    async fn refuse_unframed(&mut self, refusal: Refusal, record: Record<'_>, plan: &Plan) -> Turn {
        let request_id = record.request_id.or_else(|| Some(Token::made(self.shard.random())));
        let frame = Frame { request_id, ..Frame::closing() };
        match self.refuse(&refusal, &frame, record, plan).await {
            Turn::Close => Turn::Close,
            Turn::Next | Turn::Linger => Turn::Linger,
        }
    }

    /// Writes the whole answer out and says how the connection goes on.
    pub(crate) async fn send(&mut self, frame: &Frame, stall: Duration) -> Turn {
        self.send_from(0, frame, stall).await
    }

    /// The same from byte `from` of `out` on.
    pub(crate) async fn send_from(&mut self, from: usize, frame: &Frame, stall: Duration) -> Turn {
        match self.flush_from(from, stall).await {
            Ok(()) if frame.keep_alive => Turn::Next,
            Ok(()) => Turn::Linger,
            Err(()) => Turn::Close,
        }
    }

    /// Writes `out` out and empties it. An error means that the caller is gone or takes nothing any more.
    pub(crate) async fn flush(&mut self, stall: Duration) -> Result<(), ()> {
        self.flush_from(0, stall).await
    }

    /// The same from byte `from` on.
    async fn flush_from(&mut self, from: usize, stall: Duration) -> Result<(), ()> {
        let (result, out) = self.wire.write(std::mem::take(&mut self.out), from, stall).await;
        self.out = out;
        self.out.clear();
        result.map_err(|_| ())
    }

    fn consume(&mut self, used: usize) {
        if used >= self.input.len() {
            self.input.clear();
            for buffer in [&mut self.input, &mut self.out, &mut self.body] {
                if buffer.capacity() > KEPT_BYTES_MAX && buffer.is_empty() {
                    *buffer = Vec::new();
                }
            }
        } else {
            self.input.drain(..used);
        }
    }

    /// Ends our half and throws away what still comes, within bounds.
    async fn linger(&mut self) {
        if self.wire.finish().await.is_err() {
            return;
        }
        let until = self.shard.watch.deadline(LINGER);
        let mut left = LINGER_BYTES_MAX;
        loop {
            self.input.clear();
            match self.wire.read(&mut self.input, READ_BYTES, until).await {
                Ok(n) if n > 0 && n <= left => left -= n,
                _ => return,
            }
        }
    }
}

/// Another protocol is never spoken here. An offer of HTTP/2 may be passed over (RFC 9110 section 7.8), and some clients
/// make it with every request; whoever asks for anything else could not go on without it.
fn refuse_upgrade(head: &RequestHead<'_>) -> Result<(), Refusal> {
    let offer = head.first(KnownHeader::Upgrade).filter(|_| head.upgrade).unwrap_or(b"h2c");
    if offer.eq_ignore_ascii_case(b"h2c") { Ok(()) } else { Err(Refusal::Upgrade) }
}

/// Whether the caller waits for `100 Continue`.
fn expectation(head: &RequestHead<'_>) -> Result<bool, Refusal> {
    match head.expect {
        Expect::None => Ok(false),
        Expect::Continue => Ok(true),
        Expect::Other => Err(Refusal::Expectation),
    }
}

fn too_large(plan: &Plan) -> Refusal {
    Refusal::BodyTooLarge { max: plan.body_bytes_max }
}

impl Shard {
    /// What the head says about the form of the answer, with the request's ids.
    fn frame(&self, head: &RequestHead<'_>, ids: &Ids) -> Frame {
        let request_id =
            head.first(KnownHeader::XRequestId).and_then(Token::sane).unwrap_or_else(|| Token::made(self.random()));
        Frame {
            keep_alive: head.keep_alive && !self.is_draining(),
            version: head.version,
            head_only: head.method == Method::Head,
            request_id: Some(request_id),
            trace_id: Some(respond::hex(ids.trace)),
        }
    }
}

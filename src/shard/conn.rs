//! One caller's connection: requests come in one at a time, and each is read whole, decided and answered. One task of one
//! shard owns it. It never reads the next request while one is being answered, so that answers keep their order.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::answer::head::Frame;
use super::answer::ids::{self, RequestId, TraceContext};
use super::answer::refusal::Refusal;
use super::answer::traceparent::TraceParent;
use super::body_budget::{BodyBudget, SHORT_BYTES};
use super::caller::{Caller, LINGER, Turn};
use super::ground::Ground;
use super::judge::admit::Setting;
use super::judge::flow::{self, AnswerLayout, Decision, Judge, WholeRequest};
use super::judge::record::{End, Record};
use super::management;
use super::state::Shard;
use super::upstream::ProviderExchange;
use crate::clock::Now;
use crate::http::body::BodyDecoder;
use crate::http::head::{self, Expect, Framing, HeadScan, KnownHeader, Method, RequestHead};
use crate::http::wire::{ShutdownReason, Wire};
use crate::plan::Plan;

/// How long a connection may wait for its next request. nginx's default.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Buffer for one read: a typical request with its head fits.
const READ_BYTES: usize = 4 * 1024;
/// Each read of a long body may grow the buffer by at most this factor of what has arrived. Arbitrary: well below the factor
/// of one hundred that a caller may make the gateway hold.
const READ_GROWTH: usize = 16;
/// A connection between requests keeps buffers up to this size. They do not count against the body budget.
const KEPT_BYTES_MAX: usize = SHORT_BYTES;
/// After a refusal that left bytes unread, this much more is read and thrown away, so that a reset does not destroy the
/// refusal on its way (RFC 9112 section 9.6).
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A caller's connection and the requests that come in on it.
struct Conn {
    shard: Rc<Shard>,
    caller: Caller,
    /// Bytes of requests that were read and not yet answered.
    input: Vec<u8>,
    /// What the current request holds, if it is a long one.
    budget: BodyBudget,
}

/// Serves a connection until it ends. The connection has been counted already.
pub(crate) async fn serve(wire: Wire, peer: SocketAddr, shard: Rc<Shard>) {
    let caller = Caller::new(shard.ground.clone(), shard.accounting.clone(), wire, peer);
    let budget = BodyBudget::new(shard.ground.clone());
    let mut conn = Conn { shard: shard.clone(), caller, input: Vec::new(), budget };
    let mut turn = Turn::Next;
    while turn == Turn::Next {
        turn = conn.turn().await;
        conn.budget.release();
    }
    if turn == Turn::Linger {
        conn.linger().await;
    }
    drop(conn);
    shard.connections.set(shard.connections.get() - 1);
}

/// A request while it arrives.
struct Arrival {
    scan: HeadScan,
    /// Set once the end of the head was found.
    head_len: Option<usize>,
    /// Length of input below which parsing again is useless.
    wanted: usize,
    chunks: Option<Chunks>,
    /// `100 Continue` was sent.
    continued: bool,
}

/// The body of a request that comes in chunks.
struct Chunks {
    decoder: BodyDecoder,
    /// Offset of the next undecoded byte in the input.
    at: usize,
}

/// A whole request of `used` bytes, and what to do with it.
struct Decided<'p> {
    decision: Decision<'p>,
    frame: Frame,
    used: usize,
}

/// What parsing the input yields.
#[allow(clippy::large_enum_variant, reason = "it lives for one match; a box would cost an allocation per request")]
enum Parsed<'p> {
    /// More bytes are needed.
    Incomplete,
    /// The caller waits for `100 Continue` before it sends its body.
    ExpectsContinue,
    Decided(Decided<'p>),
}

impl Conn {
    /// Reads and answers one request.
    async fn turn(&mut self) -> Turn {
        if self.input.is_empty() {
            // While the shard drains, a caller still gets time to send the request that it opened this connection for; the
            // answer then says that the connection closes.
            let watch = &self.shard.ground.watch;
            let until = match self.shard.ground.drains_until() {
                Some(until) => until.max(watch.deadline(LINGER)),
                None => watch.deadline(KEEP_ALIVE),
            };
            if !matches!(self.caller.wire.read_idle(&mut self.input, READ_BYTES, until).await, Ok(n) if n > 0) {
                return Turn::Close;
            }
        }
        let shard = self.shard.clone();
        let plan = shard.plans.plan();
        let mut record = Record::new(&plan, shard.ground.now(), shard.ground.random());
        match self.read_request(&plan, &mut record).await {
            Ok(decided) => {
                self.consume(decided.used);
                self.carry_out(decided, record, &shard).await
            }
            Err(Some(refusal)) => self.refuse_unframed(refusal, record).await,
            Err(None) => Turn::Close,
        }
    }

    /// Reads until a whole request has arrived, and decides it. `Err(None)` means that the caller left.
    async fn read_request<'p>(
        &mut self,
        plan: &'p Plan,
        record: &mut Record<'p>,
    ) -> Result<Decided<'p>, Option<Refusal>> {
        let until = self.shard.ground.watch.deadline(plan.read_timeout);
        let mut arrival =
            Arrival { scan: HeadScan::default(), head_len: None, wanted: 0, chunks: None, continued: false };
        let mut now = record.started;
        loop {
            match self.parse(&mut arrival, plan, now, record)? {
                Parsed::Decided(decided) => return Ok(decided),
                Parsed::ExpectsContinue => {
                    arrival.continued = true;
                    self.caller.out.clear();
                    self.caller.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                    self.caller.flush(plan.write_timeout).await.map_err(|()| None)?;
                }
                Parsed::Incomplete => {
                    // In proportion to what arrived, so that a long body takes few reads and announcing one costs nothing.
                    let missing = arrival.wanted.saturating_sub(self.input.len());
                    let growth = missing.min(self.input.len() * READ_GROWTH).max(READ_BYTES);
                    if !self.budget.grow(self.input.len() + growth, plan) {
                        return Err(Some(Refusal::BodyBudgetExhausted));
                    }
                    match self.caller.wire.read(&mut self.input, growth, until).await {
                        Ok(n) if n > 0 => now = self.shard.ground.now(),
                        _ if self.caller.wire.shutdown_reason() == ShutdownReason::DeadlinePassed => {
                            return Err(Some(Refusal::RequestTimeout));
                        }
                        // The caller may still listen (RFC 9112 section 8).
                        Ok(_) if self.caller.wire.shutdown_reason() == ShutdownReason::None => {
                            return Err(Some(Refusal::Truncated));
                        }
                        _ => return Err(None),
                    }
                }
            }
        }
    }

    /// Parses what has arrived, and decides a whole request. Pure but for the buffers.
    fn parse<'p>(
        &mut self,
        arrival: &mut Arrival,
        plan: &'p Plan,
        now: Now,
        record: &mut Record<'p>,
    ) -> Result<Parsed<'p>, Refusal> {
        if self.input.len() < arrival.wanted {
            return Ok(Parsed::Incomplete);
        }
        if arrival.head_len.is_none() {
            arrival.head_len = arrival.scan.advance(&self.input, &plan.head_limits).map_err(Refusal::Head)?;
        }
        let Some(head_len) = arrival.head_len else { return Ok(Parsed::Incomplete) };
        let (head_bytes, rest) = self.input.split_at(head_len);
        let head = head::request(head_bytes, &plan.head_limits).map_err(Refusal::Head)?;
        refuse_upgrade(&head)?;
        let waits = expects_continue(&head)? && !arrival.continued;
        let incomplete = if waits && rest.is_empty() { Parsed::ExpectsContinue } else { Parsed::Incomplete };
        let (body, used) = match head.framing {
            Framing::Length(n) if n > plan.body_bytes_max => return Err(too_large(plan)),
            Framing::Length(n) => {
                let n = usize::try_from(n).map_err(|_| too_large(plan))?;
                let Some(body) = rest.get(..n) else {
                    arrival.wanted = head_len + n;
                    return Ok(incomplete);
                };
                (body, head_len + n)
            }
            Framing::Chunked => {
                let chunks = arrival.chunks.get_or_insert_with(|| {
                    self.caller.body.clear();
                    Chunks { decoder: BodyDecoder::new(Framing::Chunked), at: head_len }
                });
                let fresh = self.input.get(chunks.at..).unwrap_or_default();
                chunks.at += chunks.decoder.feed(fresh, &mut self.caller.body).map_err(Refusal::Body)?;
                if self.caller.body.len() as u64 > plan.body_bytes_max {
                    return Err(too_large(plan));
                }
                if !chunks.decoder.is_done() {
                    return Ok(incomplete);
                }
                (self.caller.body.as_slice(), chunks.at)
            }
            Framing::Empty | Framing::UntilClose => (&[][..], head_len),
        };
        // A caller that disagrees with itself about where its last request ends (RFC 9112 section 9.6) may be two callers.
        let behind = self.input.get(used..).unwrap_or_default();
        if !head.keep_alive && behind.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return Err(Refusal::BytesAfterClose);
        }
        record.decided = Some(now);
        if let Some(parent) = head.first(KnownHeader::Traceparent).and_then(TraceParent::read) {
            record.context = record.context.join(parent);
        }
        let frame = frame(&head, &record.context, &self.shard.ground);
        record.request_id = frame.request_id;
        self.caller.out.clear();
        let shard = &*self.shard;
        let (accounting, draw) = (&shard.accounting, shard.ground.random() as u32);
        let judge = Judge {
            setting: Setting { plan, learned: &accounting.learned(), now, draw },
            governor: &mut shard.governor.borrow_mut(),
            cache: &mut shard.upstream.cache.cache.borrow_mut(),
        };
        let date = &shard.ground.date();
        let layout = AnswerLayout { frame: &frame, date, out: &mut self.caller.out, spare: &mut self.caller.spare };
        let decision = flow::decide(judge, WholeRequest { head: &head, body }, layout, record);
        Ok(Parsed::Decided(Decided { decision, frame, used }))
    }

    async fn carry_out<'p>(&mut self, decided: Decided<'p>, record: Record<'p>, shard: &Shard) -> Turn {
        let Decided { decision, frame, .. } = decided;
        let (caller, plan) = (&mut self.caller, record.plan);
        match decision {
            Decision::Forward(outgoing) => {
                let _in_flight = shard.accounting.begin_flight();
                flow::answer(ProviderExchange::new(&shard.upstream, caller, outgoing, frame, plan), record).await
            }
            Decision::Answered { status } => {
                shard.accounting.settle(record, End { now: shard.ground.now(), status, refusal: None });
                caller.send(frame.keep_alive, plan.write_timeout).await
            }
            Decision::Page => caller.send(frame.keep_alive, plan.write_timeout).await,
            Decision::Refuse(refusal) => caller.refuse(&refusal, &frame, record).await,
            Decision::Api(request) => management::ask_coordinator(caller, &shard.events, *request, frame, plan).await,
        }
    }

    /// Refuses a request whose end is not known, so that the connection has to close.
    async fn refuse_unframed(&mut self, refusal: Refusal, mut record: Record<'_>) -> Turn {
        record.request_id = record.request_id.or_else(|| Some(RequestId::generate(self.shard.ground.random())));
        let frame = Frame { request_id: record.request_id, ..Frame::closing() };
        match self.caller.refuse(&refusal, &frame, record).await {
            Turn::Close => Turn::Close,
            Turn::Next | Turn::Linger => Turn::Linger,
        }
    }

    /// Removes an answered request from the input, and lets go of buffers that grew large.
    fn consume(&mut self, used: usize) {
        if used >= self.input.len() {
            self.input.clear();
            for buffer in [&mut self.input, &mut self.caller.out, &mut self.caller.body] {
                if buffer.capacity() > KEPT_BYTES_MAX && buffer.is_empty() {
                    *buffer = Vec::new();
                }
            }
        } else {
            self.input.drain(..used);
        }
    }

    /// Closes our half, and reads and throws away what still arrives, within bounds.
    async fn linger(&mut self) {
        if self.caller.wire.finish().await.is_err() {
            return;
        }
        let until = self.shard.ground.watch.deadline(LINGER);
        let mut left = LINGER_BYTES_MAX;
        loop {
            self.input.clear();
            match self.caller.wire.read(&mut self.input, READ_BYTES, until).await {
                Ok(n) if n > 0 && n <= left => left -= n,
                _ => return,
            }
        }
    }
}

/// What the head says about the form of the answer, with the request's ids.
fn frame(head: &RequestHead<'_>, context: &TraceContext, ground: &Ground) -> Frame {
    let request_id = head.first(KnownHeader::XRequestId).and_then(RequestId::from_caller);
    Frame {
        keep_alive: head.keep_alive && !ground.is_draining(),
        version: head.version,
        head_only: head.method == Method::Head,
        request_id: Some(request_id.unwrap_or_else(|| RequestId::generate(ground.random()))),
        trace_id: Some(ids::hex(context.trace)),
    }
}

/// Only HTTP/1.1 is supported. An offer of HTTP/2 may be ignored (RFC 9110 section 7.8), and some clients make it with every
/// request. A caller that asks for any other protocol could not go on without it.
fn refuse_upgrade(head: &RequestHead<'_>) -> Result<(), Refusal> {
    let offer = head.first(KnownHeader::Upgrade).filter(|_| head.upgrade).unwrap_or(b"h2c");
    if offer.eq_ignore_ascii_case(b"h2c") { Ok(()) } else { Err(Refusal::Upgrade) }
}

/// Whether the caller waits for `100 Continue`.
fn expects_continue(head: &RequestHead<'_>) -> Result<bool, Refusal> {
    match head.expect {
        Expect::None => Ok(false),
        Expect::Continue => Ok(true),
        Expect::Other => Err(Refusal::Expectation),
    }
}

fn too_large(plan: &Plan) -> Refusal {
    Refusal::BodyTooLarge { max: plan.body_bytes_max }
}

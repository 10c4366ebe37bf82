//! The caller's side of a connection: its socket, and the buffer in which an answer is laid out. Owned by the task of the
//! connection. The bytes of requests are read in `conn`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::account::Accounting;
use super::answer::head::Frame;
use super::answer::refusal::Refusal;
use super::answer::respond;
use super::ground::Ground;
use super::judge::record::{End, Record};
use crate::http::wire::Wire;

/// How long a connection that is to close waits for the caller to close it first, and how long a caller may take to send a
/// request while the shard drains. Arbitrary: longer than any round trip.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// What happens to a caller's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It serves another request.
    Next,
    /// It closes; everything that was sent to us has been read.
    Close,
    /// It closes after a wait, because bytes of the caller's may be unread.
    Linger,
}

/// One caller and the buffers of its connection. They outlive a request, so that the next one needs no allocation.
pub(crate) struct Caller {
    pub(crate) ground: Rc<Ground>,
    pub(crate) accounting: Rc<Accounting>,
    pub(crate) wire: Wire,
    pub(crate) peer: SocketAddr,
    /// The answer while it is laid out.
    pub(crate) out: Vec<u8>,
    /// A decoded body: the caller's if it came in chunks, then the provider's.
    pub(crate) body: Vec<u8>,
    /// The request to the provider.
    pub(crate) spare: Vec<u8>,
}

impl Caller {
    pub(crate) fn new(ground: Rc<Ground>, accounting: Rc<Accounting>, wire: Wire, peer: SocketAddr) -> Caller {
        let (out, body, spare) = Default::default();
        Caller { ground, accounting, wire, peer, out, body, spare }
    }

    /// Lays a refusal out in `out`. Returns the frame that it was laid out with.
    pub(crate) fn lay_out_refusal(&mut self, refusal: &Refusal, frame: &Frame) -> Frame {
        let frame = frame.closing_if(self.ground.is_draining());
        self.out.clear();
        respond::refusal(refusal, &frame, &self.ground.date(), &mut self.out);
        frame
    }

    /// Refuses a request whose end is known, so that the connection can go on.
    pub(crate) async fn refuse(&mut self, refusal: &Refusal, frame: &Frame, record: Record<'_>) -> Turn {
        let frame = self.lay_out_refusal(refusal, frame);
        let stall = record.plan.write_timeout;
        let end = End { now: self.ground.now(), status: refusal.row().status, refusal: Some(refusal) };
        self.accounting.settle(record, end);
        self.send(frame.keep_alive, stall).await
    }

    /// Sends `out` and says what happens to the connection.
    pub(crate) async fn send(&mut self, keep_alive: bool, stall: Duration) -> Turn {
        match self.flush(stall).await {
            Ok(()) if keep_alive => Turn::Next,
            Ok(()) => Turn::Linger,
            Err(()) => Turn::Close,
        }
    }

    /// Writes `out` and empties it. Fails if the caller is gone or has taken nothing for `stall`.
    pub(crate) async fn flush(&mut self, stall: Duration) -> Result<(), ()> {
        self.flush_from(0, stall).await
    }

    /// Writes `out` from byte `from` and empties it.
    pub(crate) async fn flush_from(&mut self, from: usize, stall: Duration) -> Result<(), ()> {
        let (result, out) = self.wire.write(std::mem::take(&mut self.out), from, stall).await;
        self.out = out;
        self.out.clear();
        result.map_err(|_| ())
    }
}

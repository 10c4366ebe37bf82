//! Requests to the management side: the coordinator answers, the task of the caller's connection alone waits. Nothing here is
//! on the way of a proxied request.

use std::time::Duration;

use super::answer::refusal::Refusal;
use super::answer::respond::{self, Frame};
use super::conn::{Conn, Turn};
use crate::http::head::Version;
use crate::link::{ApiCall, ApiRequest, Event};
use crate::plan::Plan;

/// How often one who follows a stream of the coordinator's is looked at. Arbitrary.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// The coordinator answers management requests within this time or the caller is told that it did not.
const API_TIMEOUT: Duration = Duration::from_secs(10);

impl Conn {
    /// A request to the management side: the coordinator answers, this task alone waits.
    pub(crate) async fn ask_coordinator(&mut self, request: ApiRequest, frame: Frame, plan: &Plan) -> Turn {
        let (reply, answer) = flume::bounded(1);
        let call = ApiCall { request, peer: self.peer, reply };
        let sent = self.shard.events.try_send(Event::Call(Box::new(call))).is_ok();
        let answer = match sent {
            true => monoio::time::timeout(API_TIMEOUT, answer.recv_async()).await.ok().and_then(Result::ok),
            false => None,
        };
        self.out.clear();
        let frame = frame.as_of(&self.shard);
        match answer {
            Some(answer) => {
                respond::api(&answer, &frame, &self.shard.date.borrow(), &mut self.out);
                if let Some(pieces) = answer.stream.filter(|_| !frame.head_only) {
                    return self.pass_on(pieces, &frame, plan).await;
                }
            }
            None => respond::refusal(&Refusal::Unanswered, &frame, &self.shard.date.borrow(), &mut self.out),
        }
        self.send(&frame, plan.write_timeout).await
    }

    /// Passes the pieces of an answer on as they come. What was started stands in `out`. Ends when the coordinator has no
    /// more, when the caller leaves, or when the process is to end: whoever follows a stream would follow it for ever.
    async fn pass_on(&mut self, pieces: flume::Receiver<Vec<u8>>, frame: &Frame, plan: &Plan) -> Turn {
        let chunked = frame.version == Version::Http11;
        loop {
            if self.flush(plan.write_timeout).await.is_err() {
                return Turn::Close;
            }
            let piece = loop {
                match monoio::time::timeout(LOOK_AGAIN, pieces.recv_async()).await {
                    Ok(piece) => break piece.ok(),
                    Err(_) if self.wire.peer_has_closed() => return Turn::Close,
                    Err(_) if self.shard.is_draining() => break None,
                    Err(_) => {}
                }
            };
            match piece {
                Some(piece) if chunked => respond::chunk(&piece, &mut self.out),
                Some(piece) => self.out.extend_from_slice(&piece),
                None if chunked => {
                    self.out.extend_from_slice(b"0\r\n\r\n");
                    return self.send(frame, plan.write_timeout).await;
                }
                None => return Turn::Close,
            }
        }
    }
}

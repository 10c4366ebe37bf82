//! Requests to the coordinator: the REST API and the metrics. Only the task of the caller's connection waits for the answer.
//! Proxied requests never come here.

use std::time::Duration;

use super::answer::head::{self, Frame};
use super::answer::refusal::Refusal;
use super::answer::respond;
use super::caller::{Caller, Turn};
use crate::http::head::Version;
use crate::link::{ApiCall, ApiRequest, Event};
use crate::plan::Plan;

/// How often a task that passes on a stream of the coordinator's checks whether its caller left. Arbitrary.
const CALLER_POLL: Duration = Duration::from_millis(250);
/// The coordinator answers within this time, or the caller gets a 503. Arbitrary.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the coordinator and sends its answer.
pub(crate) async fn ask_coordinator(
    caller: &mut Caller,
    events: &flume::Sender<Event>,
    request: ApiRequest,
    frame: Frame,
    plan: &Plan,
) -> Turn {
    let (reply, answer) = flume::bounded(1);
    let call = ApiCall { request, peer: caller.peer, reply };
    let sent = events.try_send(Event::Call(Box::new(call))).is_ok();
    let answer = match sent {
        true => monoio::time::timeout(API_TIMEOUT, answer.recv_async()).await.ok().and_then(Result::ok),
        false => None,
    };
    let Some(answer) = answer else {
        let frame = caller.lay_out_refusal(&Refusal::CoordinatorTimeout, &frame);
        return caller.send(frame.keep_alive, plan.write_timeout).await;
    };
    caller.out.clear();
    let frame = frame.closing_if(caller.ground.is_draining());
    respond::api(&answer, &frame, &caller.ground.date(), &mut caller.out);
    match answer.stream.filter(|_| !frame.head_only) {
        Some(pieces) => stream_pieces(caller, pieces, &frame, plan).await,
        None => caller.send(frame.keep_alive, plan.write_timeout).await,
    }
}

/// Sends the pieces of an answer as they come, after what stands in `out`. Ends when the coordinator has no more, when the
/// caller leaves, or when the shard drains: a stream of live events would never end by itself.
async fn stream_pieces(caller: &mut Caller, pieces: flume::Receiver<Vec<u8>>, frame: &Frame, plan: &Plan) -> Turn {
    let chunked = frame.version == Version::Http11;
    loop {
        if caller.flush(plan.write_timeout).await.is_err() {
            return Turn::Close;
        }
        let piece = loop {
            match monoio::time::timeout(CALLER_POLL, pieces.recv_async()).await {
                Ok(piece) => break piece.ok(),
                Err(_) if caller.wire.peer_has_closed() => return Turn::Close,
                Err(_) if caller.ground.is_draining() => break None,
                Err(_) => {}
            }
        };
        match piece {
            Some(piece) if chunked => head::chunk(&piece, &mut caller.out),
            Some(piece) => caller.out.extend_from_slice(&piece),
            None if chunked => {
                caller.out.extend_from_slice(b"0\r\n\r\n");
                return caller.send(frame.keep_alive, plan.write_timeout).await;
            }
            None => return Turn::Close,
        }
    }
}

//! `GET /api/traces/stream`: requests as they end, as server-sent events. The live tail feeds the answer until the caller
//! leaves.

use crate::coordinator::api::shape::answer::{Reply, json_text};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::media::EVENTS;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::api::traces::trace_item;
use crate::coordinator::state::State;
use crate::link::ApiAnswer;

/// The line in the document.
pub(crate) const SUMMARY: &str = "Requests as they end: events `trace` with an item of the list, `dropped` with the number of lost events; with \
    Last-Event-ID it first repeats what the caller missed of the newest 200, after an event `gap` if more is gone";

/// `GET /api/traces/stream`.
pub(crate) fn answer(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let filter = filters::filter(&arguments.values)?;
    state.keeper.store().ok_or_else(ApiError::storage_off)?;
    let last_event_id = &arguments.call.request.headers.last_event_id;
    let events = state.live_tail.subscribe(filter, last_event_id, state.clock.now(), trace_item::json_of);
    let events =
        events.ok_or_else(|| ApiError::unavailable("overloaded", "Too many live streams are open already."))?;
    // Some proxies pass an answer on only when its body has begun.
    let mut answer = ApiAnswer { content_type: EVENTS, ..json_text(200, b": following\n\n".to_vec()) };
    // nginx would buffer the events otherwise.
    answer.headers.push(("X-Accel-Buffering", "no".into()));
    answer.stream = Some(events);
    Ok(answer.into())
}

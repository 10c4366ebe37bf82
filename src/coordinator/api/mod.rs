//! The REST API. Runs on the coordinator's thread, between two events; work that takes long goes to a helper thread. It never
//! answers a guarded operation before the access rules have named the caller.

// Parameters, bodies, answers, errors, and the document that describes them.
mod shape;

// Authorizes calls; signs callers in and out.
mod door;

// Traces, sums over them, exports and live streams.
mod traces;

// Policies: lists them, changes them, tries them.
mod policies;

// The process and its configuration.
mod setup;

// The table of all operations.
mod operations;

// From a path and a method to an operation.
mod route;

use super::access::Actor;
use super::state::State;
use crate::link::{ApiAnswer, ApiCall};
pub use operations::document;
use route::FoundOperation;
pub(super) use shape::answer::Reply;
use shape::error::ApiError;
use shape::operation::Arguments;
use shape::parameter::Values;
pub(super) use traces::trace_item::json_of as item;

/// A call whose operation is known and whose caller may use it. Only [`authorize`] makes one.
pub(super) struct AuthorizedCall {
    found: FoundOperation,
    /// `None` on operations that are open to everyone.
    actor: Option<Actor>,
}

impl AuthorizedCall {
    /// Whether the answer must include what the shards counted until now.
    pub(super) fn needs_fresh_counts(&self) -> bool {
        self.found.operation.needs_fresh_counts
    }
}

/// Finds the operation that a call asks for and checks that its caller may use it.
///
/// # Errors
/// The answer that refuses the call.
pub(super) fn authorize(state: &mut State, call: &ApiCall) -> Result<AuthorizedCall, ApiAnswer> {
    let found = route::find(&call.request)?;
    let actor = door::authorize(state, found.operation.access, call)?;
    Ok(AuthorizedCall { found, actor })
}

/// Answers an authorized call.
pub(super) fn answer(state: &mut State, authorized: AuthorizedCall, call: &ApiCall) -> Reply {
    carry_out(state, authorized, call).unwrap_or_else(|error| Reply::Now(error.into()))
}

fn carry_out(state: &mut State, authorized: AuthorizedCall, call: &ApiCall) -> Result<Reply, ApiError> {
    let AuthorizedCall { found: FoundOperation { operation, id }, actor } = authorized;
    if operation.changes_state && state.life.is_closed_to_changes() {
        return Err(ApiError::replaced());
    }
    let values = Values::read(call.request.query.as_deref(), &operation.query)?;
    let actor = actor.map(|actor| actor.to_string()).unwrap_or_default();
    (operation.handler)(state, Arguments { call, values, id, actor })
}

//! The way into the REST API: applies the access rules to guarded operations, and signs callers in and out.

// Refusals of the access rules as answers.
mod refusal;

// `/api/session`.
pub(super) mod sign_in;

use super::shape::error::ApiError;
use super::shape::operation::Access;
use crate::coordinator::access::{self, AccessRequest, Actor};
use crate::coordinator::state::State;
use crate::link::ApiCall;

/// Checks that the caller may use an operation. Returns `None` if everyone may.
pub(super) fn authorize(state: &mut State, required: Access, call: &ApiCall) -> Result<Option<Actor>, ApiError> {
    if required != Access::Guarded {
        return Ok(None);
    }
    let admin = &state.running.config().server.admin;
    let actor = access::decide(admin, &AccessRequest::from(call), &mut state.access, state.clock.now())?;
    Ok(Some(actor))
}

//! `GET /api/audit`: who changed what, newest first. Read from the store on the coordinator's thread, one page at a time. It
//! shows no secret, because none was written.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::coordinator::store::{AuditEntry, ListPage};

/// One change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct AuditItem {
    id: u64,
    /// RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    actor: String,
    action: String,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// `GET /api/audit`.
pub(crate) fn answer(state: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let paging = filters::paging(&arguments.values);
    let store = state.keeper.store().ok_or_else(ApiError::storage_off)?;
    let ListPage { items, total, page, page_size } = store.audit(paging)?;
    let items = items.into_iter().map(|AuditEntry { id, at_ms, actor, action, subject, before, after }| AuditItem {
        id,
        at: rfc3339(at_ms),
        actor,
        action,
        subject,
        before,
        after,
    });
    Ok(json(200, &ListPage { items: items.collect(), total, page, page_size }).into())
}

//! `GET /api/audit`: who changed what, newest first. Read from the store on the coordinator's thread, a page at a time; it
//! never shows a secret, because none was written.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::coordinator::Coordinator;
use crate::coordinator::api::shape::answer::json;
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::parameter::Values;
use crate::coordinator::store::{AuditEntry, ListPage};
use crate::link::ApiAnswer;

/// An entry as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(crate) struct Shown {
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

/// Answers with a page.
pub(crate) fn answer(coordinator: &Coordinator, values: &Values) -> Result<ApiAnswer, ApiError> {
    let paging = filters::paging(values);
    let store = coordinator.governance.store().ok_or_else(ApiError::storage_off)?;
    let ListPage { items, total, page, page_size } = store.audit(paging)?;
    let items = items.into_iter().map(|AuditEntry { id, at_ms, actor, action, subject, before, after }| Shown {
        id,
        at: rfc3339(at_ms),
        actor,
        action,
        subject,
        before,
        after,
    });
    Ok(json(200, &ListPage { items: items.collect(), total, page, page_size }))
}

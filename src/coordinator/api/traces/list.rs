//! `GET /api/traces`: a page of traces, newest first. Read on the reader's thread.

use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::api::traces::trace_item::TraceItem;
use crate::coordinator::state::State;
use crate::coordinator::store::ListPage;

/// `GET /api/traces`.
pub(crate) fn answer(_: &mut State, arguments: Arguments<'_>) -> Result<Reply, ApiError> {
    let (filter, paging) = (filters::filter(&arguments.values)?, filters::paging(&arguments.values));
    Ok(Reply::read(move |reader| {
        let ListPage { items, total, page, page_size } = reader.listed_traces(&filter, paging)?;
        let items: Vec<TraceItem> = items.into_iter().map(TraceItem::from).collect();
        Ok(json(200, &ListPage { items, total, page, page_size }))
    }))
}

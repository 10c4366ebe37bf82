//! One trace with all that is known of its requests, and the newest requests for trying a policy on. On the reader's thread.

use rusqlite::OptionalExtension;

use super::super::error::StoreError;
use super::connection::Reader;
use super::filter::key_of_trace;
use super::rows::{REQUESTS_MAX, RequestRow, TraceRow, newest_requests, requests_of, trace};
use crate::link::trace::Captured;

/// A trace and its requests.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceDetail {
    pub summary: TraceRow,
    /// In the order in which they started; at most [`REQUESTS_MAX`].
    pub requests: Vec<RequestRow>,
}

impl Reader {
    /// One trace. Returns `None` if it never existed or was removed.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn trace(&self, trace_id: u128) -> Result<Option<TraceDetail>, StoreError> {
        self.query("read a trace", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(None) };
            let (summary, requests) = (trace(connection, key)?, requests_of(connection, key, REQUESTS_MAX)?);
            Ok(Some(TraceDetail { summary, requests }))
        })
    }

    /// The newest requests, newest first; at most [`REQUESTS_MAX`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn newest_requests(&self, limit: u32) -> Result<Vec<RequestRow>, StoreError> {
        self.query("read the newest requests", |connection| newest_requests(connection, limit.min(REQUESTS_MAX)))
    }

    /// The bodies of a request, if they were captured.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn captured(&self, trace_id: u128, span_id: u64) -> Result<Option<Captured>, StoreError> {
        self.query("read the bodies of a request", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(SELECT_CAPTURED)?;
            let captured = statement.query_row([key, span_id as i64], |row| {
                Ok(Captured { request: row.get(0)?, answer: row.get(1)?, cut: row.get(2)? })
            });
            captured.optional()
        })
    }
}

const SELECT_CAPTURED: &str = "
    SELECT request_body, answer_body, cut FROM capture
    WHERE request = (SELECT key FROM request WHERE trace = ?1 AND span = ?2 LIMIT 1)";

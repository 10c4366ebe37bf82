//! One trace with all that is known of its requests, and the last requests for trying a policy on. On the reader's thread.
//! What a newer luner wrote into a row and this one does not know is passed over.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::Deserialize;

use super::super::error::StoreError;
use super::filter::key_of_trace;
use super::list::{SELECT_ROW, TraceRow, trace_row};
use super::names::{optional_text, required_text, who, who_texts};
use super::{Reader, ms_of};
use crate::link::trace::{Attempt, CacheOutcome, Captured, Marks, PolicyFailure, PolicyInputs, PolicyMatch};
use crate::llm::Usage;
use crate::units::MicroUsd;
use crate::who::Who;

/// Requests of one trace that are shown, and of one replay. Arbitrary; [`TraceRow::requests`] says how many there are.
pub const REQUESTS_MAX: u32 = 10_000;

/// A trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceDetail {
    pub summary: TraceRow,
    /// In the order in which they started; at most [`REQUESTS_MAX`].
    pub requests: Vec<RequestRow>,
}

/// A request, the root of its spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestRow {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent_span_id: Option<u64>,
    pub request_id: String,
    pub started_ms: u64,
    pub duration_ns: u64,
    pub first_byte_ns: Option<u64>,
    pub who: Who<String>,
    /// Its path; empty where nothing is served at the path.
    pub endpoint: String,
    pub provider: String,
    pub model_asked: String,
    pub model: String,
    pub status: u16,
    pub cache: CacheOutcome,
    pub marks: Marks,
    /// Of the refusal; so are the next two.
    pub code: Option<String>,
    pub fault: Option<String>,
    pub error: Option<String>,
    pub cut: Option<String>,
    pub usage: Usage,
    pub cost: MicroUsd,
    pub saved: MicroUsd,
    pub detail: Detail,
}

/// What a row holds as JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Detail {
    pub attempts: Vec<Attempt>,
    pub matches: Vec<PolicyMatch>,
    pub faults: Vec<PolicyFailure>,
    pub inputs: PolicyInputs,
}

impl Reader {
    /// One trace; `None` if there is none, or no more.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn trace(&self, trace_id: u128) -> Result<Option<TraceDetail>, StoreError> {
        self.ask("look at a trace", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(None) };
            let summary = connection.prepare_cached(&SELECT_ROW)?.query_row([key], trace_row)?;
            let requests = requests(connection, "request.trace = ?1 ORDER BY request.key LIMIT ?2", [key])?;
            Ok(Some(TraceDetail { summary, requests }))
        })
    }

    /// The newest requests, newest first; at most [`REQUESTS_MAX`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn last(&self, n: u32) -> Result<Vec<RequestRow>, StoreError> {
        self.ask("look at the last requests", |connection| {
            requests(connection, "?1 = ?1 ORDER BY request.key DESC LIMIT min(?1, ?2)", [i64::from(n)])
        })
    }

    /// The bodies of a request, where they were captured.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn captured(&self, trace_id: u128, span_id: u64) -> Result<Option<Captured>, StoreError> {
        self.ask("look at a request's bodies", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(SELECT_CAPTURED)?;
            let captured = statement.query_row([key, span_id as i64], |row| {
                Ok(Captured { request: row.get(0)?, answer: row.get(1)?, cut: row.get(2)? })
            });
            captured.optional()
        })
    }
}

pub(super) fn requests(connection: &Connection, which: &str, value: [i64; 1]) -> rusqlite::Result<Vec<RequestRow>> {
    let mut statement = connection.prepare_cached(&format!("{} WHERE {which}", *SELECT_REQUEST))?;
    statement.query_map([value[0], i64::from(REQUESTS_MAX)], request_row)?.collect()
}

fn request_row(row: &Row<'_>) -> rusqlite::Result<RequestRow> {
    let marks = Marks(row.get("marks")?);
    let span = |column| row.get::<_, Option<i64>>(column).map(|span| span.map(|span| span as u64));
    Ok(RequestRow {
        trace_id: u128::from_be_bytes(row.get("trace_id")?),
        span_id: span("span")?.unwrap_or_default(),
        parent_span_id: span("parent")?,
        request_id: row.get("request_id")?,
        started_ms: ms_of(row.get("key")?),
        duration_ns: row.get("duration_ns")?,
        first_byte_ns: row.get("first_byte_ns")?,
        who: who(row)?,
        endpoint: row.get("endpoint_text")?,
        provider: row.get("provider_text")?,
        model_asked: row.get("asked_text")?,
        model: row.get("model_text")?,
        status: row.get("status")?,
        cache: match (marks.has(Marks::HIT), marks.has(Marks::MISS)) {
            (true, _) => CacheOutcome::Hit,
            (_, true) => CacheOutcome::Miss,
            _ => CacheOutcome::Bypass,
        },
        marks,
        code: row.get("code_text")?,
        fault: row.get("fault_text")?,
        error: row.get("error_text")?,
        cut: row.get("cut_text")?,
        usage: Usage {
            input: row.get("prompt")?,
            cache_read: row.get("cached")?,
            cache_write: 0,
            output: row.get("completion")?,
            reasoning: row.get("reasoning")?,
            total: row.get("total")?,
            flawed: marks.has(Marks::FLAWED_USAGE),
        },
        cost: MicroUsd(row.get("cost")?),
        saved: MicroUsd(row.get("saved")?),
        detail: serde_json::from_str(row.get_ref("detail")?.as_str()?).unwrap_or_default(),
    })
}

static SELECT_REQUEST: LazyLock<String> = LazyLock::new(|| {
    let required = ["endpoint", "provider", "asked", "model"].map(|column| required_text("request", column)).join(", ");
    let optional = ["code", "fault", "error", "cut"].map(|column| optional_text("request", column)).join(", ");
    let who = who_texts("request");
    format!(
        "SELECT {who}, {required}, {optional}, (SELECT id FROM trace WHERE key = request.trace) AS trace_id, request.*
         FROM request"
    )
});
const SELECT_CAPTURED: &str = "
    SELECT request_body, answer_body, cut FROM capture
    WHERE request = (SELECT key FROM request WHERE trace = ?1 AND span = ?2 LIMIT 1)";

//! Traces and requests as the file holds them. On the reader's thread. Fields of a row that only a newer luner knows are
//! ignored.

use std::sync::LazyLock;

use rusqlite::{Connection, Row};
use serde::Deserialize;

use super::super::layout::ms_of;
use super::names::{optional_text, required_text, who, who_texts};
use crate::link::trace::{Attempt, CacheOutcome, Marks, PolicyFailure, PolicyInputs, PolicyMatch};
use crate::llm::Usage;
use crate::units::MicroUsd;
use crate::who::Who;

/// Requests of one trace that are shown, and requests of one replay. Arbitrary; [`TraceRow::requests`] says how many there are.
pub const REQUESTS_MAX: u32 = 10_000;
/// Requests of a trace that a list reads. Arbitrary: a line can show what policies did to the first steps of a long agent run,
/// and the page stays fast.
pub const LISTED_REQUESTS_MAX: u32 = 10;

/// A trace as a list shows it: its requests summed. Names are those of its first request.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    pub trace_id: u128,
    /// When its earliest request started.
    pub started_ms: u64,
    /// Until its last answer ended.
    pub duration_us: u64,
    pub who: Who<String>,
    pub provider: String,
    pub model_asked: String,
    pub model: String,
    /// The highest status of its requests.
    pub status: u16,
    /// The last error of its requests.
    pub error: Option<String>,
    pub requests: u64,
    pub spans: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub total_tokens: u64,
    pub cost: MicroUsd,
    pub saved: MicroUsd,
    pub marks: Marks,
}

/// A request, which is the root of its spans.
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
    /// The request's path; empty if nothing is served at that path.
    pub endpoint: String,
    pub provider: String,
    pub model_asked: String,
    pub model: String,
    pub status: u16,
    pub cache: CacheOutcome,
    pub marks: Marks,
    /// Code of the refusal, if luner refused the request.
    pub code: Option<String>,
    /// Who is to blame for the refusal.
    pub fault: Option<String>,
    /// Message of the refusal, or why the answer was cut.
    pub error: Option<String>,
    /// Why the answer was cut.
    pub cut: Option<String>,
    pub usage: Usage,
    pub cost: MicroUsd,
    pub saved: MicroUsd,
    pub detail: RequestDetail,
}

/// The part of a request that its row holds as JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RequestDetail {
    pub attempts: Vec<Attempt>,
    pub matches: Vec<PolicyMatch>,
    pub faults: Vec<PolicyFailure>,
    pub inputs: PolicyInputs,
}

/// A trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedTrace {
    pub row: TraceRow,
    /// Its first requests, at most [`LISTED_REQUESTS_MAX`].
    pub requests: Vec<RequestRow>,
}

/// The trace with this key.
pub(super) fn trace(connection: &Connection, key: i64) -> rusqlite::Result<TraceRow> {
    connection.prepare_cached(&SELECT_TRACE)?.query_row([key], trace_row)
}

/// The first requests of a trace in the order in which they started, at most `limit`.
pub(super) fn requests_of(connection: &Connection, trace_key: i64, limit: u32) -> rusqlite::Result<Vec<RequestRow>> {
    let mut statement = connection.prepare_cached(&SELECT_REQUESTS_OF_TRACE)?;
    statement.query_map([trace_key, i64::from(limit)], request_row)?.collect()
}

/// The newest requests, newest first.
pub(super) fn newest_requests(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<RequestRow>> {
    let mut statement = connection.prepare_cached(&SELECT_NEWEST_REQUESTS)?;
    statement.query_map([limit], request_row)?.collect()
}

/// Traces with their first requests.
pub(super) fn listed_traces(connection: &Connection, keys: &[i64]) -> rusqlite::Result<Vec<ListedTrace>> {
    let listed = |key: &i64| {
        let row = trace(connection, *key)?;
        Ok(ListedTrace { row, requests: requests_of(connection, *key, LISTED_REQUESTS_MAX)? })
    };
    keys.iter().map(listed).collect()
}

fn trace_row(row: &Row<'_>) -> rusqlite::Result<TraceRow> {
    Ok(TraceRow {
        trace_id: u128::from_be_bytes(row.get("id")?),
        started_ms: row.get("started_ms")?,
        duration_us: row.get("duration_us")?,
        who: who(row)?,
        provider: row.get("provider_text")?,
        model_asked: row.get("asked_text")?,
        model: row.get("model_text")?,
        status: row.get("status")?,
        error: row.get("error_text")?,
        requests: row.get("requests")?,
        spans: row.get("spans")?,
        input_tokens: row.get("prompt")?,
        output_tokens: row.get("completion")?,
        total_tokens: row.get("total")?,
        cost: MicroUsd(row.get("cost")?),
        saved: MicroUsd(row.get("saved")?),
        marks: Marks(row.get("marks")?),
    })
}

fn request_row(row: &Row<'_>) -> rusqlite::Result<RequestRow> {
    let marks = Marks(row.get("marks")?);
    // SQLite integers are signed; the bits stay the same.
    let span_id = |column| row.get::<_, Option<i64>>(column).map(|span| span.map(|span| span as u64));
    Ok(RequestRow {
        trace_id: u128::from_be_bytes(row.get("trace_id")?),
        span_id: span_id("span")?.unwrap_or_default(),
        parent_span_id: span_id("parent")?,
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
            cache_write: row.get("cache_write")?,
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

static SELECT_TRACE: LazyLock<String> = LazyLock::new(|| {
    let names = ["provider", "asked", "model"].map(|column| required_text("trace", column)).join(", ");
    let (who, error) = (who_texts("trace"), optional_text("trace", "error"));
    format!("SELECT {who}, {names}, {error}, trace.* FROM trace WHERE trace.key = ?1")
});
static SELECT_REQUEST: LazyLock<String> = LazyLock::new(|| {
    let required = ["endpoint", "provider", "asked", "model"].map(|column| required_text("request", column)).join(", ");
    let optional = ["code", "fault", "error", "cut"].map(|column| optional_text("request", column)).join(", ");
    let who = who_texts("request");
    format!(
        "SELECT {who}, {required}, {optional}, (SELECT id FROM trace WHERE key = request.trace) AS trace_id, request.*
         FROM request"
    )
});
static SELECT_REQUESTS_OF_TRACE: LazyLock<String> =
    LazyLock::new(|| format!("{} WHERE request.trace = ?1 ORDER BY request.key LIMIT ?2", *SELECT_REQUEST));
static SELECT_NEWEST_REQUESTS: LazyLock<String> =
    LazyLock::new(|| format!("{} ORDER BY request.key DESC LIMIT ?1", *SELECT_REQUEST));

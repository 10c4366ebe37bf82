//! Pages of traces, newest first, and what stands beside one. On the reader's thread. A page and the total that it is of
//! come from one pass over one state of the file.

use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Rows, params_from_iter};

use super::super::audit::{PAGE_SIZE_MAX, Page, Paging};
use super::super::error::StoreError;
use super::Reader;
use super::filter::{Condition, Filter, key_of_trace};
use super::names::{optional_text, required_text, who, who_texts};
use crate::link::trace::Marks;
use crate::units::MicroUsd;
use crate::who::Who;

/// A trace as a list shows it: its requests summed; names are those of the first one.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    pub trace_id: u128,
    /// The earliest of its requests.
    pub started_ms: u64,
    /// Until the last answer's end.
    pub duration_us: u64,
    pub who: Who<String>,
    pub provider: String,
    pub model_asked: String,
    pub model: String,
    /// The highest.
    pub status: u16,
    /// The last one's.
    pub error: Option<String>,
    pub requests: u64,
    pub spans: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub total_tokens: u64,
    pub cost: MicroUsd,
    pub saved: MicroUsd,
    pub marks: Marks,
}

/// What a list shows before and behind a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    pub newer: Option<u128>,
    pub older: Option<u128>,
}

impl Reader {
    /// Newest first.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn traces(&self, filter: &Filter, paging: Paging) -> Result<Page<TraceRow>, StoreError> {
        let page = paging.page.max(1);
        let page_size = paging.page_size.clamp(1, PAGE_SIZE_MAX);
        self.ask("list traces", |connection| {
            let (keys, total) = page_keys(connection, filter, page, page_size)?;
            let mut statement = connection.prepare_cached(&SELECT_ROW)?;
            let items = keys.iter().map(|key| statement.query_row([key], trace_row)).collect::<Result<_, _>>()?;
            Ok(Page { items, total, page, page_size })
        })
    }

    /// What `filter` shows before and behind a trace, which itself need not match. Nothing if there is no such trace.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn neighbours(&self, filter: &Filter, trace_id: u128) -> Result<Neighbours, StoreError> {
        self.ask("look beside a trace", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(Neighbours::default()) };
            let Some(condition) = filter.condition(connection)? else { return Ok(Neighbours::default()) };
            // Into the condition's own range: of two bounds on one side, SQLite begins at the first and walks to the other.
            let beside = |range: [i64; 2], order: &str| -> rusqlite::Result<Option<u128>> {
                let sql = format!("SELECT id FROM trace WHERE {} ORDER BY key {order} LIMIT 1", condition.sql);
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params_from_iter(condition.values_within(range)))?;
                rows.next()?.map(|row| Ok(u128::from_be_bytes(row.get("id")?))).transpose()
            };
            let [from, end] = condition.range;
            Ok(Neighbours {
                newer: beside([from.max(key.saturating_add(1)), end], "ASC")?,
                older: beside([from, end.min(key)], "DESC")?,
            })
        })
    }
}

/// The keys of a page, and how many there are in all.
pub(super) fn page_keys(
    connection: &Connection,
    filter: &Filter,
    page: u32,
    page_size: u32,
) -> rusqlite::Result<(Vec<i64>, u64)> {
    let skipped = u64::from(page - 1) * u64::from(page_size);
    match filter.condition(connection)? {
        None => Ok((Vec::new(), 0)),
        Some(condition) if condition.plain => plain_page(connection, &condition, skipped, page_size),
        Some(condition) => page_of(connection, &condition, skipped, page_size),
    }
}

/// A page of a range of time alone: nothing has to be looked at to be counted.
fn plain_page(
    connection: &Connection,
    condition: &Condition,
    skipped: u64,
    page_size: u32,
) -> rusqlite::Result<(Vec<i64>, u64)> {
    let total = count(connection, condition)?;
    let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC LIMIT ? OFFSET ?", condition.sql);
    let bounds = [i64::from(page_size), i64::try_from(skipped).unwrap_or(i64::MAX)].map(Value::from);
    let values = condition.values().chain(bounds);
    let mut statement = connection.prepare_cached(&sql)?;
    let keys = statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((keys, total))
}

/// Traces of a condition. All of them are counted over the smaller tree of their ids.
pub(super) fn count(connection: &Connection, condition: &Condition) -> rusqlite::Result<u64> {
    let everything = condition.plain && condition.range == [0, i64::MAX];
    if everything {
        return connection.prepare_cached("SELECT count(*) FROM trace")?.query_row([], |row| row.get(0));
    }
    let mut statement = connection.prepare_cached(&format!("SELECT count(*) FROM trace WHERE {}", condition.sql))?;
    statement.query_row(params_from_iter(condition.values()), |row| row.get(0))
}

/// A page, and how many there are in all, in one pass: a rare match is looked for once.
fn page_of(
    connection: &Connection,
    condition: &Condition,
    skipped: u64,
    page_size: u32,
) -> rusqlite::Result<(Vec<i64>, u64)> {
    let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC", condition.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows: Rows<'_> = statement.query(params_from_iter(condition.values()))?;
    let (mut keys, mut total) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if total >= skipped && keys.len() < page_size as usize {
            keys.push(row.get(0)?);
        }
        total += 1;
    }
    Ok((keys, total))
}

pub(super) fn trace_row(row: &Row<'_>) -> rusqlite::Result<TraceRow> {
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
        prompt_tokens: row.get("prompt")?,
        completion_tokens: row.get("completion")?,
        total_tokens: row.get("total")?,
        cost: MicroUsd(row.get("cost")?),
        saved: MicroUsd(row.get("saved")?),
        marks: Marks(row.get("marks")?),
    })
}

/// A trace with its names.
pub(super) static SELECT_ROW: LazyLock<String> = LazyLock::new(|| {
    let names = ["provider", "asked", "model"].map(|column| required_text("trace", column)).join(", ");
    let (who, error) = (who_texts("trace"), optional_text("trace", "error"));
    format!("SELECT {who}, {names}, {error}, trace.* FROM trace WHERE trace.key = ?1")
});

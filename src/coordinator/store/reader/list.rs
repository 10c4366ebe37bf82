//! Pages of traces, newest first, and the neighbours of a trace in such a list. On the reader's thread. A page and its total
//! come from one state of the file.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::error::StoreError;
use super::super::page::{ListPage, Paging};
use super::connection::Reader;
use super::filter::{Condition, Filter, key_of_trace};
use super::rows::{ListedTrace, TraceRow, listed_traces, trace};

/// The traces next to one in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    pub newer: Option<u128>,
    pub older: Option<u128>,
}

impl Reader {
    /// A page of traces without their requests.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn traces(&self, filter: &Filter, paging: Paging) -> Result<ListPage<TraceRow>, StoreError> {
        let paging = paging.clamped();
        self.query("list traces", |connection| {
            let (keys, total) = page_keys(connection, filter, paging)?;
            let items = keys.iter().map(|key| trace(connection, *key)).collect::<Result<_, _>>()?;
            Ok(paging.with_items(items, total))
        })
    }

    /// A page of traces with their first requests.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn listed_traces(&self, filter: &Filter, paging: Paging) -> Result<ListPage<ListedTrace>, StoreError> {
        let paging = paging.clamped();
        self.query("list traces", |connection| {
            let (keys, total) = page_keys(connection, filter, paging)?;
            Ok(paging.with_items(listed_traces(connection, &keys)?, total))
        })
    }

    /// The first `limit` traces of a list, without counting the rest. An export goes on with [`Filter::after`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn first_listed_traces(&self, filter: &Filter, limit: u32) -> Result<Vec<ListedTrace>, StoreError> {
        self.query("list some of the traces", |connection| {
            let Some(condition) = filter.condition(connection)? else { return Ok(Vec::new()) };
            let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC LIMIT {limit}", condition.sql);
            let mut statement = connection.prepare_cached(&sql)?;
            let keys = statement.query_map(params_from_iter(condition.values()), |row| row.get(0))?;
            listed_traces(connection, &keys.collect::<Result<Vec<_>, _>>()?)
        })
    }

    /// The traces next to `trace_id` in the list that `filter` shows. The trace itself need not match the filter. Both are
    /// `None` if there is no such trace.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn neighbours(&self, filter: &Filter, trace_id: u128) -> Result<Neighbours, StoreError> {
        self.query("find the neighbours of a trace", |connection| {
            let Some(key) = key_of_trace(connection, trace_id)? else { return Ok(Neighbours::default()) };
            let Some(condition) = filter.condition(connection)? else { return Ok(Neighbours::default()) };
            // Narrows the condition's own range. Given two bounds on one side, SQLite would begin at the first one and walk to
            // the other.
            let nearest = |range: [i64; 2], order: &str| -> rusqlite::Result<Option<u128>> {
                let sql = format!("SELECT id FROM trace WHERE {} ORDER BY key {order} LIMIT 1", condition.sql);
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params_from_iter(condition.values_within(range)))?;
                rows.next()?.map(|row| Ok(u128::from_be_bytes(row.get("id")?))).transpose()
            };
            let [from, end] = condition.range;
            Ok(Neighbours {
                newer: nearest([from.max(key.saturating_add(1)), end], "ASC")?,
                older: nearest([from, end.min(key)], "DESC")?,
            })
        })
    }
}

/// The number of traces that a condition matches.
pub(super) fn count(connection: &Connection, condition: &Condition) -> rusqlite::Result<u64> {
    let everything = condition.is_range && condition.range == [0, i64::MAX];
    if everything {
        // Without a condition, SQLite counts the smaller index of trace ids.
        return connection.prepare_cached("SELECT count(*) FROM trace")?.query_row([], |row| row.get(0));
    }
    let mut statement = connection.prepare_cached(&format!("SELECT count(*) FROM trace WHERE {}", condition.sql))?;
    statement.query_row(params_from_iter(condition.values()), |row| row.get(0))
}

/// The keys of a page, and the total of all pages.
fn page_keys(connection: &Connection, filter: &Filter, paging: Paging) -> rusqlite::Result<(Vec<i64>, u64)> {
    match filter.condition(connection)? {
        None => Ok((Vec::new(), 0)),
        Some(condition) if condition.is_range => page_of_range(connection, &condition, paging),
        Some(condition) => page_of_matches(connection, &condition, paging),
    }
}

/// The page of a plain range of time, whose traces can be counted without being read.
fn page_of_range(connection: &Connection, condition: &Condition, paging: Paging) -> rusqlite::Result<(Vec<i64>, u64)> {
    let total = count(connection, condition)?;
    let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC LIMIT ? OFFSET ?", condition.sql);
    let skipped = i64::try_from(paging.skipped()).unwrap_or(i64::MAX);
    let values = condition.values().chain([i64::from(paging.page_size), skipped].map(Value::from));
    let mut statement = connection.prepare_cached(&sql)?;
    let keys = statement.query_map(params_from_iter(values), |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((keys, total))
}

/// The page of any other condition. Finds the page and the total in one pass, so that rare matches are searched for once.
fn page_of_matches(
    connection: &Connection,
    condition: &Condition,
    paging: Paging,
) -> rusqlite::Result<(Vec<i64>, u64)> {
    let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC", condition.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(condition.values()))?;
    let (mut keys, mut total) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if total >= paging.skipped() && keys.len() < paging.page_size as usize {
            keys.push(row.get(0)?);
        }
        total += 1;
    }
    Ok((keys, total))
}

//! Traces with what a list shows of their requests, and which names are frequent among them. On the reader's thread. What
//! belongs together comes from one state of the file.

use std::sync::LazyLock;

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::super::audit::{PAGE_SIZE_MAX, Page, Paging};
use super::super::dimension::WHO_COLUMNS;
use super::super::error::StoreError;
use super::Reader;
use super::detail::{RequestRow, requests};
use super::filter::Filter;
use super::list::{SELECT_ROW, TraceRow, page_keys, trace_row};
use crate::who::{Who, WhoPart};

/// Requests of a trace that a list looks at. Arbitrary: what policies did to the first steps of a long run of an agent is
/// enough for a line, and a page stays quick.
pub const LISTED_REQUESTS_MAX: u32 = 10;

/// A trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub row: TraceRow,
    /// The first ones, at most [`LISTED_REQUESTS_MAX`].
    pub requests: Vec<RequestRow>,
}

/// The most frequent values among traces, each with the number of traces, most frequent first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    pub who: Who<Vec<(String, u64)>>,
    pub provider: Vec<(String, u64)>,
    /// The one that was used.
    pub model: Vec<(String, u64)>,
    pub status: Vec<(u16, u64)>,
}

type Counts = HashMap<i64, u64>;

impl Reader {
    /// Newest first.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn listed(&self, filter: &Filter, paging: Paging) -> Result<Page<Listed>, StoreError> {
        let page = paging.page.max(1);
        let page_size = paging.page_size.clamp(1, PAGE_SIZE_MAX);
        self.ask("list traces", |connection| {
            let (keys, total) = page_keys(connection, filter, page, page_size)?;
            Ok(Page { items: with_requests(connection, &keys)?, total, page, page_size })
        })
    }

    /// The first `limit` of a list, newest first, without looking at the rest: a piece of an export, which goes on with
    /// [`Filter::after`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn listed_first(&self, filter: &Filter, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.ask("list a piece of all traces", |connection| {
            let Some(condition) = filter.condition(connection)? else { return Ok(Vec::new()) };
            let sql = format!("SELECT key FROM trace WHERE {} ORDER BY key DESC LIMIT {limit}", condition.sql);
            let mut statement = connection.prepare_cached(&sql)?;
            let keys = statement.query_map(params_from_iter(condition.values()), |row| row.get(0))?;
            with_requests(connection, &keys.collect::<Result<Vec<_>, _>>()?)
        })
    }

    /// The `limit` most frequent values of each dimension among the traces that pass.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn names(&self, filter: &Filter, limit: usize) -> Result<Names, StoreError> {
        self.ask("count the names of traces", |connection| {
            let Some(condition) = filter.condition(connection)? else { return Ok(Names::default()) };
            let mut statement = connection.prepare_cached(&format!("{} WHERE {}", *SELECT_COUNTED, condition.sql))?;
            let mut rows = statement.query(params_from_iter(condition.values()))?;
            let mut counts: [Counts; WhoPart::ALL.len() + 3] = Default::default();
            while let Some(row) = rows.next()? {
                for (at, count) in counts.iter_mut().enumerate() {
                    *count.entry(row.get(at)?).or_default() += 1;
                }
            }
            let [who @ .., provider, model, status] = counts;
            let mut who = who.into_iter();
            let named = |counts| named(connection, counts, limit);
            let status = most(status, limit).into_iter();
            Ok(Names {
                who: Who::try_from_fn(|_| named(who.next().unwrap_or_default()))?,
                provider: named(provider)?,
                model: named(model)?,
                status: status.map(|(status, count)| (u16::try_from(status).unwrap_or_default(), count)).collect(),
            })
        })
    }
}

fn with_requests(connection: &Connection, keys: &[i64]) -> rusqlite::Result<Vec<Listed>> {
    let mut statement = connection.prepare_cached(&SELECT_ROW)?;
    let first = format!("request.trace = ?1 ORDER BY request.key LIMIT min(?2, {LISTED_REQUESTS_MAX})");
    let listed = |key: &i64| {
        let row = statement.query_row([key], trace_row)?;
        Ok(Listed { row, requests: requests(connection, &first, [*key])? })
    };
    keys.iter().map(listed).collect()
}

/// Most frequent first; equals in the order of their numbers, which is that of their first use.
fn most(counts: Counts, limit: usize) -> Vec<(i64, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_unstable_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    all.truncate(limit);
    all
}

/// The identity's columns come first, in the order in which [`Who::try_from_fn`] asks for the parts.
static SELECT_COUNTED: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {}, provider, model, status FROM trace", WHO_COLUMNS.join(", ")));

fn named(connection: &Connection, counts: Counts, limit: usize) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut name = connection.prepare_cached("SELECT text FROM name WHERE id = ?1")?;
    let mut named = Vec::new();
    for (value, count) in most(counts, limit) {
        let text: Option<String> = name.query_row([value], |row| row.get(0)).optional()?;
        named.push((text.unwrap_or_default(), count));
    }
    Ok(named)
}

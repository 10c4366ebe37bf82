//! The most frequent names among the traces that match a filter, to choose the next filter from. On the reader's thread. All
//! of them come from one pass over one state of the file.

use std::sync::LazyLock;

use hashbrown::HashMap;
use rusqlite::{Connection, params_from_iter};

use super::super::dimension::WHO_COLUMNS;
use super::super::error::StoreError;
use super::connection::Reader;
use super::filter::Filter;
use super::names::text_of;
use crate::who::{Who, WhoPart};

/// The most frequent values among traces, each with its number of traces, most frequent first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceFacets {
    pub who: Who<Vec<(String, u64)>>,
    pub provider: Vec<(String, u64)>,
    /// The model that answered, not the one that was asked for.
    pub model: Vec<(String, u64)>,
    pub status: Vec<(u16, u64)>,
}

/// Number of traces by name id or status.
type Counts = HashMap<i64, u64>;

impl Reader {
    /// The `limit` most frequent values of each kind among the traces that match.
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn trace_facets(&self, filter: &Filter, limit: usize) -> Result<TraceFacets, StoreError> {
        self.query("count the names of traces", |connection| {
            let Some(condition) = filter.condition(connection)? else { return Ok(TraceFacets::default()) };
            let mut statement = connection.prepare_cached(&format!("{} WHERE {}", *SELECT, condition.sql))?;
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
            let status = most_frequent(status, limit).into_iter();
            Ok(TraceFacets {
                who: Who::try_from_fn(|_| named(who.next().unwrap_or_default()))?,
                provider: named(provider)?,
                model: named(model)?,
                status: status.map(|(status, count)| (u16::try_from(status).unwrap_or_default(), count)).collect(),
            })
        })
    }
}

/// Most frequent first. Ties are in the order of their ids, which is that of their first use.
fn most_frequent(counts: Counts, limit: usize) -> Vec<(i64, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_unstable_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    all.truncate(limit);
    all
}

fn named(connection: &Connection, counts: Counts, limit: usize) -> rusqlite::Result<Vec<(String, u64)>> {
    let most = most_frequent(counts, limit).into_iter();
    most.map(|(id, count)| Ok((text_of(connection, id)?.unwrap_or_default(), count))).collect()
}

/// The identity's columns come first, in the order in which [`Who::try_from_fn`] asks for the parts.
static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {}, provider, model, status FROM trace", WHO_COLUMNS.join(", ")));

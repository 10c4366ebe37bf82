//! How often policies matched over time, for the charts beside them. On the reader's thread, from the exact counts. Policies
//! are known by their ids alone, so a deleted policy keeps its history.

use hashbrown::HashMap;
use rusqlite::Connection;

use super::super::error::StoreError;
use super::connection::Reader;
use super::names::text_of;
use super::time::{Steps, TimeRange};

impl Reader {
    /// The matches of every policy that had some, by policy id, in steps as in [`Reader::series`].
    ///
    /// # Errors
    /// The file cannot be read, or not in time.
    pub fn matches_over_time(&self, range: TimeRange, step_ms: u64) -> Result<HashMap<String, Vec<u64>>, StoreError> {
        self.query("count the policies' matches over time", |connection| {
            let steps = Steps::of(range, step_ms);
            let zeros = vec![0_u64; steps.starts_ms().count()];
            let mut series = HashMap::<i64, Vec<u64>>::new();
            each_count(connection, range, |minute, policy, matches| {
                let points = series.entry(policy).or_insert_with(|| zeros.clone());
                if let Some(point) = points.get_mut(steps.index(minute)) {
                    *point = point.saturating_add(matches);
                }
            })?;
            let named = series.into_iter().map(|(policy, points)| {
                let id = text_of(connection, policy)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                Ok((id, points))
            });
            named.collect()
        })
    }
}

/// Visits the minute, the name id of the policy, and the matches.
fn each_count(connection: &Connection, range: TimeRange, mut visit: impl FnMut(u64, i64, u64)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(SELECT)?;
    let mut rows = statement.query(range.minutes())?;
    while let Some(row) = rows.next()? {
        visit(row.get(0)?, row.get(1)?, row.get(2)?);
    }
    Ok(())
}

const SELECT: &str = "SELECT minute, policy, matches FROM policy_minute WHERE minute >= ?1 AND minute < ?2";

//! Rolls old minutes up into hours: the rows of an hour are summed into rows of its first minute. On the coordinator's thread,
//! as a step of the retention. No sum changes; only its resolution becomes coarser.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::layout::{COUNTS, DAY_MS, SELECT_ROLLED_UP, USAGE_KEY, bounded};
use super::writer::INSERT_USAGE;
use crate::link::usage::MINUTE_MS;

/// Rows of one step of the retention. Measured: deleting this many requests with everything that belongs to them takes about
/// 2 ms of CPU.
pub(super) const STEP_ROWS_MAX: usize = 150;
/// Minutes are kept for this many days before they are rolled up. Arbitrary: enough for the charts of a week.
const FINE_DAYS: u64 = 8;
const KEYS: usize = USAGE_KEY.len();

/// The first minute of the next hour to roll up, if one is due.
pub(super) fn due(connection: &Connection, now_ms: u64) -> rusqlite::Result<Option<i64>> {
    let fine = bounded(now_ms.saturating_sub(FINE_DAYS * DAY_MS) / MINUTE_MS);
    let done = connection.prepare_cached(SELECT_ROLLED_UP)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0);
    let bounds: [i64; 2] = [done, fine - fine % 60];
    let next: Option<i64> = connection
        .prepare_cached("SELECT min(minute) FROM usage_minute WHERE minute >= ?1 AND minute < ?2")?
        .query_row(bounds, |row| row.get(0))?;
    Ok(next.map(|minute| minute - minute % 60))
}

/// Rolls up at most [`STEP_ROWS_MAX`] rows of an hour. With the last of them, the hour is marked as done.
pub(super) fn roll_up(connection: &Connection, hour: i64) -> rusqlite::Result<u64> {
    let mut select = connection.prepare_cached(&SELECT)?;
    let mut found = Vec::with_capacity(STEP_ROWS_MAX);
    let mut rows = select.query([hour, STEP_ROWS_MAX as i64])?;
    while let Some(row) = rows.next()? {
        let mut values = [0_i64; KEYS + COUNTS.len()];
        for (at, value) in values.iter_mut().enumerate() {
            *value = row.get(at)?;
        }
        found.push(values);
    }
    drop(rows);
    let mut remove = connection.prepare_cached(&REMOVE)?;
    let mut add = connection.prepare_cached(&INSERT_USAGE)?;
    for mut values in found.iter().copied() {
        remove.execute(params_from_iter(&values[..KEYS]))?;
        values[0] = hour;
        add.execute(params_from_iter(values))?;
    }
    if found.len() < STEP_ROWS_MAX {
        connection.prepare_cached(DONE)?.execute([hour.saturating_add(60)])?;
    }
    Ok(found.len() as u64)
}

static SELECT: LazyLock<String> = LazyLock::new(|| {
    let columns = [&USAGE_KEY[..], &COUNTS].concat().join(", ");
    format!("SELECT {columns} FROM usage_minute WHERE minute > ?1 AND minute < ?1 + 60 ORDER BY minute LIMIT ?2")
});
static REMOVE: LazyLock<String> = LazyLock::new(|| {
    let key: Vec<String> = USAGE_KEY.iter().zip(1..).map(|(column, n)| format!("{column} = ?{n}")).collect();
    format!("DELETE FROM usage_minute WHERE {}", key.join(" AND "))
});
const DONE: &str = "INSERT OR REPLACE INTO progress (what, value) VALUES ('rolled_up', ?1)";

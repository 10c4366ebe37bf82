//! What shards report, into the file: one transaction for all that has come since the last one. On the coordinator's thread.
//! It never applies a flush twice: what was applied is a row of the same transaction.

mod dictionary; // texts as numbers
mod statement; // SQL from lists of columns
mod traces; // requests and their traces
mod usage; // exact counts

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::open::BUSY_TIMEOUT;
use super::{Store, StoreError};
use crate::link::usage::Batch;

pub use traces::CAPTURE_BYTES_MAX;

#[cfg(test)]
pub(super) use dictionary::TEXT_BYTES_MAX;
pub(super) use dictionary::{DAY_MS, SEARCHED, shortened};
pub(super) use traces::KEY_BITS;
pub(super) use usage::{COUNTS, INSERT as INSERT_USAGE, KEY_COLUMNS, ROLLED_UP, bounded};
#[cfg(test)]
pub(super) use usage::{KEYS_MAX, OTHER_KEYS_MAX};

/// How long a flush, or a step of the retention, waits for another program's lock: the coordinator stands still meanwhile, and
/// there is a next time. Arbitrary.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_millis(50);
/// While another luner writes the file, too, for the time of a hand-over: longer than a transaction of its takes.
const SHARED_PATIENCE: Duration = Duration::from_millis(500);
/// And the last flush of the one that ends, for which nobody waits.
const LAST_SHARED_PATIENCE: Duration = Duration::from_secs(5);
/// And the last flush otherwise, for which there is none. Arbitrary; well below what supervisors wait before they kill.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What the writer remembers from one transaction to the next. All of it can be found out again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    known: dictionary::Known,
    rows: usage::RowsByMinute,
    /// The last number drawn for a key.
    next: i64,
    /// How far names were looked at, and on which day that began.
    pub(super) sweep: Sweep,
}

/// A pass over all names, in search of those that nothing means any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    /// The last number that was looked at; `None` when the pass is over.
    pub at: Option<i64>,
    /// Since the epoch.
    pub day: u64,
}

impl Memory {
    /// Forgets names, of which some are gone.
    pub(super) fn forget_names(&mut self) {
        self.known.clear();
    }

    /// Forgets how many rows a minute has.
    pub(super) fn forget_rows(&mut self) {
        self.rows.clear();
    }
}

/// What came of a call of [`Store::record`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Batches that were new.
    pub applied: u64,
    /// Batches that had been applied before, and changed nothing.
    pub replayed: u64,
    /// Requests of the new ones.
    pub traces: u64,
}

impl Store {
    /// Applies batches of shards, all or none, each at most once in the life of the file. `now_ms` is when, for the pruning of
    /// what is remembered of them. Waits for another program's lock for a moment only.
    ///
    /// # Errors
    /// The file cannot be written. Nothing was; the same batches may come again.
    pub fn record(&mut self, batches: &[Batch], now_ms: u64) -> Result<Recorded, StoreError> {
        let patience = if self.shared { SHARED_PATIENCE } else { FLUSH_PATIENCE };
        self.record_within(patience, batches, now_ms)
    }

    /// The same for a caller who has the time to wait for a lock.
    ///
    /// # Errors
    /// As of [`Store::record`].
    pub fn record_patiently(&mut self, batches: &[Batch], now_ms: u64) -> Result<Recorded, StoreError> {
        let patience = if self.shared { LAST_SHARED_PATIENCE } else { LAST_PATIENCE };
        self.record_within(patience, batches, now_ms)
    }

    fn record_within(&mut self, patience: Duration, batches: &[Batch], now_ms: u64) -> Result<Recorded, StoreError> {
        self.wait_for_locks(patience)?;
        // What was learned in a transaction that is given up is wrong: numbers of names that are not there.
        let mut memory = std::mem::take(&mut self.memory);
        let recorded =
            self.write("record requests", |transaction| Ok(apply_all(transaction, &mut memory, batches, now_ms)?));
        self.wait_for_locks(BUSY_TIMEOUT)?;
        let recorded = recorded?;
        self.memory = memory;
        Ok(recorded)
    }
}

fn apply_all(
    connection: &Connection,
    memory: &mut Memory,
    batches: &[Batch],
    now_ms: u64,
) -> rusqlite::Result<Recorded> {
    let mut names = dictionary::Dictionary::new(connection, &mut memory.known)?;
    let mut usage = usage::Usage::new(connection, &mut memory.rows)?;
    let mut traces = traces::Traces::new(connection, &mut memory.next)?;
    let mut recorded = Recorded::default();
    for batch in batches {
        if !mark_applied(connection, batch, now_ms)? {
            recorded.replayed += 1;
            continue;
        }
        usage.add(&batch.accounts, &mut names)?;
        for trace in &batch.traces {
            traces.add(trace, &mut names)?;
        }
        recorded.applied += 1;
        recorded.traces += batch.traces.len() as u64;
    }
    Ok(recorded)
}

/// Notes a batch as applied; false where it was. The sequences of a shard are kept as ranges: mostly a single one, which grows.
fn mark_applied(connection: &Connection, batch: &Batch, now_ms: u64) -> rusqlite::Result<bool> {
    let boot = batch.boot.to_be_bytes();
    let (shard, sequence, at_ms) = (batch.shard, bounded(batch.sequence), bounded(now_ms));
    let range = |sql: &str, bound: i64| -> rusqlite::Result<Option<(i64, i64)>> {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row(params![boot, shard, bound], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    };
    let before = range(RANGE_BEFORE, sequence)?;
    if before.is_some_and(|(_, last)| last >= sequence) {
        return Ok(false);
    }
    let before = before.filter(|(_, last)| *last == sequence - 1);
    let after = range(RANGE_FROM, sequence.saturating_add(1))?;
    let first = before.map_or(sequence, |(first, _)| first);
    let last = after.map_or(sequence, |(_, last)| last);
    if let Some((after, _)) = after {
        connection.prepare_cached(DELETE_RANGE)?.execute(params![boot, shard, after])?;
    }
    connection.prepare_cached(PUT_RANGE)?.execute(params![boot, shard, first, last, at_ms])?;
    Ok(true)
}

const RANGE_BEFORE: &str =
    "SELECT first, last FROM flush WHERE boot = ?1 AND shard = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1";
const RANGE_FROM: &str = "SELECT first, last FROM flush WHERE boot = ?1 AND shard = ?2 AND first = ?3";
const DELETE_RANGE: &str = "DELETE FROM flush WHERE boot = ?1 AND shard = ?2 AND first = ?3";
const PUT_RANGE: &str = "INSERT OR REPLACE INTO flush (boot, shard, first, last, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)";

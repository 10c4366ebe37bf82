//! Writes what the shards report into the file, all of it since the last flush in one transaction. On the coordinator's thread.
//! It never applies a batch twice: the transaction itself notes which batches it applied.

// Builds SQL from lists of columns.
mod statement;

// Texts as ids of the table `name`.
mod dictionary;

// Exact counts.
mod usage;

// Requests and their traces.
mod traces;

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::connect::BUSY_TIMEOUT;
use super::database::Store;
use super::error::StoreError;
use super::layout::bounded;
use super::memory::Memory;
use crate::link::usage::UsageBatch;

use dictionary::Dictionary;
use traces::TraceTables;
use usage::UsageTables;

pub use traces::CAPTURE_BYTES_MAX;
pub(super) use usage::INSERT as INSERT_USAGE;
#[cfg(test)]
pub(super) use usage::{KEYS_MAX, OTHER_KEYS_MAX};

/// How long a flush or a retention step waits for the lock of another program. The coordinator stands still meanwhile, and can
/// try again later. Arbitrary: not noticed by anyone who waits for the REST API.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(50);
/// The same while another luner writes the file during a hand-over: longer than one of its transactions takes.
const SHARED_LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// The same for the last flush, which cannot be tried again. Arbitrary: well below what supervisors wait before they kill.
const LAST_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// The same for the last flush while another luner writes the file: that one serves, so nobody waits for this one to end.
const LAST_SHARED_LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Store::record`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Batches that were new.
    pub applied: u64,
    /// Batches that had been applied before, and changed nothing.
    pub replayed: u64,
    /// Requests in the new batches.
    pub traces: u64,
}

impl Store {
    /// Applies batches of shards, all or none, each at most once in the life of the file. `now_ms` is noted with them, so that
    /// the retention can forget them later. Waits only briefly for the lock of another program.
    ///
    /// # Errors
    /// The file cannot be written. Nothing was written, so the same batches may come again.
    pub fn record(&mut self, batches: &[UsageBatch], now_ms: u64) -> Result<Recorded, StoreError> {
        let timeout = if self.is_shared { SHARED_LOCK_TIMEOUT } else { LOCK_TIMEOUT };
        self.record_within(timeout, batches, now_ms)
    }

    /// Like [`Store::record`], for a caller who can wait longer for a lock.
    ///
    /// # Errors
    /// Those of [`Store::record`].
    pub fn record_patiently(&mut self, batches: &[UsageBatch], now_ms: u64) -> Result<Recorded, StoreError> {
        let timeout = if self.is_shared { LAST_SHARED_LOCK_TIMEOUT } else { LAST_LOCK_TIMEOUT };
        self.record_within(timeout, batches, now_ms)
    }

    fn record_within(
        &mut self,
        timeout: Duration,
        batches: &[UsageBatch],
        now_ms: u64,
    ) -> Result<Recorded, StoreError> {
        self.set_busy_timeout(timeout)?;
        // If the transaction is given up, its memory is wrong: it holds ids of names that are not in the file.
        let mut memory = std::mem::take(&mut self.memory);
        let recorded =
            self.write("record requests", |transaction| Ok(apply_all(transaction, &mut memory, batches, now_ms)?));
        self.set_busy_timeout(BUSY_TIMEOUT)?;
        let recorded = recorded?;
        self.memory = memory;
        Ok(recorded)
    }
}

fn apply_all(
    connection: &Connection,
    memory: &mut Memory,
    batches: &[UsageBatch],
    now_ms: u64,
) -> rusqlite::Result<Recorded> {
    let mut names = Dictionary::new(connection, &mut memory.names)?;
    let mut usage = UsageTables::new(connection, &mut memory.rows)?;
    let mut traces = TraceTables::new(connection, &mut memory.last_number)?;
    let mut recorded = Recorded::default();
    for batch in batches {
        if !mark_applied(connection, batch, now_ms)? {
            recorded.replayed += 1;
            continue;
        }
        usage.add(&batch.totals, &mut names)?;
        for trace in &batch.traces {
            traces.add(trace, &mut names)?;
        }
        recorded.applied += 1;
        recorded.traces += batch.traces.len() as u64;
    }
    Ok(recorded)
}

/// Notes that a batch was applied, and returns false if it already had been. The sequence numbers of a shard are kept as
/// ranges, mostly a single one that grows.
fn mark_applied(connection: &Connection, batch: &UsageBatch, now_ms: u64) -> rusqlite::Result<bool> {
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

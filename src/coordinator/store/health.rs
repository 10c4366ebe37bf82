//! Whether the store takes writes, found out without anyone losing one. On the coordinator's thread, every few seconds.
//! It never waits for a lock, and writes only while the store is degraded.

use std::fs;
use std::time::Duration;

use rusqlite::{Transaction, TransactionBehavior};

use super::Store;
use super::error::{Fault, StoreError};
use super::open::{BUSY_TIMEOUT, Identity, beside};

/// A -wal beyond this size is an alarm. Arbitrary: SQLite folds it in at 16 MB unless a reader holds it open.
pub const WAL_BYTES_ALARM: u64 = 256 << 20;
/// What a probe writes: more pages than any policy takes with its audit row, so that what fits is not only a trifle.
const PROBE_BYTES: u32 = 64 * 1024;

/// The store's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// For the log and the console: why, and what to do.
    Degraded(String),
}

impl Store {
    /// Whether the next write would succeed, as far as that can be told. While the store is degraded this writes 64 KiB to
    /// find out whether the cause is gone; call it every few seconds, not with every request.
    pub fn check(&self) -> Health {
        match self.in_place().and_then(|()| self.probe()).and_then(|()| self.wal_in_bounds()) {
            Ok(()) => Health::Ok,
            Err(error) => Health::Degraded(error.to_string()),
        }
    }

    /// The last failure, until a write or a check has found the store whole again. Costs nothing.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// The file that was opened still stands at its path. One that was deleted takes writes as if nothing were, until it is
    /// closed and gone.
    pub(super) fn in_place(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path).map(|metadata| Identity::of(&metadata)) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err(StoreError::Moved { path: self.path.clone() }),
        }
    }

    fn probe(&self) -> Result<(), StoreError> {
        if self.fault.get() == Some(Fault::Corrupt) {
            return Err(StoreError::Corrupt {
                path: self.path.clone(),
                reason: "found while running; a restart checks the whole file".into(),
            });
        }
        self.wait_for_locks(Duration::ZERO)?;
        let done = match self.fault.get() {
            None => self.try_lock(),
            Some(_) => self.try_write(),
        };
        self.wait_for_locks(BUSY_TIMEOUT)?;
        done
    }

    /// Takes the write lock and gives it back. What it finds is not remembered: the lock may be another's for a moment only.
    fn try_lock(&self) -> Result<(), StoreError> {
        let lock = || {
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?.rollback()
        };
        lock().map_err(|source| StoreError::sqlite("take the write lock", &self.path, source))
    }

    fn try_write(&self) -> Result<(), StoreError> {
        self.write("write a probe", |transaction| {
            transaction.prepare_cached(FILL)?.execute([PROBE_BYTES])?;
            Ok(())
        })?;
        self.write("remove a probe", |transaction| {
            transaction.prepare_cached("DELETE FROM probe")?.execute([])?;
            Ok(())
        })
    }

    fn wal_in_bounds(&self) -> Result<(), StoreError> {
        match fs::metadata(beside(&self.path, "-wal")).map_or(0, |wal| wal.len()) {
            0..=WAL_BYTES_ALARM => Ok(()),
            bytes => Err(StoreError::WalGrows { path: self.path.clone(), bytes }),
        }
    }
}

const FILL: &str = "INSERT OR REPLACE INTO probe (id, filler) VALUES (1, zeroblob(?1))";

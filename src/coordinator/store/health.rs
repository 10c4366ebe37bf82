//! Finds out whether the store accepts writes, without losing one. On the coordinator's thread, every few seconds. It never
//! waits for a lock, and writes only while the store is degraded.

use std::fs;
use std::time::Duration;

use rusqlite::{Transaction, TransactionBehavior};

use super::connect::BUSY_TIMEOUT;
use super::database::Store;
use super::error::{StoreError, StoreFault};
use super::files::beside;

/// Size of the -wal above which the store counts as degraded. Arbitrary: SQLite folds it in at 16 MB unless a reader keeps it
/// open.
pub const WAL_BYTES_ALARM: u64 = 256 << 20;
/// What a probe writes: more than any policy takes with its audit row, so that success means more than that a few bytes fit.
const PROBE_BYTES: u32 = 64 * 1024;

/// The store's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    Ok,
    /// The reason, and what to do about it, for the log and the console.
    Degraded(String),
}

impl Store {
    /// Predicts whether the next write would succeed. While the store is degraded this writes 64 KiB to find out whether the
    /// cause is gone, so call it every few seconds and not with every request.
    pub fn check(&self) -> StoreHealth {
        match self.refuse_if_moved().and_then(|()| self.probe()).and_then(|()| self.refuse_large_wal()) {
            Ok(()) => StoreHealth::Ok,
            Err(error) => StoreHealth::Degraded(error.to_string()),
        }
    }

    fn probe(&self) -> Result<(), StoreError> {
        if self.fault() == Some(StoreFault::Corrupt) {
            return Err(StoreError::Corrupt {
                path: self.path().to_owned(),
                reason: "found while running; a restart checks the whole file".into(),
            });
        }
        self.set_busy_timeout(Duration::ZERO)?;
        let done = match self.fault() {
            None => self.try_lock(),
            Some(_) => self.try_write(),
        };
        self.set_busy_timeout(BUSY_TIMEOUT)?;
        done
    }

    /// Takes the write lock and releases it. A failure is not remembered as a fault: another program may hold the lock for a
    /// moment only.
    fn try_lock(&self) -> Result<(), StoreError> {
        let lock = || {
            self.end_open_transaction()?;
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?.rollback()
        };
        lock().map_err(|source| StoreError::sqlite("take the write lock", self.path(), source))
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

    fn refuse_large_wal(&self) -> Result<(), StoreError> {
        match fs::metadata(beside(self.path(), "-wal")).map_or(0, |wal| wal.len()) {
            0..=WAL_BYTES_ALARM => Ok(()),
            bytes => Err(StoreError::WalGrows { path: self.path().to_owned(), bytes }),
        }
    }
}

const FILL: &str = "INSERT OR REPLACE INTO probe (id, filler) VALUES (1, zeroblob(?1))";

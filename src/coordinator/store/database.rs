//! The store's one writing connection, and its transactions. Owned by the coordinator's thread. A transaction is on the disk
//! (`synchronous=FULL`) when the method that ran it returns, and none is kept in part.
//!
//! Failures at run time are classified as a [`StoreFault`] and remembered, so that the gateway keeps running without the store
//! and [`Store::check`] finds out when the store works again.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::connect::{self, CheckedConnection, connect};
use super::error::{StoreError, StoreFault};
use super::files::FileId;
use super::memory::Memory;

/// The open database.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    /// The path of the file, symbolic links resolved. Its -wal and -shm are in the same folder.
    path: PathBuf,
    /// The file that was opened. SQLite would not notice that its path now leads to another one.
    file_id: FileId,
    /// The last failure, until a write has succeeded.
    fault: Cell<Option<StoreFault>>,
    pub(super) memory: Memory,
    /// Set while another luner writes the file, too.
    pub(super) is_shared: bool,
}

impl Store {
    /// Opens a file that was found whole, with whatever schema it has.
    pub(super) fn connect(path: &Path) -> Result<Store, StoreError> {
        let CheckedConnection { connection, path, file_id } = connect(path)?;
        Ok(Store { connection, path, file_id, fault: Cell::new(None), memory: Memory::default(), is_shared: false })
    }

    /// The path of the database file, symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets whether another luner writes the file, too. Its locks are short, and worth waiting for.
    pub fn set_shared(&mut self, is_shared: bool) {
        self.is_shared = is_shared;
    }

    /// The last failure, until a write or a check finds that the store works again. Costs nothing.
    pub fn fault(&self) -> Option<StoreFault> {
        self.fault.get()
    }

    /// Sets whether a commit folds a large -wal into the database, as it does at first, or leaves that to
    /// [`super::Checkpoints`].
    ///
    /// # Errors
    /// SQLite refuses the setting.
    pub fn checkpoint_on_commit(&self, on_commit: bool) -> Result<(), StoreError> {
        self.read("set who folds the write-ahead log", |connection| {
            connect::checkpoint_on_commit(connection, on_commit)
        })
    }

    /// Sets how long the connection waits for the lock of another program.
    pub(super) fn set_busy_timeout(&self, timeout: Duration) -> Result<(), StoreError> {
        self.read("set the timeout", |connection| connection.busy_timeout(timeout))
    }

    /// Refuses if the path does not lead to the opened file any more. A deleted file accepts writes as if nothing had
    /// happened, until it is closed and gone.
    pub(super) fn refuse_if_moved(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path).map(|metadata| FileId::of(&metadata)) {
            Ok(file_id) if file_id == self.file_id => Ok(()),
            _ => Err(StoreError::Moved { path: self.path.clone() }),
        }
    }

    /// Runs `work` in one transaction that takes the write lock at its start. The only way to write.
    pub(super) fn write<T>(
        &self,
        step: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteFailure>,
    ) -> Result<T, StoreError> {
        let done = self.refuse_if_moved().and_then(|()| {
            self.transact(work).map_err(|failure| match failure {
                WriteFailure::Refused(error) => error,
                WriteFailure::Sqlite(source) => StoreError::sqlite(step, &self.path, source),
            })
        });
        self.remember(&done, true);
        done
    }

    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, WriteFailure>) -> Result<T, WriteFailure> {
        self.end_open_transaction()?;
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Ends a transaction whose rollback failed, as it may on a broken disk.
    pub(super) fn end_open_transaction(&self) -> rusqlite::Result<()> {
        if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
    }

    pub(super) fn read<T>(
        &self,
        step: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done = work(&self.connection).map_err(|source| StoreError::sqlite(step, &self.path, source));
        self.remember(&done, false);
        done
    }

    fn remember<T>(&self, done: &Result<T, StoreError>, wrote: bool) {
        match done.as_ref().map_err(StoreError::fault) {
            // A file that is corrupt in one place may accept a write elsewhere. Only the check at the next start clears it.
            _ if self.fault.get() == Some(StoreFault::Corrupt) => {}
            Ok(_) if wrote => self.fault.set(None),
            Err(Some(fault)) => self.fault.set(Some(fault)),
            // A read says nothing about writes, and a refusal is not a fault.
            Ok(_) | Err(None) => {}
        }
    }
}

/// Why a transaction was given up.
pub(super) enum WriteFailure {
    /// A rule of the store forbids the change, such as a name that is taken.
    Refused(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteFailure {
    fn from(error: rusqlite::Error) -> WriteFailure {
        WriteFailure::Sqlite(error)
    }
}

impl From<StoreError> for WriteFailure {
    fn from(error: StoreError) -> WriteFailure {
        WriteFailure::Refused(error)
    }
}

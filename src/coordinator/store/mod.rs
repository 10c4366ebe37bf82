//! What outlives the process: policies, an audit of changes, requests and exact counts of them, in one SQLite file. Owned
//! by the coordinator's thread, its one writer; others read through connections of their own ([`reader`]). It never starts
//! over: a file that it cannot use is an error, and only [`set_aside`] moves one out of the way.
//!
//! A change and its audit row are one transaction, and it is on the disk (`synchronous=FULL`) when the method returns.
//! What fails at run time is classified as a [`Fault`] and remembered, so that the gateway goes on without the store and
//! [`Store::check`] finds out by itself when it is whole again.

mod open; // from a path to a connection that was checked

mod migrate; // its schema, brought up to date

mod policies; // stored policies

mod audit; // who changed what

mod dimension; // by what requests are told apart

mod writer; // what shards report, into the file

mod retention; // what leaves it again

mod rollup; // old minutes made hours

mod checkpoints; // the write-ahead log, folded in by a helper

pub mod reader; // questions about it, on a connection of their own

mod health; // ok, or degraded and why

mod aside; // a corrupt file, moved out of the way

mod error; // what went wrong, and what to do about it

#[cfg(test)]
pub(super) mod tests;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use aside::set_aside;
pub use audit::{
    AUDIT_JSON_BYTES_MAX, AUDIT_RELOAD_ROWS_MAX, AUDIT_ROWS_MAX, AuditAction, AuditEntry, NewAudit, PAGE_SIZE_MAX,
    Page, Paging,
};
pub use checkpoints::Checkpoints;
pub use dimension::{Dimension, UnknownDimension};
pub use error::{Fault, StoreError};
pub use health::{Health, WAL_BYTES_ALARM};
pub use policies::StoredPolicy;
pub use retention::{Pruned, Retention, USAGE_DAYS};
pub use writer::{CAPTURE_BYTES_MAX, Recorded};

/// Who changes something, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By<'a> {
    /// As the audit shows it: a token's name, an address, `file` for a reload.
    pub actor: &'a str,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The open database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// The file itself, symbolic links resolved: `-wal` and `-shm` stand beside it.
    path: PathBuf,
    /// Which file was opened; a writer would not notice that another stands at its path.
    identity: open::Identity,
    /// The last failure, until a write has succeeded.
    fault: Cell<Option<Fault>>,
    /// What the writer of requests need not look up again.
    memory: writer::Memory,
    /// Another luner writes the file, too.
    shared: bool,
}

impl Store {
    /// Opens the database at `path`, creating it and missing folders, and brings its schema up to date. Reads the whole file
    /// once (`quick_check`). `now_ms` is when, for the audit of a migration.
    ///
    /// # Errors
    /// The file is corrupt, another program's, or a newer luner's; it cannot be created, read, written or locked.
    pub fn open(path: &Path, now_ms: u64) -> Result<Store, StoreError> {
        let mut store = Store::checked(path)?;
        migrate::migrate(&mut store, &migrate::STEPS, now_ms)?;
        open::finish(&store)?;
        Ok(store)
    }

    /// The same while another luner may write the file, which could not go on if its schema changed.
    ///
    /// # Errors
    /// As of [`Store::open`]; and the schema is an older one.
    pub fn open_beside_another(path: &Path, now_ms: u64) -> Result<Store, StoreError> {
        let mut store = Store::checked(path)?;
        migrate::refuse_to_migrate(&store.connection, &store.path)?;
        migrate::migrate(&mut store, &migrate::STEPS, now_ms)?;
        open::finish(&store)?;
        Ok(store)
    }

    fn checked(path: &Path) -> Result<Store, StoreError> {
        let (connection, path, identity) = open::open(path)?;
        Ok(Store {
            connection,
            path,
            identity,
            fault: Cell::new(None),
            memory: writer::Memory::default(),
            shared: false,
        })
    }

    /// The database file, symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another luner writes the file, too: its locks come and go, and are worth waiting for.
    pub fn share(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// Whether a commit folds a large -wal into the database, as it does at first, or leaves that to [`Checkpoints`].
    ///
    /// # Errors
    /// The connection is not what it was.
    pub fn fold_by_itself(&self, by_itself: bool) -> Result<(), StoreError> {
        self.read("set who folds the write-ahead log in", |connection| open::fold_by_itself(connection, by_itself))
    }

    /// Another program's lock is waited for so long.
    fn wait_for_locks(&self, patience: Duration) -> Result<(), StoreError> {
        self.read("set the timeout", |connection| connection.busy_timeout(patience))
    }

    /// Runs `work` in one transaction that takes the write lock at its start. The only way to write.
    fn write<T>(
        &self,
        step: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let done = self.in_place().and_then(|()| {
            self.transact(work).map_err(|failure| match failure {
                Failure::Refused(error) => error,
                Failure::Sqlite(source) => StoreError::sqlite(step, &self.path, source),
            })
        });
        self.remember(&done, true);
        done
    }

    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        // A rollback that failed, on a broken disk, leaves its transaction open.
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    fn read<T>(
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
            // What is corrupt somewhere may still take a write elsewhere; only the check at the next start clears it.
            _ if self.fault.get() == Some(Fault::Corrupt) => {}
            Ok(_) if wrote => self.fault.set(None),
            Err(Some(fault)) => self.fault.set(Some(fault)),
            // Reading says nothing about writing, and a refusal is no fault.
            Ok(_) | Err(None) => {}
        }
    }
}

/// Why a transaction was given up.
enum Failure {
    /// By a rule of the store, such as a taken name.
    Refused(StoreError),
    /// By SQLite.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Refused(error)
    }
}

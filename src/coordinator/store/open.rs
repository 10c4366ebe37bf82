//! Opens the store: checks the file, migrates its schema, switches its write-ahead log on. Runs on the coordinator's thread at
//! start. It never starts over: a file that cannot be used is an error, and stays as it is.

use std::path::Path;

use super::connect::use_write_ahead_log;
use super::database::Store;
use super::error::StoreError;
use super::migrate::migrate;
use super::schema::{STEPS, refuse_to_migrate};

impl Store {
    /// Opens the database at `path`, creating it and missing folders, and migrates its schema. Reads the whole file once
    /// (`quick_check`). `now_ms` is the time that the audit shows for a migration.
    ///
    /// # Errors
    /// The file is corrupt, another program's, or a newer luner's; it cannot be created, read, written or locked.
    pub fn open(path: &Path, now_ms: u64) -> Result<Store, StoreError> {
        Store::connect(path)?.migrated(now_ms)
    }

    /// Like [`Store::open`], while another luner may be writing the file. That one could not go on if the schema changed.
    ///
    /// # Errors
    /// Those of [`Store::open`]; also if the schema is older than this luner's.
    pub fn open_beside_another(path: &Path, now_ms: u64) -> Result<Store, StoreError> {
        let store = Store::connect(path)?;
        refuse_to_migrate(&store.connection, store.path())?;
        store.migrated(now_ms)
    }

    fn migrated(mut self, now_ms: u64) -> Result<Store, StoreError> {
        migrate(&mut self, &STEPS, now_ms)?;
        use_write_ahead_log(&self.connection)
            .map_err(|source| StoreError::while_opening("switch the write-ahead log on", self.path(), source))?;
        Ok(self)
    }
}

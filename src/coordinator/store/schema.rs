//! The schema of the file: its versions, and which files this luner accepts. On the coordinator's thread while the store is
//! opened, and on the readers' threads. It only reads.

use std::path::Path;

use rusqlite::Connection;

use super::error::StoreError;

/// "lunr". Tells luner's files from other SQLite databases; `file` shows it too.
pub(super) const APPLICATION_ID: i32 = 0x6c75_6e72;
/// Step `n` leads from schema `n` to schema `n + 1`. Steps are only ever appended.
pub(super) const STEPS: [&str; 3] =
    [include_str!("schema.sql"), include_str!("schema2.sql"), include_str!("schema3.sql")];
/// The schema that this luner writes.
pub(super) const KNOWN: u32 = STEPS.len() as u32;

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses the file of another program or of a newer luner.
pub(super) fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = || {
        let application_id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let found = version(connection)?;
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application_id, found, tables))
    };
    let (application_id, found, tables) =
        read().map_err(|source| StoreError::while_opening("read the header", path, source))?;
    let is_new = application_id == 0 && found == 0 && tables == 0;
    if !is_new && application_id != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned(), application_id });
    }
    if found > KNOWN {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: KNOWN });
    }
    Ok(())
}

/// Refuses every schema but this luner's. For readers, which cannot migrate.
pub(super) fn refuse_other_schema(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    refuse_foreign(connection, path)?;
    match version(connection).map_err(|source| StoreError::while_opening("read the header", path, source))? {
        KNOWN => Ok(()),
        found => Err(StoreError::Older { path: path.to_owned(), found, known: KNOWN }),
    }
}

/// Refuses an older schema while another luner uses the file. A new file may be migrated even then.
pub(super) fn refuse_to_migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match version(connection).map_err(|source| StoreError::while_opening("read the header", path, source))? {
        0 | KNOWN => Ok(()),
        found => Err(StoreError::InUse { path: path.to_owned(), found, known: KNOWN }),
    }
}

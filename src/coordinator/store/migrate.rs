//! The schema, brought up to date step by step, each step in one transaction with the version that it leads to. Runs on the
//! coordinator's thread at start. It never goes backwards, and never touches a database that is not luner's.

use std::path::Path;

use rusqlite::Connection;

use super::error::StoreError;
use super::open::classified;
use super::{AuditAction, By, NewAudit, Store, audit};

/// "lunr": tells luner's files from other SQLite databases, and `file` tells it too.
pub(super) const APPLICATION_ID: i32 = 0x6c75_6e72;
/// Step `n` leads from schema `n` to schema `n + 1`. Only ever appended to.
pub(super) const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema2.sql")];
/// The schema that this luner writes.
pub(super) const KNOWN: u32 = STEPS.len() as u32;

/// Another program's file, or a newer luner's.
pub(super) fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let look = || {
        let application_id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let found = version(connection)?;
        let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application_id, found, tables))
    };
    let (application_id, found, tables) = look().map_err(|source| classified("read the header", path, source))?;
    let new = application_id == 0 && found == 0 && tables == 0;
    if !new && application_id != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned(), application_id });
    }
    if found > KNOWN {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: KNOWN });
    }
    Ok(())
}

/// For reading alone, which changes no schema: this luner's, and no other.
pub(super) fn refuse_other_schema(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    refuse_foreign(connection, path)?;
    match version(connection).map_err(|source| classified("read the header", path, source))? {
        KNOWN => Ok(()),
        found => Err(StoreError::Older { path: path.to_owned(), found, known: KNOWN }),
    }
}

/// While another luner writes it, a new file alone may be changed.
pub(super) fn refuse_to_migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    match version(connection).map_err(|source| classified("read the header", path, source))? {
        0 | KNOWN => Ok(()),
        found => Err(StoreError::InUse { path: path.to_owned(), found, known: KNOWN }),
    }
}

/// A file gives pages that became free back to the disk only if it was made for that: a new one is, and one of schema 1,
/// policies and audit alone, is written anew.
fn make_shrinkable(store: &Store, found: u32) -> Result<(), StoreError> {
    let make = || {
        let mode: u32 = store.connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
        if found > 1 || mode == AUTO_VACUUM_INCREMENTAL {
            return Ok(());
        }
        store.connection.execute_batch(&format!("PRAGMA auto_vacuum = {AUTO_VACUUM_INCREMENTAL}"))?;
        if found == 1 { store.connection.execute_batch("VACUUM") } else { Ok(()) }
    };
    make().map_err(|source| StoreError::sqlite("write the file anew", &store.path, source))
}

const AUTO_VACUUM_INCREMENTAL: u32 = 2;

/// Applies what is missing. Two processes that start at once do it one after the other: the version is read under the lock.
pub(super) fn migrate(store: &mut Store, steps: &[&str], now_ms: u64) -> Result<(), StoreError> {
    let found = version(&store.connection).map_err(|source| classified("read the header", &store.path, source))?;
    make_shrinkable(store, found)?;
    for _ in found as usize..steps.len() {
        store.write("bring the schema up to date", |transaction| {
            let from = version(transaction)?;
            let Some(step) = steps.get(from as usize) else {
                return Ok(());
            };
            let to = from + 1;
            transaction.execute_batch(step)?;
            transaction
                .execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {to}"))?;
            // A new file has no past to tell of.
            if found > 0 {
                let subject = format!("schema {to}");
                let entry =
                    NewAudit { action: AuditAction::StoreMigrate, subject: &subject, before: None, after: None };
                audit::append(transaction, &entry, By { actor: "luner", at_ms: now_ms })?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

//! Migrates the schema, one step and one transaction at a time, each together with the version that it leads to. Runs on the
//! coordinator's thread at start. It never goes backwards.

use super::audit::{self, AuditAction, By, NewAudit};
use super::database::Store;
use super::error::StoreError;
use super::schema::{APPLICATION_ID, version};

const AUTO_VACUUM_INCREMENTAL: u32 = 2;

/// Applies the missing steps. When two processes start at once, they take turns: the version is read under the write lock.
pub(super) fn migrate(store: &mut Store, steps: &[&str], now_ms: u64) -> Result<(), StoreError> {
    let found = version(&store.connection)
        .map_err(|source| StoreError::while_opening("read the header", store.path(), source))?;
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
            // A new file has no history that anyone could miss.
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

/// Makes the file able to return free pages to the disk. A new file only needs the setting. A file of schema 1, which holds
/// policies and audit alone, is rewritten. Later schemas have the setting already.
fn make_shrinkable(store: &Store, found: u32) -> Result<(), StoreError> {
    let connection = &store.connection;
    let set = || {
        let mode: u32 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
        if found > 1 || mode == AUTO_VACUUM_INCREMENTAL {
            return Ok(());
        }
        connection.execute_batch(&format!("PRAGMA auto_vacuum = {AUTO_VACUUM_INCREMENTAL}"))?;
        if found == 1 { connection.execute_batch("VACUUM") } else { Ok(()) }
    };
    set().map_err(|source| StoreError::sqlite("rewrite the file", store.path(), source))
}

//! The audit: who changed a policy or the configuration, when, and what it was before. On the coordinator's thread. Rows are
//! written once and never changed; the oldest are removed when there are too many.

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde_json::{Value, json};

use super::database::Store;
use super::error::StoreError;
use super::page::{ListPage, Paging};

/// Rows kept for everything but reloads. Arbitrary: years of a team's changes.
pub const AUDIT_ROWS_MAX: u32 = 10_000;
/// Rows kept for reloads. They are counted separately, so that a file that is rewritten in a loop does not push out the history
/// of the policies. Arbitrary: fewer than the others, because each holds two whole configurations.
pub const AUDIT_RELOAD_ROWS_MAX: u32 = 1_000;
/// A larger `before` or `after` is replaced by a note of its size. Arbitrary: ten times a policy.
pub const AUDIT_JSON_BYTES_MAX: usize = 64 * 1024;
/// Who changes something, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By<'a> {
    /// The name that the audit shows: a token's name, an address, or `file` for a reload.
    pub actor: &'a str,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    PolicyCreate,
    PolicyUpdate,
    PolicyDelete,
    /// A changed configuration took effect.
    ConfigReload,
    /// A changed configuration was refused; the old one stays in force.
    ConfigRejected,
    /// A newer luner migrated the schema.
    StoreMigrate,
}

impl AuditAction {
    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            AuditAction::PolicyCreate => "policy.create",
            AuditAction::PolicyUpdate => "policy.update",
            AuditAction::PolicyDelete => "policy.delete",
            AuditAction::ConfigReload => "config.reload",
            AuditAction::ConfigRejected => "config.rejected",
            AuditAction::StoreMigrate => "store.migrate",
        }
    }
}

/// A row to add.
#[derive(Clone, Copy, Debug)]
pub struct NewAudit<'a> {
    pub action: AuditAction,
    /// A policy's id, or the path of the configuration file.
    pub subject: &'a str,
    /// The caller has masked the secrets, here and in `after`.
    pub before: Option<&'a Value>,
    pub after: Option<&'a Value>,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Increases with each row.
    pub id: u64,
    pub at_ms: u64,
    pub actor: String,
    /// One of [`AuditAction::name`], or a name that only a newer luner knows.
    pub action: String,
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Store {
    /// A page of the audit, newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audit(&self, paging: Paging) -> Result<ListPage<AuditEntry>, StoreError> {
        let paging = paging.clamped();
        self.read("read the audit", |connection| {
            let total = connection.prepare_cached("SELECT count(*) FROM audit")?.query_row([], |row| row.get(0))?;
            let mut statement = connection.prepare_cached(SELECT_PAGE)?;
            let range = params![paging.page_size, paging.skipped()];
            let items = statement.query_map(range, entry)?.collect::<Result<_, _>>()?;
            Ok(paging.with_items(items, total))
        })
    }

    /// Adds a row for a change outside of the store, such as a reload of the configuration. Returns its id.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append_audit(&mut self, entry: &NewAudit<'_>, by: By<'_>) -> Result<u64, StoreError> {
        self.write("add to the audit", |transaction| Ok(append(transaction, entry, by)?))
    }
}

/// Adds a row within the caller's transaction, and removes rows that are now too many.
pub(super) fn append(connection: &Connection, entry: &NewAudit<'_>, by: By<'_>) -> rusqlite::Result<u64> {
    let (before, after) = (entry.before.map(text), entry.after.map(text));
    let row = params![by.at_ms, by.actor, entry.action.name(), entry.subject, before, after];
    connection.prepare_cached(INSERT)?.execute(row)?;
    let id = connection.last_insert_rowid();
    let (is_reload, rows_max) = match entry.action {
        AuditAction::ConfigReload | AuditAction::ConfigRejected => (true, AUDIT_RELOAD_ROWS_MAX),
        _ => (false, AUDIT_ROWS_MAX),
    };
    connection.prepare_cached(PRUNE)?.execute(params![is_reload, rows_max])?;
    Ok(u64::try_from(id).unwrap_or_default())
}

fn text(value: &Value) -> String {
    let text = value.to_string();
    match text.len() {
        0..=AUDIT_JSON_BYTES_MAX => text,
        bytes => json!({ "omitted": "too large for the audit", "bytes": bytes }).to_string(),
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        id: row.get("id")?,
        at_ms: row.get("at_ms")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        before: value(row, "before")?,
        after: value(row, "after")?,
    })
}

fn value(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    // A row that someone edited by hand may not be JSON; it is shown as text.
    Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

const INSERT: &str = "INSERT INTO audit (at_ms, actor, action, subject, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// Removes all but the newest rows of reloads, or of everything else. Scans every row, which takes about a millisecond.
const PRUNE: &str = "
    DELETE FROM audit
    WHERE (action LIKE 'config.%') = ?1
      AND id <= (SELECT id FROM audit WHERE (action LIKE 'config.%') = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
const SELECT_PAGE: &str = "SELECT * FROM audit ORDER BY id DESC LIMIT ?1 OFFSET ?2";

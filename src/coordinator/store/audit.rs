//! Who changed what, when, and what it was before: policies and the configuration. On the coordinator's thread. Rows are
//! written once and never changed; the oldest leave when there are too many.

use rusqlite::{Connection, Row, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::StoreError;
use super::{By, Store};

/// Rows of everything but reloads that are kept. Arbitrary: years of a team's changes.
pub const AUDIT_ROWS_MAX: u32 = 10_000;
/// Rows of reloads that are kept, counted by themselves: a file that is rewritten in a loop must not push out who changed
/// which policy. Arbitrary: fewer, because each holds two whole configurations.
pub const AUDIT_RELOAD_ROWS_MAX: u32 = 1_000;
/// A larger `before` or `after` is replaced by a note of its size. Arbitrary: a policy is a tenth of it.
pub const AUDIT_JSON_BYTES_MAX: usize = 64 * 1024;
/// Rows of one page. Arbitrary.
pub const PAGE_SIZE_MAX: u32 = 200;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditAction {
    PolicyCreate,
    PolicyUpdate,
    PolicyDelete,
    /// A changed configuration is in force.
    ConfigReload,
    /// A changed configuration was refused; the old one stays.
    ConfigRejected,
    /// A newer luner brought the schema up to date.
    StoreMigrate,
}

impl AuditAction {
    /// As it is stored and shown.
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

/// A row to be.
#[derive(Clone, Copy, Debug)]
pub struct NewAudit<'a> {
    pub action: AuditAction,
    /// A policy's id, the configuration file's path.
    pub subject: &'a str,
    /// Secrets masked by the caller.
    pub before: Option<&'a Value>,
    /// Secrets masked by the caller.
    pub after: Option<&'a Value>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Rises with each row.
    pub id: u64,
    pub at_ms: u64,
    pub actor: String,
    /// One of [`AuditAction::name`], or a newer luner's.
    pub action: String,
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1; 0 is taken for 1.
    pub page: u32,
    /// Taken for 1 or [`PAGE_SIZE_MAX`] where it lies beyond them.
    pub page_size: u32,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Of all pages.
    pub total: u64,
    pub page: u32,
    pub page_size: u32,
}

impl Store {
    /// Newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audit(&self, paging: Paging) -> Result<Page<AuditEntry>, StoreError> {
        let page = paging.page.max(1);
        let page_size = paging.page_size.clamp(1, PAGE_SIZE_MAX);
        self.read("read the audit", |connection| {
            let total = connection.prepare_cached("SELECT count(*) FROM audit")?.query_row([], |row| row.get(0))?;
            let mut statement = connection.prepare_cached(SELECT_PAGE)?;
            let skipped = i64::from(page - 1) * i64::from(page_size);
            let items = statement.query_map(params![page_size, skipped], entry)?.collect::<Result<_, _>>()?;
            Ok(Page { items, total, page, page_size })
        })
    }

    /// Adds a row that belongs to no change of the store's own: a reload of the configuration. Gives its id.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append_audit(&mut self, entry: &NewAudit<'_>, by: By<'_>) -> Result<u64, StoreError> {
        self.write("add to the audit", |transaction| Ok(append(transaction, entry, by)?))
    }
}

/// Adds a row within the caller's transaction, and makes room for it.
pub(super) fn append(connection: &Connection, entry: &NewAudit<'_>, by: By<'_>) -> rusqlite::Result<u64> {
    let (before, after) = (entry.before.map(text), entry.after.map(text));
    let row = params![by.at_ms, by.actor, entry.action.name(), entry.subject, before, after];
    connection.prepare_cached(INSERT)?.execute(row)?;
    let id = connection.last_insert_rowid();
    let (is_reload, most) = match entry.action {
        AuditAction::ConfigReload | AuditAction::ConfigRejected => (true, AUDIT_RELOAD_ROWS_MAX),
        _ => (false, AUDIT_ROWS_MAX),
    };
    connection.prepare_cached(PRUNE)?.execute(params![is_reload, most])?;
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
    // A row that someone edited by hand is shown as it is.
    Ok(text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

const INSERT: &str = "INSERT INTO audit (at_ms, actor, action, subject, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// Of the one kind or the other, all but the newest. Looks at every row, which takes about a millisecond.
const PRUNE: &str = "
    DELETE FROM audit
    WHERE (action LIKE 'config.%') = ?1
      AND id <= (SELECT id FROM audit WHERE (action LIKE 'config.%') = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
const SELECT_PAGE: &str = "SELECT * FROM audit ORDER BY id DESC LIMIT ?1 OFFSET ?2";

//! Stored policies, as plain fields; typed values are made where policies are compiled. On the coordinator's thread. Every
//! change is one transaction with its audit row, so neither is ever there without the other.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ffi, named_params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::{self, AuditAction, By, NewAudit};
use super::database::{Store, WriteFailure};
use super::error::StoreError;

/// A row of the table `policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// `pol_` and 16 hexadecimal digits, drawn by the caller.
    pub id: String,
    /// Unique, compared byte by byte.
    pub name: String,
    pub description: String,
    /// A CEL expression.
    pub expression: String,
    /// `block`, `alert` or `downgrade`.
    pub action: String,
    pub target_model: Option<String>,
    pub message: Option<String>,
    /// Lower priorities are evaluated first.
    pub priority: i64,
    pub enabled: bool,
    /// `enforce` or `shadow`.
    pub mode: String,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}

impl Store {
    /// All policies in the order in which they are evaluated: by priority, then by id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.read("read the policies", |connection| {
            let mut statement = connection.prepare_cached(SELECT_ALL)?;
            statement.query_map([], policy)?.collect()
        })
    }

    /// Adds a policy.
    ///
    /// # Errors
    /// Its name or id is taken; the file cannot be written.
    pub fn insert_policy(&mut self, policy: &StoredPolicy, by: By<'_>) -> Result<(), StoreError> {
        self.write("add a policy", |transaction| {
            put(transaction, INSERT, policy)?;
            let after = json(policy);
            let entry = NewAudit {
                action: AuditAction::PolicyCreate,
                subject: &policy.id,
                before: None,
                after: after.as_ref(),
            };
            audit::append(transaction, &entry, by)?;
            Ok(())
        })
    }

    /// Replaces the policy with the same id, except for its `created_at_ms`, and returns the stored one.
    ///
    /// # Errors
    /// There is no such policy; its new name is taken; the file cannot be written.
    pub fn update_policy(&mut self, policy: &StoredPolicy, by: By<'_>) -> Result<StoredPolicy, StoreError> {
        self.write("change a policy", |transaction| {
            let old = find(transaction, &policy.id)?;
            let new = StoredPolicy { created_at_ms: old.created_at_ms, ..policy.clone() };
            put(transaction, UPDATE, &new)?;
            let (before, after) = (json(&old), json(&new));
            let entry = NewAudit {
                action: AuditAction::PolicyUpdate,
                subject: &policy.id,
                before: before.as_ref(),
                after: after.as_ref(),
            };
            audit::append(transaction, &entry, by)?;
            Ok(new)
        })
    }

    /// Removes a policy and returns it.
    ///
    /// # Errors
    /// There is no such policy; the file cannot be written.
    pub fn delete_policy(&mut self, id: &str, by: By<'_>) -> Result<StoredPolicy, StoreError> {
        self.write("delete a policy", |transaction| {
            let old = find(transaction, id)?;
            transaction.prepare_cached(DELETE)?.execute([id])?;
            let before = json(&old);
            let entry =
                NewAudit { action: AuditAction::PolicyDelete, subject: id, before: before.as_ref(), after: None };
            audit::append(transaction, &entry, by)?;
            Ok(old)
        })
    }
}

fn find(connection: &Connection, id: &str) -> Result<StoredPolicy, WriteFailure> {
    let found = connection.prepare_cached(SELECT_ONE)?.query_row([id], policy).optional()?;
    found.ok_or_else(|| StoreError::NotFound { id: id.to_owned() }.into())
}

/// Runs [`INSERT`] or [`UPDATE`].
fn put(connection: &Connection, sql: &str, policy: &StoredPolicy) -> Result<(), WriteFailure> {
    let done = connection.prepare_cached(sql)?.execute(named_params! {
        ":id": policy.id,
        ":name": policy.name,
        ":description": policy.description,
        ":expression": policy.expression,
        ":action": policy.action,
        ":target_model": policy.target_model,
        ":message": policy.message,
        ":priority": policy.priority,
        ":enabled": policy.enabled,
        ":mode": policy.mode,
        ":created_at_ms": policy.created_at_ms,
        ":updated_at_ms": policy.updated_at_ms,
    });
    match done {
        Ok(_) => Ok(()),
        Err(error) => Err(taken(policy, &error).map_or(WriteFailure::Sqlite(error), WriteFailure::Refused)),
    }
}

/// The error for a violated constraint: the table requires ids and names to be unique.
fn taken(policy: &StoredPolicy, error: &rusqlite::Error) -> Option<StoreError> {
    let violated = error.sqlite_error().filter(|error| error.code == ErrorCode::ConstraintViolation)?;
    match violated.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE => Some(StoreError::NameTaken { name: policy.name.clone() }),
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Some(StoreError::IdTaken { id: policy.id.clone() }),
        _ => None,
    }
}

fn policy(row: &Row<'_>) -> rusqlite::Result<StoredPolicy> {
    Ok(StoredPolicy {
        id: row.get("id")?,
        name: row.get("name")?,
        description: row.get("description")?,
        expression: row.get("expression")?,
        action: row.get("action")?,
        target_model: row.get("target_model")?,
        message: row.get("message")?,
        priority: row.get("priority")?,
        enabled: row.get("enabled")?,
        mode: row.get("mode")?,
        created_at_ms: row.get("created_at_ms")?,
        updated_at_ms: row.get("updated_at_ms")?,
    })
}

/// Never `None`: a policy consists of strings and integers, which always serialise.
fn json(policy: &StoredPolicy) -> Option<Value> {
    serde_json::to_value(policy).ok()
}

const SELECT_ALL: &str = "SELECT * FROM policy ORDER BY priority, id";
const SELECT_ONE: &str = "SELECT * FROM policy WHERE id = ?1";
const DELETE: &str = "DELETE FROM policy WHERE id = ?1";
const INSERT: &str = "
    INSERT INTO policy (id, name, description, expression, action, target_model, message, priority, enabled, mode,
                        created_at_ms, updated_at_ms)
    VALUES (:id, :name, :description, :expression, :action, :target_model, :message, :priority, :enabled, :mode,
            :created_at_ms, :updated_at_ms)";
const UPDATE: &str = "
    UPDATE policy
    SET name = :name, description = :description, expression = :expression, action = :action,
        target_model = :target_model, message = :message, priority = :priority, enabled = :enabled, mode = :mode,
        created_at_ms = :created_at_ms, updated_at_ms = :updated_at_ms
    WHERE id = :id";

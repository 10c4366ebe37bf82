//! What outlives the process, in one SQLite file: policies, an audit of changes, requests, and exact counts of them. The
//! coordinator's thread owns the one connection that writes; readers have connections of their own ([`reader`]). The store
//! never starts over: a file that it cannot use is an error, and only [`move_aside()`] moves one out of the way.

// Errors, and what the operator can do about them.
mod error;

// Pages of a list.
mod page;

// What usage is broken down by.
mod dimension;

// Keys, columns and other parts of the file's layout.
mod layout;

// What the writer remembers between transactions.
mod memory;

// The database file and the files beside it.
mod files;

// Schema versions, and which files are accepted.
mod schema;

// Connects to a file and checks it.
mod connect;

// The connection that writes, and its transactions.
mod database;

// Who changed what.
mod audit;

// Migrates the schema.
mod migrate;

// Opens the store.
mod open;

// Stored policies.
mod policies;

// Writes what the shards report.
mod writer;

// Rolls old minutes up into hours.
mod rollup;

// Removes what is too old or too much.
mod retention;

// Finds out whether the store accepts writes.
mod health;

// Folds the write-ahead log into the database.
mod checkpoints;

// Queries about requests.
pub mod reader;

// Moves an unusable file out of the way.
mod move_aside;

#[cfg(test)]
pub(super) mod tests;

pub use audit::{AUDIT_JSON_BYTES_MAX, AUDIT_RELOAD_ROWS_MAX, AUDIT_ROWS_MAX, AuditAction, AuditEntry, By, NewAudit};
pub use checkpoints::Checkpoints;
pub use database::Store;
pub use dimension::{Dimension, UnknownDimension};
pub use error::{StoreError, StoreFault};
pub use health::{StoreHealth, WAL_BYTES_ALARM};
pub use move_aside::move_aside;
pub use page::{ListPage, PAGE_SIZE_MAX, Paging};
pub use policies::StoredPolicy;
pub use retention::{Pruned, Retention, USAGE_DAYS};
pub use writer::{CAPTURE_BYTES_MAX, Recorded};

//! Looks texts up in the table `name`, whose ids other rows hold. On the reader's thread. It never adds a name.

use rusqlite::{Connection, OptionalExtension, Row};

use super::super::dimension::WHO_COLUMNS;
use crate::who::Who;

/// The id of exactly this text.
pub(super) fn id_of(connection: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT id FROM name WHERE text = ?1")?.query_row([text], |row| row.get(0)).optional()
}

/// The text with this id.
pub(super) fn text_of(connection: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached("SELECT text FROM name WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()
}

/// Selects the texts of an identity in a row of `table`. They must be the first columns, for [`who`] to find them.
pub(super) fn who_texts(table: &str) -> String {
    WHO_COLUMNS.map(|column| required_text(table, column)).join(", ")
}

/// Selects the text behind an id as `<column>_text`. A text is never missing, but a row without one is better than none.
///
/// This is a subquery, not a join: it is one look at a primary key, and a join of a table with ten names takes longer to plan
/// than to run.
pub(super) fn required_text(table: &str, column: &str) -> String {
    format!("coalesce((SELECT text FROM name WHERE id = {table}.{column}), '') AS {column}_text")
}

/// Like [`required_text`], for a column that may be `NULL`.
pub(super) fn optional_text(table: &str, column: &str) -> String {
    format!("(SELECT text FROM name WHERE id = {table}.{column}) AS {column}_text")
}

/// The identity whose texts [`who_texts`] selected.
pub(super) fn who(row: &Row<'_>) -> rusqlite::Result<Who<String>> {
    Who::try_from_fn(|part| row.get(part as usize))
}

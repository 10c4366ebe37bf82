//! Connects to a database file and checks that it is whole. Runs on the coordinator's thread, once, before the schema is
//! migrated. It never changes a file that it refuses: nothing is written, and no write-ahead log is folded into the database,
//! before `quick_check` has passed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::error::StoreError;
use super::files::{FileId, beside, create_if_missing, make_private};
use super::schema;

/// How long a write waits for the lock of another program. The coordinator stands still meanwhile. Arbitrary: well below what
/// anyone who waits for the REST API notices.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Size of the -wal in pages, 16 MB, at which a commit folds it into the database. At SQLite's 1,000 pages every large flush
/// would write its pages twice; like this, index pages that many flushes touch are written to the database once.
const WAL_PAGES: u32 = 4_096;
/// The -wal is cut back to this size after it was folded into the database. Arbitrary, above [`WAL_PAGES`].
const WAL_BYTES_KEPT: u64 = 64 << 20;
/// The smallest page size. A database has at least one page (SQLite's file format, section 1.3.2).
const PAGE_BYTES_MIN: u64 = 512;
/// Page cache, in KiB. A flush touches the ends of its tables and pages all over the index of trace ids. Measured: with
/// SQLite's 2 MB it writes the same pages several times.
const CACHE_KIB: u32 = 32 * 1024;
/// Statements that stay prepared: all that a flush, a retention step and the policies use.
const STATEMENTS_MAX: usize = 64;

/// A connection whose file was found whole.
pub(super) struct CheckedConnection {
    pub connection: Connection,
    /// The path of the file, symbolic links resolved.
    pub path: PathBuf,
    pub file_id: FileId,
}

pub(super) fn connect(path: &Path) -> Result<CheckedConnection, StoreError> {
    create_if_missing(path)?;
    let path = fs::canonicalize(path).map_err(|source| StoreError::file("find", path, source))?;
    let metadata = fs::metadata(&path).map_err(|source| StoreError::file("look at", &path, source))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file");
        return Err(StoreError::file("open", &path, source));
    }
    refuse_fragments(&path, metadata.len())?;
    for name in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
        make_private(&name)?;
    }
    let opened = open_connection(&path).and_then(|connection| Ok((connection.is_readonly(MAIN_DB)?, connection)));
    let (is_readonly, connection) =
        opened.map_err(|source| StoreError::while_opening("open the database", &path, source))?;
    if is_readonly {
        return Err(StoreError::file("write to", &path, io::ErrorKind::PermissionDenied.into()));
    }
    schema::refuse_foreign(&connection, &path)?;
    refuse_truncated(&connection, &path, metadata.len())?;
    check_pages(&connection, &path)?;
    Ok(CheckedConnection { connection, path, file_id: FileId::of(&metadata) })
}

/// Switches the write-ahead log on, which changes the file: only for a file that is known to be luner's and whole.
pub(super) fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    // Returns the mode that is now in use. On a filesystem without shared memory that is a rollback journal, which is equally
    // safe.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    checkpoint_on_commit(connection, true)?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_BYTES_KEPT}"), [], |_| Ok(()))
}

/// Sets whether a commit folds a large -wal into the database or leaves that to others.
pub(super) fn checkpoint_on_commit(connection: &Connection, on_commit: bool) -> rusqlite::Result<()> {
    let pages = if on_commit { WAL_PAGES } else { 0 };
    connection.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))
}

/// SQLite takes a file of zero bytes or one byte for a new database. A file of zero bytes is one, unless a -wal with changes
/// is beside it, which SQLite would delete.
fn refuse_fragments(path: &Path, bytes: u64) -> Result<(), StoreError> {
    let reason = match bytes {
        0 if fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0) => {
            "it is missing or empty, but its -wal holds changes"
        }
        1..PAGE_BYTES_MIN => "it is shorter than any database",
        _ => return Ok(()),
    };
    Err(StoreError::Corrupt { path: path.to_owned(), reason: reason.into() })
}

/// `quick_check` takes the missing end of the last page for zeros. While changes are still in the -wal, the file may be short.
fn refuse_truncated(connection: &Connection, path: &Path, bytes: u64) -> Result<(), StoreError> {
    let query = |pragma| connection.query_row(pragma, [], |row| row.get::<_, u64>(0));
    let expected = query("PRAGMA page_count").and_then(|pages| Ok(pages * query("PRAGMA page_size")?));
    let expected = expected.map_err(|source| StoreError::while_opening("read the header", path, source))?;
    if bytes < expected && fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len()) == 0 {
        let reason = format!("it ends after {bytes} of {expected} bytes");
        return Err(StoreError::Corrupt { path: path.to_owned(), reason });
    }
    Ok(())
}

fn open_connection(path: &Path) -> rusqlite::Result<Connection> {
    // No URI, because a path is a path. No mutex, because one thread owns the connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF")?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

fn check_pages(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| StoreError::while_opening("check the pages", path, source))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Corrupt { path: path.to_owned(), reason: found }),
    }
}

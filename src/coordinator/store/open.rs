//! From a path to a connection on a file that was found whole. Runs on the coordinator's thread, once, before the schema is
//! looked at. It never changes a file that it refuses: nothing is written, and no write-ahead log is folded in, before
//! `quick_check` has passed.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::error::{Fault, StoreError};
use super::{Store, migrate};

/// How long a write waits for another program's. The coordinator stands still meanwhile; arbitrary, well below what anyone
/// who waits for the REST API notices.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Pages of the -wal, 16 MB, at which the store folds it into the database by itself. At SQLite's 1,000 every large flush would write its pages
/// twice; those of an index that many flushes touch are now written to the database once.
const WAL_PAGES: u32 = 4_096;
/// The -wal is cut back to this after it was folded into the database. Arbitrary, above [`WAL_PAGES`].
const WAL_BYTES_KEPT: u64 = 64 << 20;
/// The smallest page, of which a database has at least one; SQLite's file format, 1.3.2.
const PAGE_BYTES_MIN: u64 = 512;
/// Pages in memory, in KiB: a flush touches the ends of its tables, and pages all over the index of trace ids. Measured: with
/// SQLite's 2 MB it writes the same pages several times.
const CACHE_KIB: u32 = 32 * 1024;
/// Statements that stay prepared: all that a flush, a step of the retention and the policies use.
const STATEMENTS_MAX: usize = 64;
/// The owner alone: policies and prompts are nobody else's.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn of(metadata: &Metadata) -> Identity {
        Identity { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A connection that has been checked, the real path of its file, and which file that is.
pub(super) fn open(path: &Path) -> Result<(Connection, PathBuf, Identity), StoreError> {
    create_if_missing(path)?;
    let path = fs::canonicalize(path).map_err(|source| file_error("find", path, source))?;
    let metadata = fs::metadata(&path).map_err(|source| file_error("look at", &path, source))?;
    if !metadata.is_file() {
        return Err(file_error("open", &path, io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")));
    }
    refuse_fragments(&path, metadata.len())?;
    for name in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
        restrict(&name)?;
    }
    let connection = connect(&path).map_err(|source| classified("open the database", &path, source))?;
    if connection.is_readonly(MAIN_DB).map_err(|source| classified("open the database", &path, source))? {
        return Err(file_error("write to", &path, io::ErrorKind::PermissionDenied.into()));
    }
    migrate::refuse_foreign(&connection, &path)?;
    refuse_cut_end(&connection, &path, metadata.len())?;
    check(&connection, &path)?;
    Ok((connection, path, Identity::of(&metadata)))
}

/// What may be done to the file only once it is known to be luner's and whole.
pub(super) fn finish(store: &Store) -> Result<(), StoreError> {
    let settle = || {
        store.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        // Tells the mode that it ends up in; a filesystem without shared memory stays with a rollback journal, equally safe.
        store.connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        fold_by_itself(&store.connection, true)?;
        store.connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_BYTES_KEPT}"), [], |_| Ok(()))
    };
    settle().map_err(|source| classified("switch the write-ahead log on", &store.path, source))
}

/// Whether a commit folds a large -wal into the database, or leaves that to others.
pub(super) fn fold_by_itself(connection: &Connection, by_itself: bool) -> rusqlite::Result<()> {
    let pages = if by_itself { WAL_PAGES } else { 0 };
    connection.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))
}

/// `luner.db` → `luner.db-wal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn file_error(step: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::File { step, path: path.to_owned(), source }
}

/// An error of SQLite's while opening: damage gets its own words.
pub(super) fn classified(step: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
    match StoreError::sqlite(step, path, source) {
        StoreError::Sqlite { fault: Fault::Corrupt, source, path, .. } => {
            StoreError::Corrupt { path, reason: source.to_string() }
        }
        error => error,
    }
}

/// Creates the file, so that it has its mode from the first moment; SQLite gives the -wal and -shm the same one. An existing
/// file is not opened: closing it would drop every lock that another connection of this process holds on it (POSIX).
fn create_if_missing(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(file_error("look at", path, source)),
    }
    if let Some(folder) = folder(path) {
        create_folders(folder).map_err(|source| file_error("create the folder", folder, source))?;
    }
    // Without create_new: the path may be a symbolic link whose target is missing.
    let create = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.sync_all()
    };
    create().map_err(|source| file_error("create", path, source))?;
    match folder(path) {
        Some(folder) => sync_folder(folder).map_err(|source| file_error("sync the folder", folder, source)),
        None => Ok(()),
    }
}

/// None for a bare file name, whose folder is the working directory.
fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Each new folder is synced into its parent, lest a power failure takes the database away with it.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = folder(path);
    if let Some(parent) = parent {
        create_folders(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        _ => {}
    }
    parent.map_or(Ok(()), sync_folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some network filesystems have no sync for folders.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// SQLite takes a file of no byte, or of one, for a new database. With no byte it is one, unless a -wal with changes stands
/// beside it, which SQLite would delete.
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

/// `quick_check` takes the missing end of the last page for zeros. With changes still in the -wal, a file may rightly be short.
fn refuse_cut_end(connection: &Connection, path: &Path, bytes: u64) -> Result<(), StoreError> {
    let ask = |pragma| connection.query_row(pragma, [], |row| row.get::<_, u64>(0));
    let pages = ask("PRAGMA page_count").and_then(|pages| Ok(pages * ask("PRAGMA page_size")?));
    let expected = pages.map_err(|source| classified("read the header", path, source))?;
    if bytes < expected && fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len()) == 0 {
        let reason = format!("it ends after {bytes} of {expected} bytes");
        return Err(StoreError::Corrupt { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Takes the file away from group and others; missing is fine.
fn restrict(path: &Path) -> Result<(), StoreError> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let permissions = Permissions::from_mode(metadata.mode() & 0o700);
    fs::set_permissions(path, permissions).map_err(|source| file_error("make private (mode 0600)", path, source))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: a path is a path. No mutex: one thread owns the connection.
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

fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| classified("check the pages", path, source))?;
    match found.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Corrupt { path: path.to_owned(), reason: found }),
    }
}

//! Errors of the store, and what the operator can do about them. Values only: the coordinator logs them and answers with
//! them. No text here contains a row's content or SQL.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged, or is not a database at all. Nothing was changed.
    #[error(
        "{path} is corrupt or not a database ({reason}); luner has not changed it. Restore a backup, or move the file \
         away together with its -wal and -shm: luner then starts with an empty database",
        path = path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    /// The file is a database of another program. Nothing was changed.
    #[error(
        "{path} is another program's database (application id {application_id}); set storage.sqlite.path to a file of luner's own",
        path = path.display()
    )]
    Foreign { path: PathBuf, application_id: i32 },
    /// A newer luner wrote the file. Nothing was changed.
    #[error(
        "{path} has schema {found}, but this luner only knows schemas up to {known}: run the newer luner, or restore a backup",
        path = path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// The path no longer leads to the file that was opened. Whatever is written now would be lost.
    #[error(
        "{path} was moved, deleted or replaced while luner was running: put it back, or restart luner",
        path = path.display()
    )]
    Moved { path: PathBuf },
    /// The -wal is larger than [`super::WAL_BYTES_ALARM`].
    #[error(
        "{path}-wal has grown to {bytes} bytes because another program keeps a read transaction open: end that transaction",
        path = path.display()
    )]
    WalGrows { path: PathBuf, bytes: u64 },
    /// The operating system refused the file or its folder before SQLite opened it.
    #[error("could not {step} {path}: {source}", path = path.display())]
    File { step: &'static str, path: PathBuf, source: io::Error },
    /// SQLite failed in the named step.
    #[error("could not {step} in {path}: {fault} ({source})", path = path.display())]
    Sqlite { step: &'static str, path: PathBuf, fault: StoreFault, source: rusqlite::Error },
    /// A query was given up after [`super::reader::QUERY_TIMEOUT_MS`].
    #[error("could not {step} in time: ask for a shorter range of time, or narrow the filter")]
    TooLong { step: &'static str },
    /// An older luner wrote the file, and nothing has brought its schema up to date yet.
    #[error("{path} has schema {found}, which is older than {known}: start luner on it once", path = path.display())]
    Older { path: PathBuf, found: u32, known: u32 },
    /// An older luner wrote the file and still uses it.
    #[error(
        "{path} has schema {found}, and migrating it to {known} would break the luner that is running: stop that one first",
        path = path.display()
    )]
    InUse { path: PathBuf, found: u32, known: u32 },
    /// Policy names are unique, compared byte by byte.
    #[error("a policy named `{name}` already exists")]
    NameTaken { name: String },
    /// The caller has to draw another id.
    #[error("a policy with the id `{id}` already exists")]
    IdTaken { id: String },
    #[error("there is no policy with the id `{id}`")]
    NotFound { id: String },
}

/// What is wrong with the store. The gateway keeps running in all of these states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// ENOSPC, or a page limit.
    #[error("the disk is full")]
    Full,
    /// The file or its filesystem does not accept writes.
    #[error("the file or its folder is read-only")]
    ReadOnly,
    /// Another connection held the lock for longer than the busy timeout.
    #[error("another program holds its lock")]
    Busy,
    /// Pages contradict each other. Stays until a restart, which checks the whole file.
    #[error("the file is corrupt")]
    Corrupt,
    /// The operating system failed to read, write or sync.
    #[error("the disk failed")]
    Io,
    /// The file, its -wal or its -shm could not be opened or created.
    #[error("a file could not be opened or created; its folder must be writable")]
    CannotOpen,
    /// The path leads to another file.
    #[error("the file was moved")]
    Moved,
    /// A reader keeps the -wal from being emptied.
    #[error("the write-ahead log keeps growing")]
    WalGrows,
    /// Anything else, most likely a bug in luner.
    #[error("unexpected error")]
    Other,
}

impl StoreError {
    pub(super) fn file(step: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::File { step, path: path.to_owned(), source }
    }

    pub(super) fn sqlite(step: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { step, path: path.to_owned(), fault: StoreFault::of(&source), source }
    }

    /// Like [`StoreError::sqlite`], but a damaged file becomes [`StoreError::Corrupt`], which tells the operator what to do.
    /// For errors while the file is being opened.
    pub(super) fn while_opening(step: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
        match StoreFault::of(&source) {
            StoreFault::Corrupt => StoreError::Corrupt { path: path.to_owned(), reason: source.to_string() },
            _ => StoreError::sqlite(step, path, source),
        }
    }

    /// The fault that the error reveals. `None` if the store is fine and only refused the request.
    pub fn fault(&self) -> Option<StoreFault> {
        match self {
            StoreError::Corrupt { .. } => Some(StoreFault::Corrupt),
            StoreError::Moved { .. } => Some(StoreFault::Moved),
            StoreError::WalGrows { .. } => Some(StoreFault::WalGrows),
            StoreError::File { .. } => Some(StoreFault::Io),
            StoreError::Sqlite { fault, .. } => Some(*fault),
            StoreError::Foreign { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::InUse { .. } => Some(StoreFault::Other),
            StoreError::TooLong { .. } => None,
            StoreError::NameTaken { .. } | StoreError::IdTaken { .. } | StoreError::NotFound { .. } => None,
        }
    }
}

impl StoreFault {
    fn of(error: &rusqlite::Error) -> StoreFault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreFault::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreFault::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                StoreFault::Busy
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreFault::Corrupt,
            Some(ErrorCode::SystemIoFailure) => StoreFault::Io,
            Some(ErrorCode::CannotOpen) => StoreFault::CannotOpen,
            _ => StoreFault::Other,
        }
    }
}

//! What can go wrong with the store, and what the operator can do about it. Values only: the coordinator logs and answers
//! with them. No text here holds a row's content or SQL.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is damaged, or no database at all. Nothing was changed.
    #[error(
        "{path} is corrupt or not a database ({reason}); luner leaves it as it is: restore a backup, \
         or move it out of the way together with its -wal and -shm, and luner starts with an empty one",
        path = path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    /// A database, but not one of luner's. Nothing was changed.
    #[error(
        "{path} is another program's database (application id {application_id}); set storage.sqlite.path to a file of luner's own",
        path = path.display()
    )]
    Foreign { path: PathBuf, application_id: i32 },
    /// Written by a newer luner. Nothing was changed.
    #[error(
        "{path} has schema {found}, this luner knows schemas up to {known}: run the newer luner, or restore a backup",
        path = path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    /// The file that was opened no longer stands at its path: what is written now would be lost.
    #[error("{path} was moved, deleted or replaced while luner ran: put it back, or restart luner", path = path.display())]
    Moved { path: PathBuf },
    /// The -wal outgrows its alarm.
    #[error(
        "{path}-wal has grown to {bytes} bytes: another program keeps a read transaction open, end it",
        path = path.display()
    )]
    WalGrows { path: PathBuf, bytes: u64 },
    /// The file or its folder, before SQLite came to it.
    #[error("could not {step} {path}: {source}", path = path.display())]
    File { step: &'static str, path: PathBuf, source: io::Error },
    /// SQLite, in the step that is named.
    #[error("could not {step} in {path}: {fault} ({source})", path = path.display())]
    Sqlite { step: &'static str, path: PathBuf, fault: Fault, source: rusqlite::Error },
    /// A question was given up.
    #[error("could not {step} within two seconds: ask for a shorter time, or for less")]
    TooLong { step: &'static str },
    /// Written by an older luner, and not yet brought up to date.
    #[error("{path} has schema {found}, older than {known}: run luner on it once", path = path.display())]
    Older { path: PathBuf, found: u32, known: u32 },
    /// Written by an older luner, which is still at it.
    #[error(
        "{path} has schema {found}, and bringing it to {known} would take it from the luner that runs: stop that, then start this",
        path = path.display()
    )]
    InUse { path: PathBuf, found: u32, known: u32 },
    /// Names are unique, by their exact characters.
    #[error("a policy named `{name}` exists already")]
    NameTaken { name: String },
    /// The caller draws another one.
    #[error("a policy with the id `{id}` exists already")]
    IdTaken { id: String },
    /// No policy has this id.
    #[error("no policy has the id `{id}`")]
    NotFound { id: String },
}

/// What kind of trouble the store is in; the gateway goes on in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// ENOSPC, or a page limit.
    #[error("the disk is full")]
    Full,
    /// The file or its filesystem takes no writes.
    #[error("the file or its folder is read-only")]
    ReadOnly,
    /// Another connection held the lock for longer than the busy timeout.
    #[error("another program holds its lock")]
    Busy,
    /// Its pages contradict each other. Lasts until a restart, which checks the whole file.
    #[error("it is corrupt")]
    Corrupt,
    /// The operating system failed a read, write or sync.
    #[error("the disk failed")]
    Io,
    /// The file, its -wal or its -shm could not be opened or created.
    #[error("a file could not be opened or created, its folder must be writable")]
    CannotOpen,
    /// Another file stands at the path.
    #[error("it was moved")]
    Moved,
    /// A reader keeps the -wal from being emptied.
    #[error("its write-ahead log grows")]
    WalGrows,
    /// Anything else, most likely a mistake of luner's.
    #[error("unexpected")]
    Other,
}

impl StoreError {
    pub(super) fn sqlite(step: &'static str, path: &Path, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { step, path: path.to_owned(), fault: Fault::of(&source), source }
    }

    /// What it says about the store's state; `None` where the store is fine and only refused.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            StoreError::Corrupt { .. } => Some(Fault::Corrupt),
            StoreError::Moved { .. } => Some(Fault::Moved),
            StoreError::WalGrows { .. } => Some(Fault::WalGrows),
            StoreError::File { .. } => Some(Fault::Io),
            StoreError::Sqlite { fault, .. } => Some(*fault),
            StoreError::Foreign { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::InUse { .. } => Some(Fault::Other),
            StoreError::TooLong { .. } => None,
            StoreError::NameTaken { .. } | StoreError::IdTaken { .. } | StoreError::NotFound { .. } => None,
        }
    }
}

impl Fault {
    fn of(error: &rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Fault::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Fault::Busy
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Corrupt,
            Some(ErrorCode::SystemIoFailure) => Fault::Io,
            Some(ErrorCode::CannotOpen) => Fault::CannotOpen,
            _ => Fault::Other,
        }
    }
}

//! The database file and the files beside it: created, kept private, recognised again. Runs on the coordinator's thread while
//! the store is opened. It never opens an existing database file: closing it would drop every lock that another connection of
//! this process holds on it (POSIX).

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Only the owner may read policies and prompts.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Identifies a file whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The path of a file that belongs to the database, such as `luner.db-wal` for `luner.db`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Creates the file with its mode; SQLite gives the -wal and -shm the same mode.
pub(super) fn create_if_missing(path: &Path) -> Result<(), StoreError> {
    match fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StoreError::file("look at", path, source)),
    }
    if let Some(folder) = folder(path) {
        create_folders(folder).map_err(|source| StoreError::file("create the folder", folder, source))?;
    }
    // Not `create_new`: the path may be a symbolic link whose target is missing.
    let create = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.sync_all()
    };
    create().map_err(|source| StoreError::file("create", path, source))?;
    match folder(path) {
        Some(folder) => sync_folder(folder).map_err(|source| StoreError::file("sync the folder", folder, source)),
        None => Ok(()),
    }
}

/// Takes the file's permissions away from its group and others. A missing file is fine.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    let permissions = Permissions::from_mode(metadata.mode() & 0o700);
    fs::set_permissions(path, permissions).map_err(|source| StoreError::file("make private (mode 0600)", path, source))
}

/// Returns `None` for a bare file name, whose folder is the working directory.
fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Syncs each new folder into its parent, or a power failure could take the database away with it.
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
        // Some network filesystems cannot sync folders.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

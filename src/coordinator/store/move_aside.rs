//! Moves an unusable database out of the way because the operator asked for it. Runs before the store is opened. It never
//! overwrites a file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::files::beside;

/// Names to try: `corrupt-<ms>`, then the following milliseconds. Arbitrary.
const NAMES_MAX: u64 = 100;
/// The files of a database. The database itself comes first: if the process ends halfway, a -wal without a database is left,
/// which [`super::Store::open`] refuses, too.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Renames `luner.db` to `luner.db.corrupt-<now_ms>`, together with its -wal, -shm and -journal, and returns the new path.
/// Nothing may have the file open.
///
/// # Errors
/// There is nothing to move, or the folder is not writable.
pub fn move_aside(path: &Path, now_ms: u64) -> Result<PathBuf, StoreError> {
    let failed = |path: &Path, source| StoreError::file("move aside", path, source);
    // The corrupt file is the one behind a symbolic link; the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let free = (now_ms..now_ms.saturating_add(NAMES_MAX))
        .map(|ms| beside(&path, &format!(".corrupt-{ms}")))
        .find(|name| SUFFIXES.iter().all(|suffix| fs::symlink_metadata(beside(name, suffix)).is_err()));
    let name = free.ok_or_else(|| failed(&path, io::ErrorKind::AlreadyExists.into()))?;
    let mut moved = false;
    for suffix in SUFFIXES {
        match fs::rename(beside(&path, suffix), beside(&name, suffix)) {
            Ok(()) => moved = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(&beside(&path, suffix), source)),
        }
    }
    match moved {
        true => Ok(name),
        false => Err(failed(&path, io::ErrorKind::NotFound.into())),
    }
}

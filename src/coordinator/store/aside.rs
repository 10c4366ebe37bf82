//! A file that luner cannot use, moved out of the way because someone said so. Runs before the store is opened; never on its
//! own account, and it never overwrites.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::open::{beside, file_error};

/// Names that are tried: `corrupt-<ms>` and the milliseconds after. Arbitrary.
const NAMES_MAX: u64 = 100;
/// What belongs to a database, itself first: if the process ends in between, what is left is a -wal without a database, which
/// [`super::Store::open`] refuses as well.
const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// Renames `luner.db` to `luner.db.corrupt-<now_ms>`, with its -wal, -shm and -journal, and tells the new path. Nothing may
/// have the file open.
///
/// # Errors
/// There is nothing to move, or the folder does not let it.
pub fn set_aside(path: &Path, now_ms: u64) -> Result<PathBuf, StoreError> {
    // The file behind a symbolic link is what is corrupt; the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let free = (now_ms..now_ms.saturating_add(NAMES_MAX))
        .map(|ms| beside(&path, &format!(".corrupt-{ms}")))
        .find(|name| SUFFIXES.iter().all(|suffix| fs::symlink_metadata(beside(name, suffix)).is_err()));
    let name = free.ok_or_else(|| file_error("set aside", &path, io::ErrorKind::AlreadyExists.into()))?;
    let mut moved = false;
    for suffix in SUFFIXES {
        match fs::rename(beside(&path, suffix), beside(&name, suffix)) {
            Ok(()) => moved = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(file_error("set aside", &beside(&path, suffix), source)),
        }
    }
    match moved {
        true => Ok(name),
        false => Err(file_error("set aside", &path, io::ErrorKind::NotFound.into())),
    }
}

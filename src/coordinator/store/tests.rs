//! What the store's tests share. The files beside this one are named after what they look at.

mod audit;
mod checkpoints;
mod crash;
mod faults;
mod filters;
mod kills;
mod measure;
mod open;
mod policies;
mod record;
mod retention;
pub(in crate::coordinator) mod sample;
mod sums;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;
const BY: By<'static> = By { actor: "test", at_ms: NOW_MS };
/// Tells a test binary that it was started by a test: the folder or file to work on.
const CHILD: &str = "LUNER_STORE_CHILD";

/// A folder of its own, and the database's path in it.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("luner.db");
    (folder, path)
}

fn open(path: &Path) -> Store {
    Store::open(path, NOW_MS).unwrap()
}

/// What stands against opening it.
fn refusal(path: &Path) -> StoreError {
    Store::open(path, NOW_MS).map(|_| ()).unwrap_err()
}

fn policy(id: &str, name: &str) -> StoredPolicy {
    StoredPolicy {
        id: id.into(),
        name: name.into(),
        description: "keeps costs down".into(),
        expression: "cost_usd > 10.0".into(),
        action: "block".into(),
        target_model: None,
        message: Some("enough for now, “friend”".into()),
        priority: 100,
        enabled: true,
        mode: "enforce".into(),
        created_at_ms: NOW_MS,
        updated_at_ms: NOW_MS,
    }
}

fn first_page(store: &Store) -> ListPage<AuditEntry> {
    store.audit(Paging { page: 1, page_size: PAGE_SIZE_MAX }).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// As the sqlite3 command line would open it.
fn bystander(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// This test binary, started to run one test; `module` is the caller's `module_path!()`.
fn again(binary: &Path, module: &str, test: &str, given: &Path) -> Command {
    let module = module.split_once("::").expect("a test stands in a module").1;
    let mut command = Command::new(binary);
    command.args([&format!("{module}::{test}"), "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, given);
    command
}

/// Runs `body` in a process that has no privileges, on a folder that belongs to it: nothing is read-only for root.
fn without_privileges(module: &str, test: &str, body: impl FnOnce(&Path)) {
    if let Some(given) = std::env::var_os(CHILD) {
        body(Path::new(&given));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir(&work).unwrap();
    let root = fs::metadata(&work).unwrap().uid() == 0;
    let binary = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut command = again(&binary, module, test, &work);
    if root {
        const NOBODY: u32 = 65534;
        set_mode(folder.path(), 0o755);
        chown(&work, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

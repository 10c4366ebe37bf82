//! Helpers of the store's tests. The files of the tests are named after what they test.

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
/// Set if a test started this test binary: the folder or file to work on.
const CHILD: &str = "LUNER_STORE_CHILD";

/// A temporary folder, and the path of the database in it.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("luner.db");
    (folder, path)
}

fn open(path: &Path) -> Store {
    Store::open(path, NOW_MS).unwrap()
}

/// The error of opening the file.
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

/// A connection as the sqlite3 command line would open it.
fn bystander(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// A command that starts this test binary to run one test; `module` is the caller's `module_path!()`.
fn run_test_in_child(binary: &Path, module: &str, test: &str, given: &Path) -> Command {
    let module = module.split_once("::").expect("a test is in a module").1;
    let mut command = Command::new(binary);
    command.args([&format!("{module}::{test}"), "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, given);
    command
}

/// Runs `body` in a process without privileges, on a folder that belongs to it. For root, nothing would be read-only.
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
    let mut command = run_test_in_child(&binary, module, test, &work);
    if root {
        const NOBODY: u32 = 65534;
        set_mode(folder.path(), 0o755);
        chown(&work, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

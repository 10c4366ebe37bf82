//! Tests which thread folds the write-ahead log into the database, and when.

use std::time::Duration;

use super::*;
use crate::clock::Clock;

const HOUR: Duration = Duration::from_secs(3_600);
/// Arbitrary: longer than anything here takes.
const GUARD: Duration = Duration::from_secs(10);

/// The number of pages in the log, and how many of them are in the database, too.
fn progress(other: &Connection) -> (i64, i64) {
    other.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
}

fn wait_until_folded(checkpoints: &Checkpoints, other: &Connection) {
    let clock = Clock::start();
    loop {
        let (logged, folded) = progress(other);
        if logged == folded {
            return;
        }
        assert!(clock.now().since(Default::default()) < GUARD, "{folded} of {logged}");
        assert!(checkpoints.wake(), "the helper is running");
        std::thread::yield_now();
    }
}

fn pages_of_autocheckpoint(store: &Store) -> u32 {
    store.connection.query_row("PRAGMA wal_autocheckpoint", [], |row| row.get(0)).unwrap()
}

#[test]
fn helper_folds_the_log_and_commits_do_not() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    assert!(pages_of_autocheckpoint(&store) > 0, "without a helper");
    let checkpoints = Checkpoints::start_with(&store, Duration::ZERO).unwrap();
    assert_eq!(pages_of_autocheckpoint(&store), 0);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let other = bystander(&path);
    other.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    assert_eq!(store.policies().unwrap().len(), 1);
    assert!(progress(&other).0 > 0);
    wait_until_folded(&checkpoints, &other);
    store.checkpoint_on_commit(true).unwrap();
    assert!(pages_of_autocheckpoint(&store) > 0);
}

#[test]
fn large_log_is_folded_without_waiting() {
    let (_folder, path) = folder();
    let store = open(&path);
    let checkpoints = Checkpoints::start_with(&store, HOUR).unwrap();
    let other = bystander(&path);
    other.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    other.execute_batch("INSERT INTO probe (id, filler) VALUES (1, zeroblob(17 << 20))").unwrap();
    wait_until_folded(&checkpoints, &other);
}

#[test]
fn open_reader_is_not_a_failure() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let checkpoints = Checkpoints::start_with(&store, Duration::ZERO).unwrap();
    let other = bystander(&path);
    other.execute_batch("PRAGMA wal_autocheckpoint = 0; BEGIN; SELECT count(*) FROM policy").unwrap();
    for n in 0..20 {
        store.insert_policy(&policy(&format!("pol_{n}"), &format!("name {n}")), BY).unwrap();
        assert!(checkpoints.wake());
    }
    other.execute_batch("COMMIT").unwrap();
    wait_until_folded(&checkpoints, &other);
}

#[test]
fn last_connection_to_close_leaves_no_log() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let checkpoints = Checkpoints::start_with(&store, HOUR).unwrap();
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    drop(store);
    checkpoints.finish();
    assert!(!files::beside(&path, "-wal").exists());
    assert_eq!(open(&path).policies().unwrap().len(), 1);
}

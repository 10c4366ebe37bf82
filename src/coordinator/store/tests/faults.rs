//! Faults at run time and the recovery from them: a full disk, locks, read-only, moved and corrupt files, an endless reader.

use super::*;

fn degraded(store: &Store) -> String {
    match store.check() {
        StoreHealth::Ok => panic!("the store reports that it works"),
        StoreHealth::Degraded(reason) => reason,
    }
}

fn fault(error: Result<(), StoreError>) -> Option<StoreFault> {
    error.unwrap_err().fault()
}

#[test]
fn full_disk_degrades_the_store_until_there_is_room() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let pages: u32 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let limit = |pages: u32| {
        store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    };
    limit(pages + 4);
    let mut stored = 0;
    let error = loop {
        let name = format!("pol_{stored}");
        let large = StoredPolicy { description: "x".repeat(3000), ..policy(&name, &name) };
        match store.insert_policy(&large, BY) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10);
    };
    assert_eq!(error.fault(), Some(StoreFault::Full), "{error}");
    assert!(error.to_string().contains("could not add a policy in"), "{error}");
    assert_eq!(store.fault(), Some(StoreFault::Full));
    assert!(degraded(&store).contains("the disk is full"));
    assert_eq!(store.policies().unwrap().len(), stored, "reading still works");
    assert_eq!(first_page(&store).total, stored as u64, "a failed change has no audit row");

    store.connection.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).unwrap();
    assert_eq!(store.check(), StoreHealth::Ok);
    assert_eq!(store.fault(), None);
    store.insert_policy(&policy("pol_x", "x"), BY).unwrap();
    let probes = "SELECT count(*) FROM probe";
    assert_eq!(store.connection.query_row(probes, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[test]
fn lock_of_another_program_is_waited_for_then_reported() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let other = bystander(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(degraded(&store).contains("another program holds its lock"), "the lock is noticed before a write is lost");
    assert_eq!(store.fault(), None, "a lock may be held for a moment only, and is not a fault yet");
    let error = store.insert_policy(&policy("pol_1", "a"), BY).unwrap_err();
    assert_eq!(error.fault(), Some(StoreFault::Busy), "{error}");
    assert!(degraded(&store).contains("another program holds its lock"));
    assert_eq!(store.policies().unwrap(), []);

    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.check(), StoreHealth::Ok);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
}

#[test]
fn lock_on_a_new_file_is_reported() {
    let (_folder, path) = folder();
    let other = bystander(&path);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = refusal(&path);
    assert_eq!(error.fault(), Some(StoreFault::Busy), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(open(&path).check(), StoreHealth::Ok);
}

#[test]
fn read_only_file_degrades_the_store_until_it_is_writable() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.connection.execute_batch("PRAGMA query_only = ON").unwrap();
    assert_eq!(fault(store.insert_policy(&policy("pol_1", "a"), BY)), Some(StoreFault::ReadOnly));
    assert!(degraded(&store).contains("the file or its folder is read-only"));
    store.connection.execute_batch("PRAGMA query_only = OFF").unwrap();
    assert_eq!(store.check(), StoreHealth::Ok);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
}

#[test]
fn moved_file_accepts_no_writes_until_it_is_back() {
    let (folder, path) = folder();
    let mut store = open(&path);
    let elsewhere = folder.path().join("elsewhere.db");
    fs::rename(&path, &elsewhere).unwrap();
    assert_eq!(fault(store.insert_policy(&policy("pol_1", "a"), BY)), Some(StoreFault::Moved));
    fs::write(&path, "another file").unwrap();
    assert!(degraded(&store).contains("was moved, deleted or replaced"));
    fs::rename(&elsewhere, &path).unwrap();
    assert_eq!(store.check(), StoreHealth::Ok);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
}

#[test]
fn corruption_found_at_run_time_stays_until_restart() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for n in 0..100 {
        store.insert_policy(&policy(&format!("pol_{n}"), &format!("name {n}")), BY).unwrap();
    }
    drop(store);
    let mut store = open(&path);
    let whole = fs::read(&path).unwrap();
    // Damages the pages from the third one on, so that the schema stays readable.
    let mut damaged = whole.clone();
    damaged[2 * 4096..].fill(0xa5);
    fs::write(&path, &damaged).unwrap();
    store.connection.execute_batch("PRAGMA cache_size = 0; PRAGMA shrink_memory").unwrap();
    assert_eq!(fault(store.insert_policy(&policy("pol_x", "x"), BY)), Some(StoreFault::Corrupt));
    fs::write(&path, &whole).unwrap();
    assert!(degraded(&store).contains("a restart checks the whole file"));
    drop(store);
    assert_eq!(open(&path).check(), StoreHealth::Ok);
}

#[test]
fn endless_reader_is_noticed_by_the_size_of_the_log() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let wal = files::beside(&path, "-wal");
    // Only the size counts, and a sparse file has it at once.
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(WAL_BYTES_ALARM + 1).unwrap();
    assert!(degraded(&store).contains("keeps a read transaction open"));
    fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(0).unwrap();
    assert_eq!(store.check(), StoreHealth::Ok);
}

#[test]
fn read_only_folder_is_named() {
    without_privileges(module_path!(), "read_only_folder_is_named", |folder| {
        let path = folder.join("luner.db");
        set_mode(folder, 0o500);
        let error = refusal(&path);
        assert!(error.to_string().contains("could not create") && error.to_string().contains("luner.db"), "{error}");
        let error = refusal(&folder.join("data/luner.db"));
        assert!(error.to_string().contains("could not create the folder"), "{error}");

        set_mode(folder, 0o700);
        drop(open(&path));
        set_mode(folder, 0o500);
        let error = refusal(&path);
        assert!(error.to_string().contains("the file or its folder is read-only"), "{error}");
        set_mode(folder, 0o700);
        assert_eq!(open(&path).check(), StoreHealth::Ok);
    });
}

#[test]
fn read_only_file_is_named() {
    without_privileges(module_path!(), "read_only_file_is_named", |folder| {
        let path = folder.join("luner.db");
        drop(open(&path));
        set_mode(&path, 0o400);
        let error = refusal(&path);
        assert!(error.to_string().contains("could not write to"), "{error}");
        assert_eq!(mode(&path), 0o400, "the mode that the operator set is kept");
    });
}

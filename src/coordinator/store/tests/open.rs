//! Opening new, foreign and damaged files, and the modes of files.

use super::record::reader;
use super::*;
use crate::coordinator::store::reader::TimeRange;

#[test]
fn bundled_sqlite_has_the_wal_reset_fix() {
    // Before 3.51.3, a checkpoint and a writer could lose a transaction between them.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn missing_file_is_created_with_its_folders() {
    let (folder, _) = folder();
    let path = folder.path().join("data/deeper/luner.db");
    let store = open(&path);
    assert_eq!(store.policies().unwrap(), []);
    assert_eq!(first_page(&store).total, 0);
    assert_eq!(store.check(), StoreHealth::Ok);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn every_file_is_private_to_its_owner() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    for name in [path.clone(), files::beside(&path, "-wal"), files::beside(&path, "-shm")] {
        assert_eq!(mode(&name), 0o600, "{}", name.display());
    }
}

#[test]
fn existing_file_is_made_private() {
    let (_folder, path) = folder();
    drop(open(&path));
    set_mode(&path, 0o664);
    drop(open(&path));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn empty_file_is_a_new_database() {
    let (_folder, path) = folder();
    fs::write(&path, []).unwrap();
    set_mode(&path, 0o644);
    assert_eq!(open(&path).check(), StoreHealth::Ok);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn target_of_a_dangling_symbolic_link_is_created() {
    let (folder, path) = folder();
    let target = folder.path().join("target.db");
    std::os::unix::fs::symlink("target.db", &path).unwrap();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    assert_eq!(store.path(), target.canonicalize().unwrap());
    assert_eq!(mode(&target), 0o600);
}

#[test]
fn empty_file_beside_a_log_with_changes_is_corrupt() {
    let (_folder, path) = folder();
    let wal = files::beside(&path, "-wal");
    fs::write(&path, []).unwrap();
    fs::write(&wal, [7; 5000]).unwrap();
    assert!(matches!(refusal(&path), StoreError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(refusal(&path), StoreError::Corrupt { .. }));
    assert_eq!(fs::read(&wal).unwrap(), [7; 5000]);
}

#[test]
fn connection_uses_the_documented_pragmas() {
    let (_folder, path) = folder();
    let store = open(&path);
    let query = |pragma: &str| store.connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap();
    let journal: String = store.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
    assert_eq!(query("PRAGMA synchronous"), 2); // FULL
    assert_eq!(query("PRAGMA foreign_keys"), 1);
    assert_eq!(query("PRAGMA trusted_schema"), 0);
    assert_eq!(query("PRAGMA busy_timeout"), 250);
    assert_eq!(query("PRAGMA application_id"), i64::from(schema::APPLICATION_ID));
    assert_eq!(query("PRAGMA user_version"), i64::from(schema::KNOWN));
}

#[test]
fn reopening_changes_nothing() {
    let (_folder, path) = folder();
    open(&path).insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let before = fs::read(&path).unwrap();
    for _ in 0..3 {
        drop(open(&path));
    }
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn later_migration_is_applied_once_and_audited() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let steps = [&schema::STEPS[..], &["ALTER TABLE policy ADD COLUMN owner TEXT"]].concat();
    for _ in 0..2 {
        migrate::migrate(&mut store, &steps, NOW_MS + 5).unwrap();
    }
    let audit = first_page(&store);
    assert_eq!(audit.total, 2);
    let noted = &audit.items[0];
    let noted = (noted.at_ms, noted.actor.as_str(), noted.action.as_str(), noted.subject.as_str());
    assert_eq!(noted, (NOW_MS + 5, "luner", "store.migrate", "schema 4"));
    assert_eq!(store.policies().unwrap(), [policy("pol_1", "a")]);
    drop(store);
    assert!(matches!(refusal(&path), StoreError::Newer { found: 4, known: 3, .. }));
}

#[test]
fn failed_migration_leaves_the_schema_unchanged() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let steps = [&schema::STEPS[..], &["CREATE TABLE half (a); CREATE TABLE policy (b)"]].concat();
    let error = migrate::migrate(&mut store, &steps, NOW_MS).unwrap_err();
    assert!(error.to_string().contains("could not bring the schema up to date"), "{error}");
    drop(store);
    let store = open(&path);
    let halves = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
    assert_eq!(store.connection.query_row(halves, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[test]
fn schema_1_file_is_migrated_and_can_shrink() {
    let (_folder, path) = folder();
    let old = bystander(&path);
    old.execute_batch(schema::STEPS[0]).unwrap();
    old.execute_batch(&format!("PRAGMA application_id = {}; PRAGMA user_version = 1", schema::APPLICATION_ID)).unwrap();
    let mut store = Store::open(&path, NOW_MS).map(|_| ()).and_then(|()| Store::open(&path, NOW_MS)).unwrap();
    assert_eq!(first_page(&store).items[0].subject, "schema 3");
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let query = |pragma: &str| store.connection.query_row(pragma, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!((query("PRAGMA auto_vacuum"), query("PRAGMA user_version")), (2, schema::KNOWN));
}

#[test]
fn migrating_a_full_schema_1_file_loses_nothing() {
    let (_folder, path) = folder();
    let old = bystander(&path);
    old.execute_batch(schema::STEPS[0]).unwrap();
    old.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = {}; PRAGMA user_version = 1;
         INSERT INTO policy VALUES ('pol_1', 'a', 'd', 'true', 'block', NULL, NULL, 7, 1, 'shadow', 1, 2);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO audit (at_ms, actor, action, subject) SELECT i, 'test', 'config.reload', 'x' FROM n",
        schema::APPLICATION_ID
    ))
    .unwrap();
    drop(old);
    let store = open(&path);
    assert_eq!(store.policies().unwrap()[0].priority, 7);
    assert_eq!(first_page(&store).total, 502);
    assert_eq!(store.check(), StoreHealth::Ok);
}

#[test]
fn schema_2_file_keeps_its_usage_and_has_no_cache_writes() {
    let (_folder, path) = folder();
    let old = bystander(&path);
    schema::STEPS[..2].iter().for_each(|step| old.execute_batch(step).unwrap());
    old.execute_batch(&format!(
        "PRAGMA application_id = {}; PRAGMA user_version = 2;
         INSERT INTO total_minute VALUES (7, 1, 2, 30, 4, 34, 5, 1, 99, 0, 0, 1, 0, 0, 1000, 1, 0, 0, x'')",
        schema::APPLICATION_ID
    ))
    .unwrap();
    drop(old);
    let store = open(&path);
    assert_eq!(first_page(&store).items[0].subject, "schema 3");
    let whole = TimeRange { from_ms: 0, to_ms: u64::MAX };
    let sums = reader(&path).summary(whole).unwrap();
    assert_eq!((sums.total_requests, sums.total_tokens, sums.cache_misses), (1, 34, 1));
    assert_eq!((sums.tokens.input, sums.tokens.cache_read, sums.tokens.cache_write), (30, 5, 0));
}

#[test]
fn newer_schema_is_refused_and_kept() {
    let (_folder, path) = folder();
    drop(open(&path));
    bystander(&path).execute_batch("PRAGMA user_version = 99").unwrap();
    let before = fs::read(&path).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, StoreError::Newer { found: 99, known: schema::KNOWN, .. }), "{error}");
    assert!(error.to_string().contains("luner.db"), "{error}");
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn foreign_database_is_refused_and_kept() {
    let (_folder, path) = folder();
    let theirs = "CREATE TABLE bookmark (url); PRAGMA application_id = 7";
    for (sql, id) in [("CREATE TABLE bookmark (url)", 0), (theirs, 7)] {
        let _ = fs::remove_file(&path);
        bystander(&path).execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(refusal(&path), StoreError::Foreign { application_id, .. } if application_id == id));
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[test]
fn garbage_is_corrupt_and_kept() {
    let (_folder, path) = folder();
    let garbage: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in [&garbage[..], b"x", b"SQLite format 3\0", b"version: v1\n"] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("luner.db is corrupt"), "{error}");
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn truncated_file_is_corrupt_and_kept_wherever_it_ends() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for n in 0..100 {
        store.insert_policy(&policy(&format!("pol_{n}"), &format!("name {n}")), BY).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 40_000);
    let ends = [1, 15, 16, 50, 99, 100, 101, 1000, 4095, 4096, 4097, 8192, whole.len() / 2, whole.len() - 4096];
    for end in ends.into_iter().chain([whole.len() - 1]) {
        fs::write(&path, &whole[..end]).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, StoreError::Corrupt { .. }), "{end}: {error:?}");
        assert!(fs::read(&path).unwrap() == whole[..end], "{end}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(&path).policies().unwrap().len(), 100);
}

#[test]
fn damaged_page_is_found_at_start() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for n in 0..100 {
        store.insert_policy(&policy(&format!("pol_{n}"), &format!("name {n}")), BY).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn corrupt_file_is_moved_aside_with_its_log() {
    let (folder, path) = folder();
    for (suffix, bytes) in [("", "garbage"), ("-wal", "log"), ("-shm", "index")] {
        fs::write(files::beside(&path, suffix), bytes).unwrap();
    }
    let first = move_aside(&path, 17).unwrap();
    assert_eq!(first, folder.path().canonicalize().unwrap().join("luner.db.corrupt-17"));
    assert_eq!(fs::read(&first).unwrap(), b"garbage");
    assert_eq!(fs::read(files::beside(&first, "-wal")).unwrap(), b"log");
    assert!(!path.exists());
    drop(open(&path));

    fs::write(&path, "more garbage").unwrap();
    let second = move_aside(&path, 17).unwrap();
    assert!(second.ends_with("luner.db.corrupt-18"));
    assert_eq!(fs::read(&first).unwrap(), b"garbage");
    assert!(move_aside(&path, 17).is_err(), "nothing is left to move");
}

#[test]
fn log_without_its_database_can_be_moved_aside() {
    let (_folder, path) = folder();
    fs::write(files::beside(&path, "-wal"), [7; 5000]).unwrap();
    assert!(matches!(refusal(&path), StoreError::Corrupt { .. }));
    let aside = move_aside(&path, 17).unwrap();
    assert_eq!(fs::read(files::beside(&aside, "-wal")).unwrap(), [7; 5000]);
    drop(open(&path));
}

#[test]
fn folder_at_the_path_is_refused() {
    let (folder, _) = folder();
    let error = refusal(folder.path());
    assert!(error.to_string().contains("it is not a plain file"), "{error}");
}

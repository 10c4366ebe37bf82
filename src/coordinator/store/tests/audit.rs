//! The audit on its own: reloads, pages, and how many rows are kept.

use serde_json::json;

use super::*;

fn reload(store: &mut Store, revision: u64) -> u64 {
    let after = json!({ "revision": revision });
    let entry =
        NewAudit { action: AuditAction::ConfigReload, subject: "config.yaml", before: None, after: Some(&after) };
    store.append_audit(&entry, BY).unwrap()
}

#[test]
fn reload_is_audited() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    assert_eq!(reload(&mut store, 1), 1);
    let why = json!({ "problems": ["3:1: providers: missing"] });
    let rejected =
        NewAudit { action: AuditAction::ConfigRejected, subject: "config.yaml", before: None, after: Some(&why) };
    assert_eq!(store.append_audit(&rejected, BY).unwrap(), 2);
    let page = first_page(&store);
    let seen: Vec<_> = page.items.iter().map(|entry| (entry.action.as_str(), entry.after.as_ref())).collect();
    assert_eq!(seen, [("config.rejected", Some(&why)), ("config.reload", Some(&json!({ "revision": 1 })))]);
}

#[test]
fn audit_pages_run_from_newest_to_oldest() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for revision in 1..=5 {
        reload(&mut store, revision);
    }
    let ids = |page, page_size| {
        let page = store.audit(Paging { page, page_size }).unwrap();
        assert_eq!(page.total, 5);
        page.items.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(1, 2), [5, 4]);
    assert_eq!(ids(2, 2), [3, 2]);
    assert_eq!(ids(3, 2), [1]);
    assert_eq!(ids(4, 2), [0_u64; 0]);
    assert_eq!(ids(u32::MAX, u32::MAX), [0_u64; 0]);
    assert_eq!(ids(0, 0), [5]);
}

/// Adds many rows of one action at once, because each single one would be synced.
fn fill(store: &Store, action: &str, rows: u32) {
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO audit (at_ms, actor, action, subject) SELECT i, 'test', '{action}', 'x' FROM n"
    );
    store.connection.execute_batch(&many).unwrap();
}

fn count(store: &Store, action: &str) -> u32 {
    let count = "SELECT count(*) FROM audit WHERE action = ?1";
    store.connection.query_row(count, [action], |row| row.get(0)).unwrap()
}

fn oldest(store: &Store) -> u64 {
    store.connection.query_row("SELECT min(id) FROM audit", [], |row| row.get(0)).unwrap()
}

#[test]
fn oldest_audit_rows_are_removed_beyond_the_maximum() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    fill(&store, "policy.update", AUDIT_ROWS_MAX);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    store.delete_policy("pol_1", BY).unwrap();
    assert_eq!(store.audit(Paging { page: 1, page_size: 1 }).unwrap().total, u64::from(AUDIT_ROWS_MAX));
    assert_eq!((oldest(&store), count(&store, "policy.update")), (3, AUDIT_ROWS_MAX - 2));
}

#[test]
fn reloads_in_a_loop_do_not_push_out_policy_changes() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    fill(&store, "policy.update", AUDIT_ROWS_MAX);
    fill(&store, "config.rejected", AUDIT_RELOAD_ROWS_MAX);
    for revision in 1..=3 {
        reload(&mut store, revision);
    }
    assert_eq!(count(&store, "policy.update"), AUDIT_ROWS_MAX);
    assert_eq!((count(&store, "config.rejected"), count(&store, "config.reload")), (AUDIT_RELOAD_ROWS_MAX - 3, 3));
    // Policy changes do not push out reloads either.
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    assert_eq!((count(&store, "policy.update"), oldest(&store)), (AUDIT_ROWS_MAX - 1, 2));
    assert_eq!(count(&store, "config.reload"), 3);
}

#[test]
fn oversized_value_is_replaced_by_its_size() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let large = json!("x".repeat(AUDIT_JSON_BYTES_MAX));
    let entry = NewAudit { action: AuditAction::ConfigReload, subject: "x", before: Some(&large), after: None };
    store.append_audit(&entry, BY).unwrap();
    let noted = json!({ "omitted": "too large for the audit", "bytes": AUDIT_JSON_BYTES_MAX + 2 });
    assert_eq!(first_page(&store).items[0].before, Some(noted));
}

#[test]
fn row_edited_by_hand_is_shown_as_text() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    reload(&mut store, 1);
    bystander(&path).execute_batch("UPDATE audit SET after = 'not { json'").unwrap();
    assert_eq!(first_page(&store).items[0].after, Some(json!("not { json")));
}

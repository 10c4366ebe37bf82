//! Stored policies: reading back, uniqueness, order, and the audit of each change.

use super::*;

#[test]
fn policy_is_read_back_as_it_was_stored() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let full = StoredPolicy {
        target_model: Some("gpt-4o-mini".into()),
        message: None,
        priority: -7,
        enabled: false,
        mode: "shadow".into(),
        expression: "model == 'x' // \u{1F980} '); DROP TABLE policy; --".into(),
        updated_at_ms: u64::MAX >> 1,
        ..policy("pol_0123456789abcdef", "it's “quoted”")
    };
    store.insert_policy(&full, BY).unwrap();
    assert_eq!(store.policies().unwrap(), std::slice::from_ref(&full));
    drop(store);
    assert_eq!(open(&path).policies().unwrap(), [full]);
}

#[test]
fn policies_are_listed_in_evaluation_order() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    for (id, priority) in [("pol_b", 5), ("pol_c", -1), ("pol_a", 5)] {
        store.insert_policy(&StoredPolicy { priority, ..policy(id, id) }, BY).unwrap();
    }
    let ids: Vec<String> = store.policies().unwrap().into_iter().map(|policy| policy.id).collect();
    assert_eq!(ids, ["pol_c", "pol_a", "pol_b"]);
}

#[test]
fn taken_name_changes_nothing() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "costs"), BY).unwrap();
    store.insert_policy(&policy("pol_2", "Costs"), BY).unwrap(); // another name, because case counts
    let before = store.policies().unwrap();
    let error = store.insert_policy(&policy("pol_3", "costs"), BY).unwrap_err();
    assert!(matches!(&error, StoreError::NameTaken { name } if name == "costs"), "{error}");
    let error = store.update_policy(&policy("pol_2", "costs"), BY).unwrap_err();
    assert!(matches!(&error, StoreError::NameTaken { name } if name == "costs"), "{error}");
    assert_eq!(store.policies().unwrap(), before);
    assert_eq!(first_page(&store).total, 2, "a refused change leaves no audit row");
    assert_eq!(store.check(), StoreHealth::Ok, "a refusal is not a fault of the store");
}

#[test]
fn taken_id_is_not_reported_as_a_taken_name() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let error = store.insert_policy(&policy("pol_1", "b"), BY).unwrap_err();
    assert!(matches!(&error, StoreError::IdTaken { id } if id == "pol_1"), "{error}");
}

#[test]
fn unknown_id_is_not_found_and_leaves_no_audit_row() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    assert!(matches!(store.update_policy(&policy("pol_1", "a"), BY), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.delete_policy("pol_1", BY), Err(StoreError::NotFound { .. })));
    assert_eq!(first_page(&store).total, 0);
}

#[test]
fn update_keeps_the_creation_time_and_may_keep_the_name() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    let change = StoredPolicy { priority: 3, created_at_ms: 0, updated_at_ms: NOW_MS + 9, ..policy("pol_1", "a") };
    let stored = store.update_policy(&change, BY).unwrap();
    assert_eq!(stored, StoredPolicy { created_at_ms: NOW_MS, ..change });
    assert_eq!(store.policies().unwrap(), [stored]);
}

#[test]
fn name_of_a_deleted_policy_is_free_again() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    store.insert_policy(&policy("pol_1", "a"), BY).unwrap();
    assert_eq!(store.delete_policy("pol_1", BY).unwrap(), policy("pol_1", "a"));
    store.insert_policy(&policy("pol_2", "a"), BY).unwrap();
    assert_eq!(store.policies().unwrap(), [policy("pol_2", "a")]);
}

#[test]
fn audit_shows_policies_before_and_after_a_change() {
    let (_folder, path) = folder();
    let mut store = open(&path);
    let (old, new) = (policy("pol_1", "a"), StoredPolicy { priority: 1, ..policy("pol_1", "b") });
    store.insert_policy(&old, BY).unwrap();
    store.update_policy(&new, By { actor: "127.0.0.1", at_ms: NOW_MS + 1 }).unwrap();
    store.delete_policy("pol_1", By { actor: "127.0.0.1", at_ms: NOW_MS + 2 }).unwrap();
    let (old, new) = (serde_json::to_value(old).unwrap(), serde_json::to_value(new).unwrap());
    let entry = |id, action: &str, actor: &str, before, after| AuditEntry {
        id,
        at_ms: NOW_MS + id - 1,
        actor: actor.into(),
        action: action.into(),
        subject: "pol_1".into(),
        before,
        after,
    };
    let expected = [
        entry(3, "policy.delete", "127.0.0.1", Some(new.clone()), None),
        entry(2, "policy.update", "127.0.0.1", Some(old.clone()), Some(new)),
        entry(1, "policy.create", "test", None, Some(old)),
    ];
    assert_eq!(first_page(&store).items, expected);
}

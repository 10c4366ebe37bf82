//! Tests fronts and owners: which entries a front may serve, and how an owner learns of hits in fronts.

use super::*;

const WIDE: Limits = Limits { items: 100, bytes: usize::MAX };

fn serves(front: &mut Front, number: u64, now: Now) -> bool {
    front.find(Key::of_number(number), now).is_some()
}

#[test]
fn front_serves_only_entries_that_its_owner_holds() {
    let mut store = Store::new(Limits { items: 1, bytes: usize::MAX });
    let mut front = Front::new(WIDE);
    let first = entry(1, 10, 1_000, at(0));
    store.insert(&first, at(0));
    front.keep(Arc::clone(&first), at(0));
    assert!(serves(&mut front, 1, at(999)));
    assert!(!serves(&mut front, 2, at(999)));
    store.set_limits(Limits { items: 0, bytes: 0 }, at(1));
    assert!(!serves(&mut front, 1, at(1)), "its owner has given it up");
    assert!(front.is_empty());
    drop(store);
    assert_eq!(Arc::strong_count(&first), 1, "nobody holds it any more");
}

#[test]
fn front_never_serves_an_expired_entry() {
    let mut front = Front::new(WIDE);
    front.keep(entry(1, 10, 1_000, at(0)), at(0));
    assert!(serves(&mut front, 1, at(999)));
    assert!(!serves(&mut front, 1, at(1_000)));
    front.keep(entry(2, 10, 0, at(0)), at(0));
    assert_eq!((front.len(), front.bytes()), (0, 0));
}

#[test]
fn front_stays_within_its_limits() {
    let size = 10 + overhead();
    for limits in [Limits { items: 3, bytes: usize::MAX }, Limits { items: 100, bytes: 3 * size }] {
        let mut front = Front::new(limits);
        for number in 0..10 {
            front.keep(entry(number, 10, 1_000, at(0)), at(0));
            assert!(number == 0 || serves(&mut front, 0, at(0)), "used all the time");
        }
        front.keep(entry(9, 10, 1_000, at(0)), at(0));
        assert_eq!((front.len(), front.bytes()), (3, 3 * size));
        front.keep(entry(20, 3 * size, 1_000, at(0)), at(0));
        assert_eq!(front.len() <= 3, front.bytes() <= limits.bytes);
    }
    let mut none = Front::new(Limits { items: 0, bytes: 0 });
    none.keep(entry(1, 10, 1_000, at(0)), at(0));
    assert!(none.is_empty());
}

#[test]
fn sweep_drops_entries_that_may_not_be_served() {
    let mut front = Front::new(WIDE);
    let mut store = Store::new(WIDE);
    for number in 0..90 {
        let entry = entry(number, 10, if number < 30 { 10 } else { 1_000 }, at(0));
        store.insert(&entry, at(0));
        front.keep(entry, at(0));
    }
    store.set_limits(Limits { items: 20, ..WIDE }, at(5));
    (0..2).for_each(|_| front.sweep(at(10)));
    assert_eq!(front.len(), 20);
}

#[test]
fn front_hit_keeps_the_entry_young_at_its_owner() {
    let mut store = Store::new(Limits { items: 3, bytes: usize::MAX });
    let mut front = Front::new(WIDE);
    for number in 0..3 {
        let entry = entry(number, 10, 1_000, at(0));
        store.insert(&entry, at(0));
        front.keep(entry, at(0));
    }
    assert!(serves(&mut front, 0, at(1)));
    store.insert(&entry(3, 10, 1_000, at(1)), at(1));
    assert!(serves(&mut front, 0, at(1)), "it had a second chance");
    assert!(!serves(&mut front, 1, at(1)), "the next oldest left");
    // Entry 0 has used up its second chance, but by then it is the second youngest.
    store.insert(&entry(4, 10, 1_000, at(1)), at(1));
    assert!(!serves(&mut front, 2, at(1)));
}

#[test]
fn owner_sweep_learns_of_front_hits() {
    let mut store = Store::new(Limits { items: 3, bytes: usize::MAX });
    let mut front = Front::new(WIDE);
    for number in 0..3 {
        let entry = entry(number, 10, 1_000, at(0));
        store.insert(&entry, at(0));
        front.keep(entry, at(0));
    }
    assert!(serves(&mut front, 0, at(1)));
    store.sweep(at(1));
    for number in 3..5 {
        store.insert(&entry(number, 10, 1_000, at(1)), at(1));
    }
    let left: Vec<_> = (0..3).filter(|&number| serves(&mut front, number, at(1))).collect();
    assert_eq!(left, [0], "the sweep made it younger than those that nobody asked for");
}

#[test]
fn eviction_ends_even_when_every_entry_is_in_use_elsewhere() {
    let mut store = Store::new(Limits { items: 500, bytes: usize::MAX });
    let mut front = Front::new(Limits { items: 500, bytes: usize::MAX });
    for number in 0..500 {
        let entry = entry(number, 10, 1_000, at(0));
        store.insert(&entry, at(0));
        front.keep(entry, at(0));
    }
    assert!((0..500).all(|number| serves(&mut front, number, at(1))));
    assert!(store.insert(&entry(500, 10, 1_000, at(1)), at(1)));
    assert_eq!((store.len(), store.evictions().capacity), (500, 1));
}

#[test]
fn front_hit_leaves_the_shared_reference_count_unchanged() {
    let mut front = Front::new(WIDE);
    let kept = entry(1, 10, 1_000, at(0));
    front.keep(Arc::clone(&kept), at(0));
    let found = front.find(Key::of_number(1), at(0)).expect("kept");
    assert_eq!((Arc::strong_count(found), found.body.len()), (2, 10));
}

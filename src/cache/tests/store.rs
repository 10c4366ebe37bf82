//! Tests the owner's store against a list that is searched from end to end.

use super::*;

fn limits(items: usize, bytes: usize) -> Limits {
    Limits { items, bytes }
}

fn numbers(store: &mut Store, range: std::ops::Range<u64>, now: Now) -> Vec<u64> {
    range.filter(|&number| store.find(Key::of_number(number), now).is_some()).collect()
}

#[test]
fn entry_is_served_until_its_last_nanosecond() {
    let mut store = Store::new(limits(10, usize::MAX));
    assert!(store.insert(&entry(1, 100, 2_000, at(5)), at(5)));
    let just_before = Now { mono_ns: at(2_005).mono_ns - 1, wall_ms: 0 };
    let found = store.find(Key::of_number(1), just_before).expect("not over yet");
    assert_eq!((found.body.len(), &*found.content_type, found.cost), (100, "application/json", MicroUsd(12)));
    assert!(store.find(Key::of_number(1), at(2_005)).is_none());
    assert_eq!((store.len(), store.bytes(), store.evictions()), (0, 0, Evictions { ttl: 1, capacity: 0 }));
}

#[test]
fn least_recently_used_entry_is_evicted_first() {
    let mut store = Store::new(limits(3, usize::MAX));
    for number in 0..3 {
        store.insert(&entry(number, 10, 1_000, at(0)), at(0));
    }
    assert!(store.find(Key::of_number(0), at(1)).is_some());
    store.insert(&entry(3, 10, 1_000, at(1)), at(1));
    assert_eq!(numbers(&mut store, 0..4, at(1)), [0, 2, 3]);
    assert_eq!(store.evictions(), Evictions { ttl: 0, capacity: 1 });
}

#[test]
fn byte_limit_is_exact() {
    let one = (1 << 20) + overhead();
    let mut store = Store::new(limits(100, 3 * one));
    for number in 0..3 {
        assert!(store.insert(&entry(number, 1 << 20, 1_000, at(0)), at(0)));
    }
    assert_eq!((store.len(), store.bytes()), (3, 3 * one));
    // The new entry is one byte larger than the others, so two have to be evicted.
    assert!(store.insert(&entry(3, (1 << 20) + 1, 1_000, at(0)), at(0)));
    assert_eq!((store.len(), store.bytes(), store.evictions().capacity), (2, 2 * one + 1, 2));
}

#[test]
fn entry_larger_than_the_whole_share_is_not_stored_and_evicts_nothing() {
    let mut store = Store::new(limits(10, 1_000 + overhead()));
    store.insert(&entry(1, 10, 1_000, at(0)), at(0));
    let large = entry(2, 1_001, 1_000, at(0));
    assert!(!store.insert(&large, at(0)));
    assert!(!large.serves(at(0)), "no front may keep it");
    assert_eq!((store.len(), store.evictions()), (1, Evictions::default()));
    assert!(store.insert(&entry(2, 1_000, 1_000, at(0)), at(0)));
    for none in [limits(0, usize::MAX), limits(10, 0)] {
        assert!(!Store::new(none).insert(&entry(1, 0, 1_000, at(0)), at(0)));
    }
    assert!(!store.insert(&entry(3, 10, 0, at(0)), at(0)), "a TTL of zero");
}

#[test]
fn second_entry_of_a_key_replaces_the_first() {
    let mut store = Store::new(limits(10, usize::MAX));
    let first = entry(1, 10, 1_000, at(0));
    store.insert(&first, at(0));
    store.insert(&entry(1, 30, 1_000, at(0)), at(0));
    assert_eq!((store.len(), store.bytes(), store.evictions()), (1, 30 + overhead(), Evictions::default()));
    assert!(!first.serves(at(0)));
}

#[test]
fn lowered_limits_apply_at_once_and_in_bounded_steps() {
    let mut store = Store::new(limits(20_000, usize::MAX));
    for number in 0..10_000 {
        store.insert(&entry(number, 1, 1_000, at(0)), at(0));
    }
    store.set_limits(limits(9_000, usize::MAX), at(0));
    assert_eq!((store.len(), store.evictions().capacity), (9_000, 1_000));
    store.set_limits(limits(10, usize::MAX), at(0));
    let after_one_step = store.len();
    assert!((10..9_000).contains(&after_one_step), "{after_one_step}");
    assert!(!store.insert(&entry(10_000, 1, 1_000, at(0)), at(0)), "no room for it yet");
    for _ in 0..3 {
        store.sweep(at(0));
    }
    assert_eq!(store.len(), 10);
    assert_eq!(numbers(&mut store, 9_990..10_000, at(0)).len(), 10, "the youngest are left");
    store.set_limits(limits(11, usize::MAX), at(0));
    assert!(store.insert(&entry(10_000, 1, 1_000, at(0)), at(0)));
    assert_eq!(store.len(), 11);
}

#[test]
fn sweep_finds_every_expired_entry() {
    let mut store = Store::new(limits(1_000, usize::MAX));
    for number in 0..1_000 {
        store.insert(&entry(number, 1, if number % 2 == 0 { 10 } else { 1_000 }, at(0)), at(0));
    }
    for _ in 0..1_000_usize.div_ceil(64) {
        store.sweep(at(10));
    }
    assert_eq!((store.len(), store.evictions()), (500, Evictions { ttl: 500, capacity: 0 }));
    assert_eq!(numbers(&mut store, 0..1_000, at(10)).len(), 500);
}

#[test]
fn shares_add_up_to_the_whole() {
    for shards in 1..70 {
        let shards = std::num::NonZeroUsize::new(shards).expect("not zero");
        let shares: Vec<_> = (0..shards.get()).map(|shard| limits(5_000, 256 << 20).share(shard, shards)).collect();
        assert_eq!(shares.iter().map(|share| share.items).sum::<usize>(), 5_000);
        assert_eq!(shares.iter().map(|share| share.bytes).sum::<usize>(), 256 << 20);
    }
}

/// Entries as (number, size, end), oldest first.
struct Model {
    held: Vec<(u64, usize, u64)>,
    limits: Limits,
    evictions: Evictions,
}

impl Model {
    fn bytes(&self) -> usize {
        self.held.iter().map(|held| held.1).sum()
    }

    fn evict(&mut self, index: usize, now: u64) {
        let (_, _, end) = self.held.remove(index);
        *(if now >= end { &mut self.evictions.ttl } else { &mut self.evictions.capacity }) += 1;
    }

    fn shrink_for(&mut self, items: usize, bytes: usize, now: u64) {
        while !self.held.is_empty()
            && (self.held.len() + items > self.limits.items || self.bytes() + bytes > self.limits.bytes)
        {
            self.evict(0, now);
        }
    }

    fn find(&mut self, number: u64, now: u64) -> bool {
        let Some(index) = self.held.iter().position(|held| held.0 == number) else { return false };
        if now >= self.held[index].2 {
            self.evict(index, now);
            return false;
        }
        let held = self.held.remove(index);
        self.held.push(held);
        true
    }

    fn insert(&mut self, number: u64, size: usize, end: u64, now: u64) -> bool {
        self.held.retain(|held| held.0 != number);
        if size > self.limits.bytes || self.limits.items == 0 || now >= end {
            return false;
        }
        self.shrink_for(1, size, now);
        self.held.push((number, size, end));
        true
    }

    fn sweep(&mut self, now: u64) {
        while let Some(index) = self.held.iter().position(|held| now >= held.2) {
            self.evict(index, now);
        }
    }
}

#[test]
fn store_matches_a_list_that_is_searched_from_end_to_end() {
    for seed in 1..=6 {
        let mut seeded = Seeded::new(seed);
        let first = limits(40, 40 * 500);
        let mut store = Store::new(first);
        let mut model = Model { held: Vec::new(), limits: first, evictions: Evictions::default() };
        let mut now = 0;
        for step in 0..60_000 {
            let number = seeded.below(90) as u64;
            match seeded.below(20) {
                0..8 => {
                    let found = store.find(Key::of_number(number), at(now)).is_some();
                    assert_eq!(found, model.find(number, now), "find {number} at step {step} of seed {seed}");
                }
                8..16 => {
                    let (body, ttl) = (seeded.below(600), seeded.below(300) as u64);
                    let entry = entry(number, body, ttl, at(now));
                    let stored = store.insert(&entry, at(now));
                    assert_eq!(
                        stored,
                        model.insert(number, entry.size(), now + ttl, now),
                        "step {step} of seed {seed}"
                    );
                }
                16 => {
                    // The store has fewer places than one sweep step covers, so one step finds everything.
                    store.sweep(at(now));
                    model.sweep(now);
                }
                17 if seeded.one_in(20) => {
                    let limits = limits(seeded.below(60), seeded.below(60 * 500));
                    store.set_limits(limits, at(now));
                    model.limits = limits;
                    model.shrink_for(0, 0, now);
                }
                _ => now += seeded.below(20) as u64,
            }
            assert_eq!((store.len(), store.bytes()), (model.held.len(), model.bytes()), "step {step} of seed {seed}");
            assert_eq!(store.evictions(), model.evictions, "step {step} of seed {seed}");
        }
        assert!(model.evictions.ttl > 100 && model.evictions.capacity > 100, "{:?}", model.evictions);
    }
}

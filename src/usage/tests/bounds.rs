//! Tests the limits on the number of users, and how idle users are removed.

use super::*;

/// Debug builds use fewer: without optimisation a million users take half a minute.
const USERS: u64 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };

#[test]
fn a_million_users_leave_the_windows_within_their_bounds() {
    let registry = Registry::new(2);
    let mut shards = [0, 1].map(|shard| LocalWindows::new(Arc::clone(&registry), shard));
    for user in 0..USERS {
        let now = at(user * 1_000);
        let windows = &mut shards[(user % 2) as usize];
        let name = format!("user-{user}");
        let entry = windows.enter(Who::of_user("acme", &name), now, MicroUsd(1));
        assert_eq!(entry.totals(now), totals(1, 0, 0));
        entry.settle(now, 10, MicroUsd(1));
        if user % 10_000 == 0 {
            assert!(registry.len() <= CELLS_MAX && shards.iter().all(|shard| shard.len() <= SEATS_MAX));
        }
    }
    assert_eq!(registry.len(), CELLS_MAX);
    assert!(shards.iter().all(|shard| shard.len() == SEATS_MAX));
    let later = at(100 * SECOND);
    for _ in 0..SEATS_MAX {
        shards.iter_mut().for_each(|shard| shard.sweep(later));
        registry.sweep(later, 64);
    }
    assert!(registry.is_empty() && shards.iter().all(LocalWindows::is_empty));
}

#[test]
fn busy_user_keeps_its_count_while_others_flood_the_registry() {
    let registry = Registry::new(2);
    let [mut one, mut two] = [0, 1].map(|shard| LocalWindows::new(Arc::clone(&registry), shard));
    for user in 0..200_000_u64 {
        let now = at(user * 100_000);
        drop(two.enter(Who::of_user("flood", &user.to_string()), now, MicroUsd(1)));
        if user % 1_000 == 0 {
            let windows = if user % 2_000 == 0 { &mut one } else { &mut two };
            let entry = windows.enter(Who::of_user("acme", "ann"), now, MicroUsd(5));
            assert_eq!(entry.totals(now).requests, user / 1_000 + 1);
            entry.settle(now, 1, MicroUsd(1));
        }
    }
}

#[test]
fn evicted_user_starts_again_in_one_cell_for_all_shards() {
    let registry = Registry::new(3);
    let [mut one, mut two, mut flood] = [0, 1, 2].map(|shard| LocalWindows::new(Arc::clone(&registry), shard));
    one.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(5)).settle(at(0), 1, MicroUsd(1));
    two.enter(Who::of_user("acme", "ann"), at(0), MicroUsd(5)).settle(at(0), 1, MicroUsd(1));
    for user in 0..200_000_u64 {
        let now = at(10 * SECOND + user);
        drop(flood.enter(Who::of_user("flood", &user.to_string()), now, MicroUsd(1)));
    }
    let now = at(11 * SECOND);
    let first = one.enter(Who::of_user("acme", "ann"), now, MicroUsd(5));
    let second = two.enter(Who::of_user("acme", "ann"), now, MicroUsd(5));
    assert_eq!((first.totals(now), second.totals(now)), (totals(2, 0, 5), totals(2, 0, 5)));
}

#[test]
fn idle_user_is_removed_after_the_window_and_not_before() {
    let registry = Registry::new(1);
    let mut windows = LocalWindows::new(Arc::clone(&registry), 0);
    windows.enter(Who::of_user("t", "u"), at(SECOND), MicroUsd(1)).settle(at(SECOND), 1, MicroUsd(1));
    for (now, left) in [(at(65 * SECOND - 1), 1), (at(65 * SECOND), 0)] {
        windows.sweep(now);
        registry.sweep(now, CELLS_MAX);
        assert_eq!((windows.len(), registry.len()), (left, left));
    }
}

#[test]
fn user_with_a_request_in_flight_is_never_removed() {
    let registry = Registry::new(2);
    let [mut one, mut two] = [0, 1].map(|shard| LocalWindows::new(Arc::clone(&registry), shard));
    for estimate in [0, 50] {
        let slow = one.enter(Who::of_user("t", "u"), at(0), MicroUsd(estimate));
        let later = at(1_000 * SECOND);
        one.sweep(later);
        registry.sweep(later, CELLS_MAX);
        assert_eq!((one.len(), registry.len()), (0, 1));
        let other = two.enter(Who::of_user("t", "u"), later, MicroUsd(0));
        slow.settle(later, 7, MicroUsd(9));
        assert_eq!(other.totals(later), totals(1, 7, 9));
        drop((other, two));
        two = LocalWindows::new(Arc::clone(&registry), 1);
        let after = at(2_000 * SECOND);
        registry.sweep(after, CELLS_MAX);
        assert!(registry.is_empty());
    }
}

#[test]
fn sweep_reaches_every_user_in_small_steps() {
    let registry = Registry::new(1);
    let mut windows = LocalWindows::new(Arc::clone(&registry), 0);
    for user in 0..5_000 {
        drop(windows.enter(Who::of_user("t", &user.to_string()), at(0), MicroUsd(0)));
    }
    drop(windows);
    let later = at(70 * SECOND);
    for step in 1..=5_000 / 10 {
        registry.sweep(later, 10);
        assert_eq!(registry.len(), 5_000 - 10 * step);
    }
}

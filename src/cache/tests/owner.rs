//! Tests an owner through the calls that other shards make.

use super::*;

fn ask(owner: &mut Owner<u32>, asker: u32, now: Now) -> Result<usize, Role> {
    match owner.ask(Key::of_number(1), asker, now) {
        Answer::Hit(entry) => Ok(entry.body.len()),
        Answer::Miss(role) => Err(role),
    }
}

fn wait(owner: &mut Owner<u32>, askers: std::ops::Range<u32>) {
    for asker in askers {
        assert!(matches!(ask(owner, asker, at(0)), Err(Role::Wait(_))));
    }
}

fn owner() -> Owner<u32> {
    Owner::new(Store::new(Limits { items: 10, bytes: 10_000 }))
}

fn lead(owner: &mut Owner<u32>, asker: u32, now: Now) -> Ticket {
    match ask(owner, asker, now) {
        Err(Role::Lead(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn miss_is_fetched_once_and_then_hit_until_it_expires() {
    let mut owner = owner();
    let leader = lead(&mut owner, 0, at(0));
    wait(&mut owner, 1..2);
    assert_eq!(owner.landed(leader, &entry(1, 77, 1_000, at(10)), at(10)), [1]);
    assert_eq!((ask(&mut owner, 2, at(11)), owner.flights()), (Ok(77), 0));
    lead(&mut owner, 3, at(1_010));
}

#[test]
fn answer_too_large_to_store_still_reaches_all_waiters() {
    let mut owner = owner();
    let leader = lead(&mut owner, 0, at(0));
    wait(&mut owner, 1..2);
    assert_eq!(owner.landed(leader, &entry(1, 20_000, 1_000, at(0)), at(0)), [1]);
    assert!(owner.store.is_empty());
    lead(&mut owner, 2, at(0));
}

#[test]
fn unshareable_answer_releases_all_waiters_at_once() {
    let mut owner = owner();
    let leader = lead(&mut owner, 0, at(0));
    wait(&mut owner, 1..500);
    assert_eq!(owner.unshared(leader).len(), 499);
    assert_eq!((owner.flights(), owner.store.len()), (0, 0));
}

#[test]
fn next_waiter_leads_when_a_leader_fails_or_leaves() {
    let mut owner = owner();
    let leader = lead(&mut owner, 0, at(0));
    wait(&mut owner, 1..4);
    let After::Leads(1, second) = owner.failed(leader, at(1)) else { panic!("the next one leads") };
    let Some((2, third)) = owner.gone(second, at(2)) else { panic!("the next one leads") };
    assert_eq!(owner.landed(third, &entry(1, 5, 1_000, at(3)), at(3)), [3]);
    assert_eq!(ask(&mut owner, 9, at(4)), Ok(5));
}

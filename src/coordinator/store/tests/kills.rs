//! Kills a process while it applies flushes: no flush that it reported as committed is lost, and none counts twice.

use std::io::Write;

use super::crash::{COMMITTED, write_and_kill};
use super::record::reader;
use super::sample::{Seeded, Spread, batches, traces};
use super::*;
use crate::coordinator::store::reader::TimeRange;
use crate::link::usage::UsageBatch;

const KILLS: u64 = 30;
const REQUESTS: u64 = 40;
const ALL: TimeRange = TimeRange { from_ms: 0, to_ms: u64::MAX };

/// A flush that is the same for the same process and sequence number.
fn flush(boot: u128, sequence: u64) -> UsageBatch {
    let spread = Spread { from_ms: NOW_MS, ms: 600_000, users: 20, joins_one_in: 3 };
    let seed = boot as u64 * 1_000_003 + sequence;
    let batch = batches(traces(&mut Seeded(seed), spread, REQUESTS), usize::MAX).remove(0);
    UsageBatch { boot, sequence, ..batch }
}

/// Run by the child: writes until it is killed. Does nothing in an ordinary run.
#[test]
fn child_records_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let mut store = Store::open(Path::new(&path), NOW_MS).unwrap();
    let boot = u128::from(std::process::id());
    let mut stdout = std::io::stdout();
    for sequence in 1.. {
        store.record(&[flush(boot, sequence)], NOW_MS).unwrap();
        // Starts with a line break, because the test harness leaves a line of its own unfinished.
        stdout.write_all(format!("\n{COMMITTED}{boot} {sequence}\n").as_bytes()).unwrap();
        stdout.flush().unwrap();
    }
}

#[test]
fn thirty_kills_lose_no_flush_and_count_none_twice() {
    let (_folder, path) = folder();
    let binary = std::env::current_exe().unwrap();
    let mut seeded = Seeded(11);
    let (mut reported_in_all, mut requests) = (0, 0);
    for round in 0..KILLS {
        let child = run_test_in_child(&binary, module_path!(), "child_records_until_it_is_killed", &path);
        let reported: Vec<(u128, u64)> = write_and_kill(child, seeded.below(12), seeded.below(40_000))
            .iter()
            .map(|line| line.split_once(' ').map(|(boot, n)| (boot.parse().unwrap(), n.parse().unwrap())).unwrap())
            .collect();
        let mut store = open(&path);
        let found = reader(&path).summary(ALL).unwrap().total_requests;
        let committed = reported.len() as u64 * REQUESTS;
        // One flush may be on the disk without having been reported.
        assert!(
            [committed, committed + REQUESTS].contains(&(found - requests)),
            "round {round}: {found} of {requests}"
        );
        requests = found;
        reported_in_all += reported.len();

        let again: Vec<UsageBatch> = reported.iter().map(|&(boot, sequence)| flush(boot, sequence)).collect();
        assert_eq!(store.record(&again, NOW_MS).unwrap().replayed, reported.len() as u64, "round {round}");
        assert_eq!(
            reader(&path).summary(ALL).unwrap().total_requests,
            requests,
            "round {round}: a replay changed something"
        );
        assert_eq!(store.check(), StoreHealth::Ok);
        let check: String = store.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(reported_in_all as u64 > KILLS, "only {reported_in_all} flushes were written");
    let connection = bystander(&path);
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(one("SELECT sum(requests) FROM usage_minute"), requests);
    assert_eq!(one("SELECT sum(requests) FROM usage_hour WHERE kind = 1"), requests);
    assert_eq!(one("SELECT sum(requests) FROM trace"), requests);
    assert_eq!(one("SELECT count(*) FROM request"), requests);
}

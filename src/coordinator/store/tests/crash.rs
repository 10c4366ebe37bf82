//! Kills a process while it writes policies: every policy that it reported as committed is there, and the file is whole.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::*;

const KILLS: u64 = 50;
/// A child writes this before the name of what it has committed.
pub(super) const COMMITTED: &str = "committed ";

/// Run by the child: writes until it is killed. Does nothing in an ordinary run.
#[test]
fn child_writes_policies_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let mut store = Store::open(Path::new(&path), NOW_MS).unwrap();
    let round = std::process::id();
    let mut stdout = std::io::stdout();
    for n in 0.. {
        let id = format!("pol_{round:08x}{n:08x}");
        // Large, so that the kill often comes while the write-ahead log is being folded in.
        let large = StoredPolicy { description: "x".repeat(4000), ..policy(&id, &id) };
        store.insert_policy(&large, BY).unwrap();
        // Starts with a line break, because the test harness leaves a line of its own unfinished.
        stdout.write_all(format!("\n{COMMITTED}{id}\n").as_bytes()).unwrap();
        stdout.flush().unwrap();
    }
}

#[test]
fn fifty_kills_lose_no_committed_policy() {
    let (_folder, path) = folder();
    let binary = std::env::current_exe().unwrap();
    let mut known = HashSet::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let child = run_test_in_child(&binary, module_path!(), "child_writes_policies_until_it_is_killed", &path);
        let reported = write_and_kill(child, (seed >> 33) % 30, (seed >> 40) % 40_000);
        let store = open(&path);
        let found: HashSet<String> = store.policies().unwrap().into_iter().map(|policy| policy.id).collect();
        known.extend(reported);
        let lost: Vec<_> = known.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        let more: Vec<_> = found.difference(&known).collect();
        assert!(more.len() <= 1, "round {round}: {more:?} were never reported");
        known = found;
        let creations: u64 = first_page(&store).total;
        assert_eq!(creations, known.len() as u64, "round {round}: a policy and its audit row go together");
        assert_eq!(store.check(), StoreHealth::Ok);
        let check: String = store.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(known.len() as u64 > KILLS, "only {} policies were written", known.len());
}

/// Kills a writing child a moment after it has reported `commits` commits, and returns what it reported.
pub(super) fn write_and_kill(mut command: Command, commits: u64, moment: u64) -> Vec<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut reported = Vec::new();
    let mut line = String::new();
    let mut killed = commits == 0;
    if killed {
        child.kill().unwrap();
    }
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line that the kill cut off does not count.
        if let Some(id) = line.strip_prefix(COMMITTED).and_then(|rest| rest.strip_suffix('\n')) {
            reported.push(id.to_owned());
        }
        line.clear();
        if !killed && reported.len() as u64 >= commits {
            (0..moment).for_each(|_| std::hint::spin_loop());
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(killed, "the child ended by itself");
    child.wait().unwrap();
    reported
}

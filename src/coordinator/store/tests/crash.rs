//! kill -9 while policies are written: what was told as committed is there, and the file is whole.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::*;

const KILLS: u64 = 50;
/// What a child says before the name of what is on the disk.
pub(super) const COMMITTED: &str = "committed ";

/// The child's part: it writes until it is killed. In an ordinary run there is nothing to do.
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
        // Large, so that the write-ahead log is often folded in while the kill comes.
        let large = StoredPolicy { description: "x".repeat(4000), ..policy(&id, &id) };
        store.insert_policy(&large, BY).unwrap();
        // The line break comes first as well: the test harness leaves a line of its own unfinished.
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
        let child = again(&binary, module_path!(), "child_writes_policies_until_it_is_killed", &path);
        let told = write_and_kill(child, (seed >> 33) % 30, (seed >> 40) % 40_000);
        let store = open(&path);
        let found: HashSet<String> = store.policies().unwrap().into_iter().map(|policy| policy.id).collect();
        known.extend(told);
        let lost: Vec<_> = known.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        let more: Vec<_> = found.difference(&known).collect();
        assert!(more.len() <= 1, "round {round}: {more:?} were never told");
        known = found;
        let creations: u64 = first_page(&store).total;
        assert_eq!(creations, known.len() as u64, "round {round}: a policy and its audit row go together");
        assert_eq!(store.check(), StoreHealth::Ok);
        let check: String = store.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "round {round}");
    }
    assert!(known.len() as u64 > KILLS, "only {} policies were written", known.len());
}

/// Kills a writing child after it told of `commits` and a moment more, and gives what it told of.
pub(super) fn write_and_kill(mut command: Command, commits: u64, moment: u64) -> Vec<String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut told = Vec::new();
    let mut line = String::new();
    let mut killed = commits == 0;
    if killed {
        child.kill().unwrap();
    }
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line that the kill cut off has no end and tells nothing.
        if let Some(id) = line.strip_prefix(COMMITTED).and_then(|rest| rest.strip_suffix('\n')) {
            told.push(id.to_owned());
        }
        line.clear();
        if !killed && told.len() as u64 >= commits {
            (0..moment).for_each(|_| std::hint::spin_loop());
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(killed, "the child ended by itself");
    child.wait().unwrap();
    told
}

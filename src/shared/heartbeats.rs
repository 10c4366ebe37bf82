//! Heartbeats: each shard writes when it last swept its connections, the coordinator reads whether all of them still do. One
//! word per shard, written 40 times a second; nobody ever waits for one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Now;

/// A shard that has not swept for this long is stalled. Arbitrary: eighty sweeps, above what a busy machine makes a thread wait,
/// below what callers put up with.
pub const STALLED_MS: u64 = 2_000;

/// The last heartbeat of each shard.
#[derive(Debug)]
pub struct Heartbeats(Box<[AtomicU64]>);

impl Heartbeats {
    /// For shards numbered from zero. Until its first heartbeat, each counts as alive when the process started.
    pub fn new(shards: usize) -> Heartbeats {
        Heartbeats((0..shards).map(|_| AtomicU64::new(0)).collect())
    }

    /// Says that this shard is alive.
    pub fn beat(&self, shard: usize, now: Now) {
        if let Some(word) = self.0.get(shard) {
            word.store(now.mono_ms(), Ordering::Relaxed);
        }
    }

    /// The shards that have been silent for [`STALLED_MS`].
    pub fn stalled(&self, now: Now) -> impl Iterator<Item = usize> {
        let since = now.mono_ms().saturating_sub(STALLED_MS);
        self.0.iter().enumerate().filter(move |(_, word)| word.load(Ordering::Relaxed) < since).map(|(shard, _)| shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ns: mono_ms * 1_000_000, ..Now::default() }
    }

    #[test]
    fn silent_shard_is_stalled_until_it_beats_again() {
        let heartbeats = Heartbeats::new(2);
        let stalled = |mono_ms| heartbeats.stalled(at(mono_ms)).collect::<Vec<_>>();
        assert!(stalled(STALLED_MS).is_empty(), "none is at the start");
        heartbeats.beat(0, at(10_000));
        heartbeats.beat(1, at(10_000));
        assert!(stalled(10_000 + STALLED_MS).is_empty());
        heartbeats.beat(0, at(11_000));
        assert_eq!(stalled(10_001 + STALLED_MS), [1]);
        heartbeats.beat(1, at(12_500));
        assert!(stalled(10_001 + STALLED_MS).is_empty());
    }
}

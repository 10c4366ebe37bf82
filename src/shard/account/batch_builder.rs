//! Collects the usage of a shard's requests since its last batch, exactly, and the traces of some of them. Owned by the
//! shard. If the channel to the coordinator is full, a batch's usage goes back into the next one; its traces are dropped.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::link::trace::{CAPTURED_BODY_BYTES_MAX, Captured, Importance, Trace};
use crate::link::usage::{Latency, MINUTE_MS, PolicyCount, PolicyKey, UsageBatch, UsageCount, UsageKey, UsageTotals};
use crate::shard::judge::record::{End, Record};
use crate::who::Who;

/// Traces in one batch, in all and by importance: less important ones leave room for more important ones. Arbitrary: with
/// four batches a second, some two thousand traces per second and shard, which SQLite stores on a tenth of a core.
const TRACES_MAX: usize = 512;
const HITS_MAX: usize = 128;
const PLAIN_MAX: usize = 384;
/// Bytes of captured bodies in one batch; further traces have their bodies removed and are marked as cut. Arbitrary: with the
/// batches that may wait for the coordinator, see [`crate::link::EVENTS_BEHIND`], this is 128 MiB at most.
const BODIES_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(2 * CAPTURED_BODY_BYTES_MAX <= BODIES_BYTES_MAX, "a batch holds the bodies of one request");
/// Usage keys that are kept apart while no batch gets through. Beyond that, users and agents are counted together. Arbitrary.
const KEYS_MAX: usize = 65_536;
/// Stands for users and agents that are not kept apart.
const OTHER: &str = "other";

/// Builds one shard's batches.
pub(crate) struct BatchBuilder {
    boot: u128,
    shard: u16,
    /// Number of the last batch that was sent.
    sequence: u64,
    usage: HashTable<(UsageKey, UsageCount)>,
    hasher: DefaultHashBuilder,
    latency: HashMap<u64, Latency>,
    policies: HashMap<PolicyKey, PolicyCount>,
    traces: Vec<Trace>,
    /// Bytes of captured bodies in `traces`.
    bodies_bytes: usize,
    dropped: u64,
}

/// A [`UsageKey`] that borrows its text, for look-ups.
#[derive(Clone, Copy, PartialEq, Hash)]
struct BorrowedKey<'r> {
    minute: u64,
    who: Who<&'r str>,
    provider: &'r str,
    model: &'r str,
    status: u16,
}

impl<'r> BorrowedKey<'r> {
    fn of(key: &'r UsageKey) -> BorrowedKey<'r> {
        let UsageKey { minute, who, provider, model, status } = key;
        BorrowedKey { minute: *minute, who: who.as_str(), provider, model, status: *status }
    }

    fn matches(&self, key: &UsageKey) -> bool {
        *self == BorrowedKey::of(key)
    }

    fn to_owned(self) -> UsageKey {
        UsageKey {
            minute: self.minute,
            who: self.who.to_owned(),
            provider: self.provider.into(),
            model: self.model.into(),
            status: self.status,
        }
    }
}

impl BatchBuilder {
    /// `boot` identifies the run of the process; it is the same on all shards.
    pub(crate) fn new(boot: u128, shard: usize) -> BatchBuilder {
        BatchBuilder {
            boot,
            shard: u16::try_from(shard).unwrap_or(u16::MAX),
            sequence: 0,
            usage: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            latency: HashMap::new(),
            policies: HashMap::new(),
            traces: Vec::new(),
            bodies_bytes: 0,
            dropped: 0,
        }
    }

    /// Adds a finished request, with its trace if traces are kept.
    pub(crate) fn add_request(&mut self, record: &Record<'_>, end: End<'_>, keeps_traces: bool) {
        let minute = record.started.wall_ms / MINUTE_MS;
        let key = BorrowedKey {
            minute,
            who: record.names.who(),
            provider: record.provider,
            model: record.model(),
            status: end.status,
        };
        self.add(key, &record.count(end));
        self.latency.entry(minute).or_default().observe(record.duration_ns(end.now));
        self.add_matches(record, minute);
        // `GET /v1/models` leaves no trace unless it failed.
        if !keeps_traces || (record.operation.is_none() && end.status < 400) {
            return;
        }
        if self.accepts_trace(record.importance(end)) {
            let mut trace = record.trace(end);
            self.bound_bodies(&mut trace);
            self.traces.push(trace);
        } else {
            self.dropped += 1;
        }
    }

    fn add_matches(&mut self, record: &Record<'_>, minute: u64) {
        let policies = record.plan.policies.policies();
        for matched in &record.verdict.matches {
            let Some(policy) = policies.get(matched.policy) else { continue };
            let key = PolicyKey { minute, policy: (*policy.id).into(), action: matched.action, mode: matched.mode };
            let count = PolicyCount { matches: 1, effective: u64::from(matched.effective) };
            self.policies.entry(key).or_default().add(&count);
        }
    }

    fn add(&mut self, key: BorrowedKey<'_>, count: &UsageCount) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(key);
        if let Some((_, sum)) = self.usage.find_mut(hash, |(stored, _)| key.matches(stored)) {
            return sum.add(count);
        }
        if self.usage.len() >= KEYS_MAX && key.who.user != OTHER {
            return self.add(BorrowedKey { who: Who { user: OTHER, agent: OTHER, ..key.who }, ..key }, count);
        }
        let rehash = |(key, _): &(UsageKey, UsageCount)| hasher.hash_one(BorrowedKey::of(key));
        self.usage.insert_unique(hash, (key.to_owned(), *count), rehash);
    }

    fn accepts_trace(&self, importance: Importance) -> bool {
        let max = match importance {
            Importance::Hit => HITS_MAX,
            Importance::Plain => PLAIN_MAX,
            Importance::Kept => TRACES_MAX,
        };
        self.traces.len() < max
    }

    fn bound_bodies(&mut self, trace: &mut Trace) {
        let Some(captured) = &mut trace.captured else { return };
        let bytes = captured.request.len() + captured.answer.len();
        if self.bodies_bytes + bytes > BODIES_BYTES_MAX {
            *captured = Captured { cut: true, ..Captured::default() };
        } else {
            self.bodies_bytes += bytes;
        }
    }

    /// Drops the traces, but not the usage: the coordinator is behind.
    pub(crate) fn drop_traces(&mut self) {
        self.dropped += self.traces.len() as u64;
        self.traces.clear();
        self.bodies_bytes = 0;
    }

    /// The number of traces dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Ends the batch and returns it, or `None` if there is nothing to send.
    pub(crate) fn finish_batch(&mut self) -> Option<UsageBatch> {
        if self.usage.is_empty() {
            return None;
        }
        self.sequence += 1;
        let totals = UsageTotals {
            usage: self.usage.drain().collect(),
            latency: std::mem::take(&mut self.latency),
            policies: std::mem::take(&mut self.policies),
        };
        let traces = std::mem::take(&mut self.traces);
        self.bodies_bytes = 0;
        Some(UsageBatch { boot: self.boot, shard: self.shard, sequence: self.sequence, totals, traces })
    }

    /// Merges a batch that could not be sent into the next one, which reuses its sequence number.
    pub(crate) fn take_back(&mut self, batch: UsageBatch) {
        self.sequence -= 1;
        for (key, count) in &batch.totals.usage {
            self.add(BorrowedKey::of(key), count);
        }
        for (minute, latency) in batch.totals.latency {
            self.latency.entry(minute).or_default().merge(&latency);
        }
        for (key, count) in batch.totals.policies {
            self.policies.entry(key).or_default().add(&count);
        }
        self.dropped += batch.traces.len() as u64;
    }
}

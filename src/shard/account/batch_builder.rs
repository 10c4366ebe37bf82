//! What a shard's requests took since its last batch, exactly, and traces of some of them. Owned by the shard. A batch that
//! finds no room on its way to the coordinator comes back, its accounts whole; traces are what is given up.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::link::trace::{Captured, Importance, Trace};
use crate::link::usage::{Accounts, Batch, Latency, MINUTE_MS, PolicyCount, PolicyKey, UsageCount, UsageKey};
use crate::shard::account::trace::End;
use crate::shard::judge::record::Record;
use crate::who::Who;

/// Traces of one batch, by importance: those of less leave room for those of more. Arbitrary: at four batches a second some
/// thousand traces a second and shard, which SQLite takes on a tenth of a core.
const TRACES_MAX: usize = 512;
const HITS_MAX: usize = 128;
const PLAIN_MAX: usize = 384;
/// Recorded bodies of one batch; a trace beyond says that its own are cut. Arbitrary: with the batches that may wait for the
/// coordinator, see [`crate::link::EVENTS_BEHIND`], 128 MiB at most.
const BODIES_BYTES_MAX: usize = 1 << 20;
/// Different keys that are kept apart while no batch gets through; beyond, users and agents count together. Arbitrary.
const KEYS_MAX: usize = 65_536;
/// In place of a user and an agent who are not kept apart.
const OTHER: &str = "other";

/// One shard's books.
pub(crate) struct Books {
    boot: u128,
    shard: u16,
    /// Of the last batch that was sent.
    sequence: u64,
    usage: HashTable<(UsageKey, UsageCount)>,
    hasher: DefaultHashBuilder,
    latency: HashMap<u64, Latency>,
    policies: HashMap<PolicyKey, PolicyCount>,
    traces: Vec<Trace>,
    /// Of the traces' recorded bodies.
    bodies_bytes: usize,
    dropped: u64,
}

/// A key that is looked up, without its memory.
#[derive(Clone, Copy, PartialEq, Hash)]
struct Looked<'r> {
    minute: u64,
    who: Who<&'r str>,
    provider: &'r str,
    model: &'r str,
    status: u16,
}

impl<'r> Looked<'r> {
    fn of(key: &'r UsageKey) -> Looked<'r> {
        let UsageKey { minute, who, provider, model, status } = key;
        Looked { minute: *minute, who: who.as_str(), provider, model, status: *status }
    }

    fn is(&self, key: &UsageKey) -> bool {
        *self == Looked::of(key)
    }

    fn owned(&self) -> UsageKey {
        UsageKey {
            minute: self.minute,
            who: self.who.to_owned(),
            provider: self.provider.into(),
            model: self.model.into(),
            status: self.status,
        }
    }
}

impl Books {
    /// `boot` names the process's run, the same on all its shards.
    pub(crate) fn new(boot: u128, shard: usize) -> Books {
        Books {
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

    /// Takes a request in that is over, with its trace if traces are kept.
    pub(crate) fn take(&mut self, record: &Record<'_>, end: End<'_>, keeps_traces: bool) {
        let minute = record.started.wall_ms / MINUTE_MS;
        let looked = Looked {
            minute,
            who: record.names.who(),
            provider: record.provider,
            model: record.model(),
            status: end.status,
        };
        self.add(looked, &record.count(end));
        self.latency.entry(minute).or_default().observe(record.took_ns(end.now));
        self.take_matches(record, minute);
        // What asks for nothing of a model and gets it is of no interest: the list of models.
        if !keeps_traces || (record.operation.is_none() && end.status < 400) {
            return;
        }
        if self.has_room(record.importance(end)) {
            let mut trace = record.trace(end);
            self.bound_bodies(&mut trace);
            self.traces.push(trace);
        } else {
            self.dropped += 1;
        }
    }

    fn take_matches(&mut self, record: &Record<'_>, minute: u64) {
        let policies = record.plan.map(|plan| plan.policies.policies()).unwrap_or_default();
        for matched in &record.verdict.matches {
            let Some(policy) = policies.get(matched.policy) else { continue };
            let key = PolicyKey { minute, policy: (*policy.id).into(), action: matched.action, mode: matched.mode };
            let count = PolicyCount { matches: 1, effective: u64::from(matched.effective) };
            self.policies.entry(key).or_default().add(&count);
        }
    }

    fn add(&mut self, looked: Looked<'_>, count: &UsageCount) {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(looked);
        if let Some((_, sum)) = self.usage.find_mut(hash, |(key, _)| looked.is(key)) {
            return sum.add(count);
        }
        if self.usage.len() >= KEYS_MAX && looked.who.user != OTHER {
            return self.add(Looked { who: Who { user: OTHER, agent: OTHER, ..looked.who }, ..looked }, count);
        }
        let rehash = |(key, _): &(UsageKey, UsageCount)| hasher.hash_one(Looked::of(key));
        self.usage.insert_unique(hash, (looked.owned(), *count), rehash);
    }

    fn has_room(&self, importance: Importance) -> bool {
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

    /// Gives the traces up, not the accounts: the coordinator has enough to do.
    pub(crate) fn give_up_traces(&mut self) {
        self.dropped += self.traces.len() as u64;
        self.traces.clear();
        self.bodies_bytes = 0;
    }

    /// Traces that were given up since this was last asked.
    pub(crate) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// What there is to send.
    pub(crate) fn close(&mut self) -> Option<Batch> {
        if self.usage.is_empty() {
            return None;
        }
        self.sequence += 1;
        let accounts = Accounts {
            usage: self.usage.drain().collect(),
            latency: std::mem::take(&mut self.latency),
            policies: std::mem::take(&mut self.policies),
        };
        let traces = std::mem::take(&mut self.traces);
        self.bodies_bytes = 0;
        Some(Batch { boot: self.boot, shard: self.shard, sequence: self.sequence, accounts, traces })
    }

    /// A batch that was not sent: its accounts go with the next one, of which it has the number.
    pub(crate) fn reopen(&mut self, batch: Batch) {
        self.sequence -= 1;
        for (key, count) in &batch.accounts.usage {
            self.add(Looked::of(key), count);
        }
        for (minute, latency) in batch.accounts.latency {
            self.latency.entry(minute).or_default().merge(&latency);
        }
        for (key, count) in batch.accounts.policies {
            self.policies.entry(key).or_default().add(&count);
        }
        self.dropped += batch.traces.len() as u64;
    }
}

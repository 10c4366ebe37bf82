//! Usage by minute, identity, provider and model: additive, so that two totals merge into one, and a batch that found its
//! channel full merges back. Counted by a shard, kept by the store. Nothing here is sampled or dropped.

use hashbrown::HashMap;

use super::trace::{Marks, Trace};
use crate::policy::{Action, Mode};
use crate::units::MicroUsd;
use crate::who::Who;

/// One flush of a shard. The store applies each (boot, shard, sequence) once, however often and in whatever order it arrives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageBatch {
    /// A random number that the process draws at its start.
    pub boot: u128,
    pub shard: u16,
    /// Number of the batch among those of this shard, from 1.
    pub sequence: u64,
    pub totals: UsageTotals,
    /// Traces of the requests; some may have been dropped.
    pub traces: Vec<Trace>,
}

/// Exact totals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageTotals {
    pub usage: HashMap<UsageKey, UsageCount>,
    /// Durations of requests, by minute.
    pub latency: HashMap<u64, Latency>,
    pub policies: HashMap<PolicyKey, PolicyCount>,
}

/// The key that usage is counted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The minute in which the request started, since the Unix epoch.
    pub minute: u64,
    pub who: Who,
    pub provider: Box<str>,
    /// The model that was used.
    pub model: Box<str>,
    pub status: u16,
}

/// The usage under one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCount {
    pub requests: u64,
    pub spans: u64,
    pub input: u64,
    pub output: u64,
    pub total: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub reasoning: u64,
    pub cost: MicroUsd,
    pub saved: MicroUsd,
    pub hits: u64,
    pub misses: u64,
    pub blocked: u64,
    /// See [`Marks::ERROR`].
    pub errors: u64,
    /// In microseconds, each request's rounded down: a sum of nanoseconds in SQLite would overflow after 292 years.
    pub duration_us: u64,
}

/// The key that matches of policies are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    pub minute: u64,
    /// The policy's id.
    pub policy: Box<str>,
    pub action: Action,
    pub mode: Mode,
}

/// How often a policy matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyCount {
    pub matches: u64,
    pub effective: u64,
}

impl UsageTotals {
    /// Counts one request.
    pub fn count(&mut self, trace: &Trace) {
        let minute = trace.started_ms / MINUTE_MS;
        let key = UsageKey {
            minute,
            who: trace.who.clone(),
            provider: trace.provider.clone(),
            model: trace.model.clone(),
            status: trace.status,
        };
        self.usage.entry(key).or_default().add(&UsageCount::of(trace));
        self.latency.entry(minute).or_default().observe(trace.duration_ns);
        for matched in &trace.matches {
            let key = PolicyKey { minute, policy: matched.id.clone(), action: matched.action, mode: matched.mode };
            let count = PolicyCount { matches: 1, effective: u64::from(matched.effective) };
            self.policies.entry(key).or_default().add(&count);
        }
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: UsageTotals) {
        for (key, count) in other.usage {
            self.usage.entry(key).or_default().add(&count);
        }
        for (minute, latency) in other.latency {
            self.latency.entry(minute).or_default().merge(&latency);
        }
        for (key, count) in other.policies {
            self.policies.entry(key).or_default().add(&count);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.usage.is_empty()
    }
}

impl UsageCount {
    /// The usage of one request.
    pub fn of(trace: &Trace) -> UsageCount {
        let marks = trace.marks();
        let one_if = |mark| u64::from(marks.has(mark));
        UsageCount {
            requests: 1,
            spans: trace.spans(),
            input: trace.usage.input,
            output: trace.usage.output,
            total: trace.usage.total,
            cache_read: trace.usage.cache_read,
            cache_write: trace.usage.cache_write,
            reasoning: trace.usage.reasoning,
            cost: trace.cost,
            saved: trace.saved,
            hits: one_if(Marks::HIT),
            misses: one_if(Marks::MISS),
            blocked: one_if(Marks::BLOCKED),
            errors: one_if(Marks::ERROR),
            duration_us: trace.duration_ns / 1000,
        }
    }

    pub fn add(&mut self, other: &UsageCount) {
        for (mine, more) in [
            (&mut self.requests, other.requests),
            (&mut self.spans, other.spans),
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.total, other.total),
            (&mut self.cache_read, other.cache_read),
            (&mut self.cache_write, other.cache_write),
            (&mut self.reasoning, other.reasoning),
            (&mut self.hits, other.hits),
            (&mut self.misses, other.misses),
            (&mut self.blocked, other.blocked),
            (&mut self.errors, other.errors),
            (&mut self.duration_us, other.duration_us),
        ] {
            *mine = mine.saturating_add(more);
        }
        self.cost = self.cost.saturating_add(other.cost);
        self.saved = self.saved.saturating_add(other.saved);
    }
}

impl PolicyCount {
    pub fn add(&mut self, other: &PolicyCount) {
        self.matches = self.matches.saturating_add(other.matches);
        self.effective = self.effective.saturating_add(other.effective);
    }
}

/// Durations in buckets of 1/16 of a power of two, so that a percentile is off by at most 3.2 %. These are the buckets of
/// HdrHistogram in microseconds; only buckets that are not empty are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Bucket and count, in rising order.
    buckets: Vec<(u16, u64)>,
}

const SUB_BITS: u32 = 4;
const SUBS: u64 = 1 << SUB_BITS;

impl Latency {
    /// Counts one duration.
    pub fn observe(&mut self, duration_ns: u64) {
        self.add(bucket(duration_ns / 1000), 1);
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Latency) {
        other.buckets.iter().for_each(|&(bucket, count)| self.add(bucket, count));
    }

    /// The duration that `percent` of the requests did not exceed, in milliseconds: the middle of its bucket. `None` without
    /// requests.
    pub fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let requests = self.requests();
        let rank = ((percent / 100.0) * requests as f64).ceil().max(1.0) as u64;
        let mut passed = 0;
        let reached = self.buckets.iter().find(|(_, count)| {
            passed += count;
            passed >= rank
        });
        let (bucket, _) = reached.or(self.buckets.last())?;
        Some(middle_us(*bucket) / 1000.0)
    }

    pub fn requests(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Encodes the histogram for the store: for each bucket, the distance to the one before it and the count, both as LEB128.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.buckets.len() * 3);
        let mut before = 0;
        for &(bucket, count) in &self.buckets {
            put_varint(&mut bytes, u64::from(bucket - before));
            put_varint(&mut bytes, count);
            before = bucket;
        }
        bytes
    }

    /// Adds a histogram that [`Latency::encode`] wrote. Stops at the first invalid byte: a file may hold anything.
    pub fn merge_encoded(&mut self, mut bytes: &[u8]) {
        let mut bucket = 0_u16;
        while let (Some(distance), Some(count)) = (take_varint(&mut bytes), take_varint(&mut bytes)) {
            let Some(next) = u16::try_from(distance).ok().and_then(|distance| bucket.checked_add(distance)) else {
                return;
            };
            bucket = next;
            self.add(bucket, count);
        }
    }

    fn add(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => {
                if let Some((_, mine)) = self.buckets.get_mut(at) {
                    *mine = mine.saturating_add(count);
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }
}

fn bucket(us: u64) -> u16 {
    if us < SUBS {
        return us as u16;
    }
    let power = 63 - us.leading_zeros();
    // At most 60 · 16 + 15.
    ((u64::from(power - SUB_BITS + 1) << SUB_BITS) + ((us >> (power - SUB_BITS)) & (SUBS - 1))) as u16
}

fn middle_us(bucket: u16) -> f64 {
    let bucket = u64::from(bucket);
    if bucket < SUBS {
        return bucket as f64 + 0.5;
    }
    let (power, sub) = (bucket >> SUB_BITS, bucket & (SUBS - 1));
    let width = 2_f64.powi(i32::try_from(power - 1).unwrap_or(i32::MAX));
    ((SUBS + sub) as f64 + 0.5) * width
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub const MINUTE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_no_gaps_and_contain_their_middle() {
        let mut last = 0;
        for us in 0..200_000_u64 {
            let bucket = bucket(us);
            assert!(bucket == last || bucket == last + 1, "{us}");
            last = bucket;
            assert!((middle_us(bucket) - us as f64).abs() <= (us as f64 / 31.0).max(0.5), "{us}");
        }
        assert!(u32::from(bucket(u64::MAX)) < 1024);
    }

    #[test]
    fn percentiles_are_within_three_percent_of_the_sorted_list() {
        let mut seed = 17_u64;
        let mut latency = Latency::default();
        let mut all: Vec<u64> = (0..10_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % 1_000_000_000 + 1_000_000
            })
            .collect();
        all.iter().for_each(|ns| latency.observe(*ns));
        all.sort_unstable();
        for percent in [50.0, 95.0, 99.0] {
            let exact = all[(all.len() as f64 * percent / 100.0) as usize - 1] as f64 / 1e6;
            let estimate = latency.percentile_ms(percent).unwrap();
            assert!((estimate - exact).abs() <= exact * 0.032, "{percent}: {estimate} of {exact}");
        }
        assert_eq!(Latency::default().percentile_ms(50.0), None);
    }

    #[test]
    fn encoded_histogram_is_decoded_and_added() {
        let mut latency = Latency::default();
        for us in [0, 3, 3, 77, 12_345, 12_345, u64::MAX / 1000] {
            latency.observe(us * 1000);
        }
        let mut back = Latency::default();
        back.merge_encoded(&latency.encode());
        assert_eq!(back, latency);
        back.merge_encoded(&latency.encode());
        assert_eq!(back.requests(), 14);
    }

    #[test]
    fn arbitrary_bytes_decode_to_a_sorted_histogram() {
        let mut seed = 3_u64;
        for length in 0..300 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 40) as u8
                })
                .collect();
            let mut latency = Latency::default();
            latency.merge_encoded(&bytes);
            assert!(latency.buckets.is_sorted());
        }
    }
}

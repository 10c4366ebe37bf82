//! The key under which an answer is cached. It covers the request body, the model, the operation and the group of callers.
//! Each shard owns one [`Keys`], and all of them have the same secret. Two requests that could be answered differently never
//! get the same key: anything in doubt is part of the key.

use std::num::NonZeroUsize;

use super::canonical::Canonical;
use super::hash::{Fingerprint, HashKey};
use super::memo::Memo;
use crate::llm::{Facts, Operation};

/// Identifies equivalent requests, in this process only. Uniformly distributed over all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// Returns the number of the shard that holds the entry, below `shards`.
    #[inline]
    pub fn owner(self, shards: NonZeroUsize) -> usize {
        // Scales the upper half to the range of shards; hash tables use the lower half.
        let half = (self.0 >> 64) as u64;
        ((u128::from(half) * shards.get() as u128) >> 64) as usize
    }

    /// Returns the hash to use in a hash table.
    #[inline]
    pub(super) fn table_hash(self) -> u64 {
        self.0 as u64
    }

    #[cfg(test)]
    pub(super) fn of_number(number: u64) -> Key {
        // Spread over both halves, like a real key.
        let mut seed = crate::seeded::Seeded::new(number);
        Key(u128::from(seed.next()) << 64 | u128::from(seed.next()))
    }
}

/// The parts of a request that make up its key.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Group of callers that share the answer; the empty name is also a group. `None`: every caller shares it.
    pub shared_within: Option<&'a str>,
    /// Operation requested from the model.
    pub operation: Operation,
    /// Effective model, after every downgrade.
    pub model: &'a str,
    /// The same body that the facts were read from.
    pub body: &'a [u8],
    /// Nesting limit that the facts were read with (`limits.json_depth`).
    pub depth_max: usize,
}

/// Returns true if a request may use the cache at all, to read or to store: its `temperature` is exactly 0, and it does not
/// stream.
pub fn is_cacheable(facts: &Facts<'_>) -> bool {
    facts.temperature == Some(0.0) && !facts.stream
}

/// Makes keys, and remembers those of recently seen bodies.
#[derive(Debug)]
pub struct Keys {
    hash_key: HashKey,
    canonical: Canonical,
    memo: Memo,
}

impl Keys {
    /// All shards of a process must pass the same secret.
    pub fn new(hash_key: HashKey) -> Keys {
        Keys { hash_key, canonical: Canonical::new(hash_key), memo: Memo::new() }
    }

    /// Returns the key of a request, or `None` when its answer depends on state at the provider (`conversation`) or comes
    /// later (`background`).
    #[inline]
    pub fn key(&mut self, asked: &Asked<'_>) -> Option<Key> {
        self.key_of(self.hash_key.fingerprint(asked.body), asked)
    }

    /// Like [`Keys::key`], for a body whose fingerprint is already known.
    #[inline]
    pub fn key_of(&mut self, body: Fingerprint, asked: &Asked<'_>) -> Option<Key> {
        if let Some(key) = self.memo.find(body, asked) {
            return key;
        }
        let key = self.canonical_key(asked);
        self.memo.note(body, asked, key);
        key
    }

    /// Computes the key without the memo of recently seen bodies.
    pub fn canonical_key(&mut self, asked: &Asked<'_>) -> Option<Key> {
        let start = |out: &mut Vec<u8>| {
            let (tag, group) = match asked.shared_within {
                None => (0, ""),
                Some(group) => (1, group),
            };
            out.extend_from_slice(&[tag, asked.operation as u8]);
            for text in [group, asked.model] {
                out.extend_from_slice(&(text.len() as u64).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        };
        // A body that the facts were read from is well-formed. If it were malformed, it would just not be cached.
        self.canonical.hash(start, asked.body, asked.depth_max).ok().map(Key)
    }
}

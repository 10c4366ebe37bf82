//! The key under which an answer is cached: what was asked, of which model, at which operation, for whom.
//! Each shard has one [`Keys`], all of them with the same secret. It never makes one key of two requests that could be
//! answered differently: what is in doubt counts.

use std::num::NonZeroUsize;

use super::canonical::Canonical;
use super::hash::{Fingerprint, HashKey};
use super::memo::Memo;
use crate::llm::{Facts, Operation};

/// Names what was asked, in this process only. Uniform over all its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// The shard that holds the entry, of so many.
    #[inline]
    pub fn owner(self, shards: NonZeroUsize) -> usize {
        // The upper half scaled to the range; the lower half is what tables look at.
        let half = (self.0 >> 64) as u64;
        ((u128::from(half) * shards.get() as u128) >> 64) as usize
    }

    /// For a hash table.
    #[inline]
    pub(super) fn table_hash(self) -> u64 {
        self.0 as u64
    }

    #[cfg(test)]
    pub(super) fn of_number(number: u64) -> Key {
        // Spread over both halves, as a real one is.
        let mut seed = crate::seeded::Seeded::new(number);
        Key(u128::from(seed.next()) << 64 | u128::from(seed.next()))
    }
}

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The group of callers that share the answer; an empty name is a group of its own. `None`: every caller shares it.
    pub shared_within: Option<&'a str>,
    /// What is asked of the model.
    pub operation: Operation,
    /// The effective one, after every downgrade.
    pub model: &'a str,
    /// As the facts were read from it.
    pub body: &'a [u8],
    /// As the facts were read with (`limits.json_depth`).
    pub depth_max: usize,
}

/// Whether a request's answer may come from the cache and go there at all: `temperature` exactly 0, not streaming.
pub fn is_cacheable(facts: &Facts<'_>) -> bool {
    facts.temperature == Some(0.0) && !facts.stream
}

/// Makes keys; remembers those of bodies that came lately.
#[derive(Debug)]
pub struct Keys {
    hash_key: HashKey,
    canonical: Canonical,
    memo: Memo,
}

impl Keys {
    /// All shards of a process need the same secret.
    pub fn new(hash_key: HashKey) -> Keys {
        Keys { hash_key, canonical: Canonical::new(hash_key), memo: Memo::new() }
    }

    /// The key of a request, if there is one: an answer that depends on state at the provider (`conversation`) or comes
    /// later (`background`) has none.
    #[inline]
    pub fn key(&mut self, asked: &Asked<'_>) -> Option<Key> {
        self.key_of(self.hash_key.fingerprint(asked.body), asked)
    }

    /// The same where the body's fingerprint is known already.
    #[inline]
    pub fn key_of(&mut self, body: Fingerprint, asked: &Asked<'_>) -> Option<Key> {
        if let Some(key) = self.memo.find(body, asked) {
            return key;
        }
        let key = self.canonical_key(asked);
        self.memo.note(body, asked, key);
        key
    }

    /// Without the memory of bodies that came lately.
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
        // What went through the facts is not malformed; if it were, it would not be cached.
        self.canonical.hash(start, asked.body, asked.depth_max).ok().map(Key)
    }
}

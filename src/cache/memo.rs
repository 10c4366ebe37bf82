//! Keys of recently seen bodies, so that a prompt repeated byte for byte is hashed once and not walked.
//! Owned by one shard. The number of slots is fixed, and a body can occupy either of two. The memo holds no bodies: a
//! fingerprint is as good as the body, because it is keyed and has 128 bits.

use super::hash::Fingerprint;
use super::key::{Asked, Key};
use crate::llm::Operation;

/// Maps bodies to keys.
#[derive(Debug)]
pub(super) struct Memo {
    /// Pairs of slots; the first slot of a pair is the more recently used.
    slots: Box<[Option<Slot>]>,
}

#[derive(Debug)]
struct Slot {
    body: Fingerprint,
    operation: Operation,
    shared_within: Option<Box<str>>,
    model: Box<str>,
    key: Option<Key>,
}

impl Slot {
    fn is_of(&self, body: Fingerprint, asked: &Asked<'_>) -> bool {
        self.body == body
            && self.operation == asked.operation
            && *self.model == *asked.model
            && self.shared_within.as_deref() == asked.shared_within
    }
}

impl Memo {
    pub(super) fn new() -> Memo {
        Memo { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// The outer `None` means that the memo does not know the body.
    #[inline]
    pub(super) fn find(&mut self, body: Fingerprint, asked: &Asked<'_>) -> Option<Option<Key>> {
        let pair = self.pair(body)?;
        let is_it = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.is_of(body, asked));
        if !is_it(&pair[0]) {
            if !is_it(&pair[1]) {
                return None;
            }
            pair.swap(0, 1);
        }
        pair[0].as_ref().map(|slot| slot.key)
    }

    /// Replaces the less recently used of the body's two slots.
    pub(super) fn note(&mut self, body: Fingerprint, asked: &Asked<'_>, key: Option<Key>) {
        let shared_within = asked.shared_within.map(Into::into);
        let slot = Slot { body, operation: asked.operation, shared_within, model: asked.model.into(), key };
        if let Some(pair) = self.pair(body) {
            pair.swap(0, 1);
            pair[0] = Some(slot);
        }
    }

    #[inline]
    fn pair(&mut self, body: Fingerprint) -> Option<&mut [Option<Slot>; 2]> {
        let (pairs, _) = self.slots.as_chunks_mut::<2>();
        pairs.get_mut(body.0 as usize % (SLOTS / 2))
    }
}

/// Number of slots. Arbitrary: each takes 80 bytes and two short texts, so a full memo takes half a megabyte per shard.
const SLOTS: usize = 4096;
const _: () = assert!(SLOTS.is_multiple_of(2));

//! The keys of bodies that came lately, so that a prompt that is asked again byte for byte is hashed once and not walked.
//! Owned by one shard; a fixed number of slots, of which a body can stand in two. It holds no bodies: a fingerprint is as
//! good, because it is keyed and of 128 bits.

use super::hash::Fingerprint;
use super::key::{Asked, Key};
use crate::llm::Operation;

/// Bodies to keys.
#[derive(Debug)]
pub(super) struct Memo {
    /// Pairs; the first of a pair was used last.
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

    /// The outer `None` is: not known.
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

    /// In the place of the one of two that was not used for longer.
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

/// Arbitrary: 80 bytes each and two short texts, so half a megabyte a shard when all are taken.
const SLOTS: usize = 4096;
const _: () = assert!(SLOTS.is_multiple_of(2));

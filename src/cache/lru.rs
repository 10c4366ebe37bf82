//! Entries by key, in order of last use: an index over nodes that are linked by number.
//! Owned by one shard. The owner's store and each front are built on it. Every operation on one entry is O(1), and it evicts
//! nothing by itself.

use std::sync::Arc;

use hashbrown::HashTable;

use super::entry::CachedAnswer;
use super::key::Key;

/// A linked list of entries with an index by key.
#[derive(Debug)]
pub(super) struct Lru {
    /// Positions in `nodes`.
    index: HashTable<u32>,
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
    /// First of the nodes without an entry, which are linked by `older`.
    free: u32,
    bytes: usize,
    /// Position where the next sweep step begins.
    cursor: usize,
}

#[derive(Debug)]
struct Node {
    entry: Option<Arc<CachedAnswer>>,
    newer: u32,
    older: u32,
}

/// Action to take on an entry that the sweep visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// Make it the most recently used.
    Renew,
    Remove,
}

/// Most entries and bytes that may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of entries.
    pub items: usize,
    /// Total size of the entries ([`CachedAnswer::size`]).
    pub bytes: usize,
}

impl Limits {
    /// Returns one shard's part of limits that apply to all shards together; the parts add up to the whole.
    pub fn share(self, shard: usize, shards: std::num::NonZeroUsize) -> Limits {
        let part = |whole: usize| whole / shards + usize::from(shard < whole % shards);
        Limits { items: part(self.items), bytes: part(self.bytes) }
    }
}

impl Lru {
    pub(super) fn new() -> Lru {
        Lru { index: HashTable::new(), nodes: Vec::new(), newest: NONE, oldest: NONE, free: NONE, bytes: 0, cursor: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if `more` further entries of `bytes` in total would stay within the limits.
    pub(super) fn fits(&self, limits: Limits, more: usize, bytes: usize) -> bool {
        self.len() + more <= limits.items && self.bytes.saturating_add(bytes) <= limits.bytes
    }

    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        let is_it = |&at: &u32| self.entry(at).is_some_and(|entry| entry.key() == key);
        self.index.find(key.table_hash(), is_it).copied()
    }

    #[inline]
    pub(super) fn entry(&self, at: u32) -> Option<&Arc<CachedAnswer>> {
        self.nodes.get(at as usize)?.entry.as_ref()
    }

    /// Returns the least recently used entry.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Inserts the entry as the newest. Its key must not be present yet.
    pub(super) fn insert(&mut self, entry: Arc<CachedAnswer>) {
        self.bytes += entry.size();
        let hash = entry.key().table_hash();
        let node = Node { entry: Some(entry), newer: NONE, older: NONE };
        let at = self.free;
        let at = match self.nodes.get_mut(at as usize) {
            Some(free) => {
                self.free = free.older;
                *free = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("lists are bounded far below 2³²")
            }
        };
        self.link(at);
        let nodes = &self.nodes;
        let hash_at = |&at: &u32| nodes[at as usize].entry.as_ref().map_or(0, |entry| entry.key().table_hash());
        self.index.insert_unique(hash, at, hash_at);
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Arc<CachedAnswer>> {
        let entry = self.nodes.get_mut(at as usize)?.entry.take()?;
        self.unlink(at);
        self.nodes[at as usize].older = self.free;
        self.free = at;
        self.bytes -= entry.size();
        let found = self.index.find_entry(entry.key().table_hash(), |&indexed| indexed == at);
        found.expect("all that is held is indexed").remove();
        Some(entry)
    }

    /// Makes the entry the newest.
    #[inline]
    pub(super) fn renew(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    /// Visits at most `most` places, starting where the last call stopped, and applies `fate` to the entries there. Passes
    /// each removed entry to `gone`.
    pub(super) fn sweep(
        &mut self,
        most: usize,
        mut fate: impl FnMut(&CachedAnswer) -> Fate,
        mut gone: impl FnMut(Arc<CachedAnswer>),
    ) {
        for _ in 0..most.min(self.nodes.len()) {
            let at = self.cursor as u32;
            self.cursor = (self.cursor + 1) % self.nodes.len();
            match self.entry(at).map_or(Fate::Keep, |entry| fate(entry)) {
                Fate::Keep => {}
                Fate::Renew => self.renew(at),
                Fate::Remove => self.remove(at).into_iter().for_each(&mut gone),
            }
        }
    }

    fn link(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        let node = &mut self.nodes[at as usize];
        (node.newer, node.older) = (NONE, before);
        match self.nodes.get_mut(before as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }
}

/// Marks the absence of a node: no node has this number.
const NONE: u32 = u32::MAX;
/// Bytes per entry: a node, and its slot in the index (the node's number and a control byte), counted twice because the
/// index may be only half full.
pub(super) const NODE_BYTES: usize = size_of::<Node>() + 2 * (size_of::<u32>() + 1);

//! A map that can be walked in small steps and sampled at random: an index over a dense list. Each shard has one, and
//! the registry has some behind locks. Whoever owns it bounds its size and computes the hash of a key once.

use hashbrown::HashTable;

/// Entries that are found by a hash and an equality test.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// Positions in `held`, by hash.
    index: HashTable<u32>,
    held: Vec<Held<T>>,
    /// Position at which the next step of the sweep begins.
    cursor: usize,
}

/// An entry.
#[derive(Debug)]
pub(super) struct Held<T> {
    hash: u64,
    /// The period in which it was last looked up.
    pub(super) seen: u64,
    pub(super) it: T,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { index: HashTable::new(), held: Vec::new(), cursor: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    #[inline]
    pub(super) fn find(&mut self, hash: u64, same: impl Fn(&T) -> bool) -> Option<&mut Held<T>> {
        let held = &mut self.held;
        let at = *self.index.find(hash, |&at| same(&held[at as usize].it))?;
        held.get_mut(at as usize)
    }

    /// The key must not be present yet.
    pub(super) fn insert(&mut self, hash: u64, seen: u64, it: T) {
        let at = u32::try_from(self.held.len()).expect("tables are bounded far below 2³²");
        self.held.push(Held { hash, seen, it });
        let held = &self.held;
        self.index.insert_unique(hash, at, |&at| held[at as usize].hash);
    }

    /// Removes the entry at this position. The last entry takes its place.
    pub(super) fn remove(&mut self, at: usize) -> Held<T> {
        let gone = self.held.swap_remove(at);
        let last = self.held.len();
        self.index.find_entry(gone.hash, |&entry| entry as usize == at).expect("all that is held is indexed").remove();
        if let Some(moved) = self.held.get(at) {
            let entry = self.index.find_mut(moved.hash, |&entry| entry as usize == last);
            *entry.expect("all that is held is indexed") = at as u32;
        }
        gone
    }

    /// Removes the entry that [`Table::find`] would find.
    pub(super) fn remove_same(&mut self, hash: u64, same: impl Fn(&T) -> bool) -> Option<Held<T>> {
        let at = *self.index.find(hash, |&at| same(&self.held[at as usize].it))?;
        Some(self.remove(at as usize))
    }

    /// Checks at most `most` entries, from where the last call stopped, and removes those that are `gone`. Returns how
    /// many were checked: fewer than `most` at the end of the table, and the next call starts over.
    pub(super) fn sweep(&mut self, most: usize, mut gone: impl FnMut(&mut Held<T>) -> bool) -> usize {
        for looked_at in 0..most {
            let Some(held) = self.held.get_mut(self.cursor) else {
                self.cursor = 0;
                return looked_at;
            };
            if gone(held) {
                self.remove(self.cursor);
            } else {
                self.cursor += 1;
            }
        }
        most
    }

    /// Position of the least recently used of a few random entries.
    pub(super) fn idlest<K: Ord>(&self, seed: u64, last_used: impl Fn(&Held<T>) -> K) -> Option<usize> {
        let count = self.held.len() as u64;
        // An odd constant of SplitMix64 spreads the seed, which is a keyed hash already.
        let draw = |n: u64| (seed.wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).checked_rem(count);
        let drawn = (0..SAMPLES).filter_map(draw).map(|at| at as usize);
        drawn.min_by_key(|&at| self.held.get(at).map(&last_used))
    }
}

/// Redis's default (`maxmemory-samples`): the idlest of five is, on average, among the idlest sixth.
const SAMPLES: u64 = 5;

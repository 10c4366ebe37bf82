//! A map that can be walked in small steps and sampled at random: an index over a dense list.
//! Each shard has one, the registry has some behind locks. It never grows by itself past what its user allows, and it
//! is keyed by a hash that the user computes once.

use hashbrown::HashTable;

/// Things found by a hash and a test for sameness.
#[derive(Debug)]
pub(super) struct Table<T> {
    /// Positions in `held`.
    index: HashTable<u32>,
    held: Vec<Held<T>>,
    /// Where the next step of the sweep begins.
    cursor: usize,
}

#[derive(Debug)]
pub(super) struct Held<T> {
    hash: u64,
    /// The period in which it was last asked for.
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

    /// Its like must not be in the table.
    pub(super) fn insert(&mut self, hash: u64, seen: u64, it: T) {
        let at = u32::try_from(self.held.len()).expect("tables are bounded far below 2³²");
        self.held.push(Held { hash, seen, it });
        let held = &self.held;
        self.index.insert_unique(hash, at, |&at| held[at as usize].hash);
    }

    /// Removes what stands at this position; the last one takes its place.
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

    /// Removes the like of what [`Table::find`] finds.
    pub(super) fn remove_same(&mut self, hash: u64, same: impl Fn(&T) -> bool) -> Option<Held<T>> {
        let at = *self.index.find(hash, |&at| same(&self.held[at as usize].it))?;
        Some(self.remove(at as usize))
    }

    /// Looks at `most` of them at most, from where the last call stopped, and removes those that are `gone`. How many
    /// it looked at; fewer than `most` when it came to the end, and the next call begins anew.
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

    /// Of a few taken at random, the position of the one that was last used the longest time ago.
    pub(super) fn idlest<K: Ord>(&self, seed: u64, last_used: impl Fn(&Held<T>) -> K) -> Option<usize> {
        let count = self.held.len() as u64;
        // An odd constant of SplitMix64 spreads the seed, which is a keyed hash already.
        let draw = |n: u64| (seed.wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).checked_rem(count);
        let drawn = (0..SAMPLES).filter_map(draw).map(|at| at as usize);
        drawn.min_by_key(|&at| self.held.get(at).map(&last_used))
    }
}

/// As many as Redis takes by default (`maxmemory-samples`): the idlest of five is, on average, of the idlest sixth.
const SAMPLES: u64 = 5;

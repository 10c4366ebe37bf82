//! Seeded randomness for tests: the same seed gives the same values on every machine, so that a failure can be repeated.
//! Tests only. Never used for anything that must not be guessed.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, good enough to pick test input.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Seeded(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in `n` calls on average.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Up to `pieces` pieces of `alphabet` in random order, with some random bytes between them. Hits a parser's structure
    /// far more often than plain noise does.
    pub(crate) fn soup(&mut self, alphabet: &[&[u8]], pieces: usize) -> Vec<u8> {
        let mut soup = Vec::new();
        for _ in 0..self.below(pieces + 1) {
            match self.below(16) {
                0 => soup.push(self.next() as u8),
                _ => soup.extend_from_slice(alphabet[self.below(alphabet.len())]),
            }
        }
        soup
    }
}

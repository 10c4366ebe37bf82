//! Seeded randomness for the parsers' tests: the same seed gives the same bytes on every machine.
//! Tests only. It is never used for anything that must not be guessed.

/// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, good enough to pick test bytes.
pub struct Seeded(pub u64);

impl Seeded {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Pieces of `alphabet` in random order, so that structure is hit far more often than by plain noise.
    pub fn soup(&mut self, alphabet: &[&[u8]], pieces: usize) -> Vec<u8> {
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

//! The keys of the open objects, to find duplicates.
//! Owned by one walker. Takes O(n log n) comparisons for n keys in an object, whatever the keys are: an attacker cannot
//! aim at a hash function, and nothing is quadratic above [`LINEAR_MAX`].

use std::borrow::Cow;

/// Up to this number of keys, each new key is compared with all earlier ones. Above it, the keys are sorted when the
/// object ends. Arbitrary: both ways cost about the same here. A chat request has 4 to 12 keys at its top level.
const LINEAR_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct OpenKey<'b> {
    /// Decoded: `"mod\u0065l"` is `model`.
    pub(super) name: Cow<'b, str>,
    /// Byte offset of the opening quote.
    pub(super) at: usize,
}

/// A stack of keys: those of an inner object lie on top of those of the objects around it, until it ends.
#[derive(Debug, Default)]
pub(super) struct OpenKeys<'b> {
    keys: Vec<OpenKey<'b>>,
    /// Buffer for sorting: a mix of the key's bytes, and its index in `keys`. Kept to save allocations.
    order: Vec<(u64, usize)>,
}

impl<'b> OpenKeys<'b> {
    /// The index at which the keys of an object that opens now will start.
    pub(super) fn mark(&self) -> usize {
        self.keys.len()
    }

    /// Adds a key of the innermost object, whose keys start at `mark`. Returns it as an error if it is a duplicate and the
    /// object is small; duplicates in large objects are found by [`OpenKeys::close`].
    pub(super) fn push(&mut self, mark: usize, name: Cow<'b, str>, at: usize) -> Result<(), OpenKey<'b>> {
        let siblings = self.keys.get(mark..).unwrap_or_default();
        if siblings.len() < LINEAR_MAX && siblings.iter().any(|key| key.name == name) {
            return Err(OpenKey { name, at });
        }
        self.keys.push(OpenKey { name, at });
        Ok(())
    }

    /// Removes the keys from `mark` on, because their object ends. Returns a duplicate as an error.
    pub(super) fn close(&mut self, mark: usize) -> Result<(), OpenKey<'b>> {
        let siblings = self.keys.get(mark..).unwrap_or_default();
        let duplicate =
            if siblings.len() <= LINEAR_MAX { None } else { find_duplicate(siblings, &mut self.order, mix) };
        let duplicate = duplicate
            .and_then(|at| self.keys.get_mut(mark + at))
            .map(|key| OpenKey { name: std::mem::take(&mut key.name), at: key.at });
        self.keys.truncate(mark);
        duplicate.map_or(Ok(()), Err)
    }
}

/// The index of a key that equals an earlier one.
fn find_duplicate(keys: &[OpenKey<'_>], order: &mut Vec<(u64, usize)>, mix: impl Fn(&[u8]) -> u64) -> Option<usize> {
    order.clear();
    order.extend(keys.iter().enumerate().map(|(at, key)| (mix(key.name.as_bytes()), at)));
    order.sort_unstable();
    let name = |at: usize| keys.get(at).map(|key| key.name.as_ref());
    // The mix almost always tells all keys apart. Where someone made it collide, the names decide.
    order.chunk_by_mut(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1).find_map(|alike| {
        alike.sort_unstable_by(|a, b| name(a.1).cmp(&name(b.1)).then(a.1.cmp(&b.1)));
        alike.windows(2).find_map(|pair| match pair {
            [a, b] if name(a.1) == name(b.1) => Some(b.1),
            _ => None,
        })
    })
}

/// A cheap mix that usually differs between keys. It need not resist attacks: collisions only cost comparisons.
fn mix(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let step = |mix: u64, word: u64| (mix ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mix = words.iter().fold(bytes.len() as u64, |mix, word| step(mix, u64::from_le_bytes(*word)));
    step(mix, tail.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_colliding_mixes_are_told_apart() {
        let same = |_: &[u8]| 7;
        let few = |bytes: &[u8]| bytes.len() as u64;
        let mut keys: Vec<OpenKey<'_>> = (0..5_000).map(|at| OpenKey { name: at.to_string().into(), at }).collect();
        assert_eq!(find_duplicate(&keys, &mut Vec::new(), same), None);
        assert_eq!(find_duplicate(&keys, &mut Vec::new(), few), None);
        keys[4_000].name = "17".into();
        assert_eq!(find_duplicate(&keys, &mut Vec::new(), same), Some(4_000));
        assert_eq!(find_duplicate(&keys, &mut Vec::new(), few), Some(4_000));
        assert_eq!(find_duplicate(&keys, &mut Vec::new(), mix), Some(4_000));
    }
}

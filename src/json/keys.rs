//! The keys of the objects that are open, to find the one that comes twice.
//! Owned by one walker. Costs O(n log n) comparisons for n keys in an object whatever they are: nothing hashes in a
//! way that an attacker could aim at, and nothing is quadratic above [`LINEAR_MAX`].

use std::borrow::Cow;

/// Up to here each new key is compared with all before it; above, all are sorted when the object ends.
/// Arbitrary: where both cost about the same. A chat request has 4 to 12 keys at its top.
const LINEAR_MAX: usize = 16;

#[derive(Debug)]
struct Key<'b> {
    /// As meant, not as written: `"mod\u0065l"` is `model`.
    name: Cow<'b, str>,
    at: usize,
}

/// A stack: the keys of an inner object stand above those of the objects around it, until it ends.
#[derive(Debug, Default)]
pub(super) struct Keys<'b> {
    keys: Vec<Key<'b>>,
    /// For sorting, kept to be reused: a mix of the key's bytes, and its place in `keys`.
    order: Vec<(u64, usize)>,
}

impl<'b> Keys<'b> {
    /// Where the keys of an object that opens now will start.
    pub(super) fn mark(&self) -> usize {
        self.keys.len()
    }

    /// Notes a key of the innermost object, whose keys start at `mark`. Gives it back if it was there before, and
    /// that was cheap to find out; else [`Keys::close`] finds it.
    pub(super) fn note(&mut self, mark: usize, name: Cow<'b, str>, at: usize) -> Result<(), (Cow<'b, str>, usize)> {
        let siblings = self.keys.get(mark..).unwrap_or_default();
        if siblings.len() < LINEAR_MAX && siblings.iter().any(|key| key.name == name) {
            return Err((name, at));
        }
        self.keys.push(Key { name, at });
        Ok(())
    }

    /// Forgets the keys from `mark` on, as their object ends; gives one that came twice, if any.
    pub(super) fn close(&mut self, mark: usize) -> Result<(), (Cow<'b, str>, usize)> {
        let siblings = self.keys.get(mark..).unwrap_or_default();
        let twice = if siblings.len() <= LINEAR_MAX { None } else { repeated(siblings, &mut self.order, mix) };
        let twice =
            twice.and_then(|at| self.keys.get_mut(mark + at)).map(|key| (std::mem::take(&mut key.name), key.at));
        self.keys.truncate(mark);
        twice.map_or(Ok(()), Err)
    }
}

/// The place of a key that equals an earlier one.
fn repeated(keys: &[Key<'_>], order: &mut Vec<(u64, usize)>, mix: impl Fn(&[u8]) -> u64) -> Option<usize> {
    order.clear();
    order.extend(keys.iter().enumerate().map(|(at, key)| (mix(key.name.as_bytes()), at)));
    order.sort_unstable();
    let name = |at: usize| keys.get(at).map(|key| key.name.as_ref());
    // Almost always the mix tells all keys apart. Where it was made to collide, the names decide.
    order.chunk_by_mut(|a, b| a.0 == b.0).filter(|alike| alike.len() > 1).find_map(|alike| {
        alike.sort_unstable_by(|a, b| name(a.1).cmp(&name(b.1)).then(a.1.cmp(&b.1)));
        alike.windows(2).find_map(|pair| match pair {
            [a, b] if name(a.1) == name(b.1) => Some(b.1),
            _ => None,
        })
    })
}

/// A cheap mix that mostly differs where keys differ. It is no protection and needs to be none.
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
    fn keys_that_were_made_to_mix_alike_are_still_told_apart() {
        let same = |_: &[u8]| 7;
        let few = |bytes: &[u8]| bytes.len() as u64;
        let mut keys: Vec<Key<'_>> = (0..5_000).map(|at| Key { name: at.to_string().into(), at }).collect();
        assert_eq!(repeated(&keys, &mut Vec::new(), same), None);
        assert_eq!(repeated(&keys, &mut Vec::new(), few), None);
        keys[4_000].name = "17".into();
        assert_eq!(repeated(&keys, &mut Vec::new(), same), Some(4_000));
        assert_eq!(repeated(&keys, &mut Vec::new(), few), Some(4_000));
        assert_eq!(repeated(&keys, &mut Vec::new(), mix), Some(4_000));
    }
}

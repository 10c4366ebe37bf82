//! The hot loop of the JSON code: skips bytes without meaning until one of a set of bytes is found.
//! Works on any bytes, in safe code. It takes 64 bytes at a time to skip long plain text, and 8 at a time, in one word, to
//! find the exact position.

/// A set of bytes to stop at.
pub(crate) trait StopBytes {
    /// Returns whether the byte is in the set.
    fn contains(byte: u8) -> bool;
    /// The index of the first byte of the block that is in the set.
    fn first_in(block: &[u8; 8]) -> Option<usize>;
}

/// Bytes that can end the plain part of a string: `"`, `\`, and the control characters that RFC 8259 §7 forbids there.
pub(crate) struct InString;

impl StopBytes for InString {
    #[inline(always)]
    fn contains(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    #[inline(always)]
    fn first_in(block: &[u8; 8]) -> Option<usize> {
        let word = u64::from_le_bytes(*block);
        let control = word.wrapping_sub(LOW * 0x20) & !word;
        first(control | zeros(word ^ (LOW * 0x22)) | zeros(word ^ (LOW * 0x5c)))
    }
}

/// Bytes that change the depth outside strings, or start a string: `"`, `[`, `]`, `{`, `}`.
pub(crate) struct InStructure;

impl StopBytes for InStructure {
    #[inline(always)]
    fn contains(byte: u8) -> bool {
        // Brackets and braces differ in one bit.
        byte == b'"' || byte | 0x20 == b'{' || byte | 0x20 == b'}'
    }

    #[inline(always)]
    fn first_in(block: &[u8; 8]) -> Option<usize> {
        let word = u64::from_le_bytes(*block);
        let folded = word | (LOW * 0x20);
        first(zeros(word ^ (LOW * 0x22)) | zeros(folded ^ (LOW * 0x7b)) | zeros(folded ^ (LOW * 0x7d)))
    }
}

/// The index of the first byte at or after `from` that `S` stops at, or the length of `bytes`.
#[inline]
pub(crate) fn find<S: StopBytes>(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    // Most strings are short, so the long loop's start-up cost is avoided for them.
    for _ in 0..4 {
        let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return find_bytewise::<S>(bytes, at);
        };
        if let Some(hit) = S::first_in(block) {
            return at + hit;
        }
        at += 8;
    }
    find_long::<S>(bytes, at)
}

#[inline(never)]
fn find_long<S: StopBytes>(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let (blocks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<64>();
    let hit = |block: &[u8; 64]| block.iter().fold(0u8, |hit, &byte| hit | u8::from(S::contains(byte))) != 0;
    at += 64 * blocks.iter().position(hit).unwrap_or(blocks.len());
    let (blocks, _) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    for block in blocks {
        if let Some(hit) = S::first_in(block) {
            return at + hit;
        }
        at += 8;
    }
    find_bytewise::<S>(bytes, at)
}

fn find_bytewise<S: StopBytes>(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| S::contains(byte)).unwrap_or(rest.len())
}

/// The index of the first byte whose top bit is set.
#[inline(always)]
fn first(flags: u64) -> Option<usize> {
    let flags = flags & HIGH;
    (flags != 0).then_some((flags.trailing_zeros() / 8) as usize)
}

/// Sets the top bit of each byte that is zero. Only the lowest flag is reliable: the borrow may flag bytes above it.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_agrees<S: StopBytes>(bytes: &[u8]) {
        for from in 0..=bytes.len() {
            assert_eq!(find::<S>(bytes, from), find_bytewise::<S>(bytes, from), "from {from} in {bytes:?}");
        }
    }

    #[test]
    fn every_byte_is_found_at_every_position() {
        for byte in 0..=255u8 {
            for at in [0, 1, 7, 8, 9, 15, 16, 17, 79, 80, 81, 95, 96, 103, 110, 111] {
                for plain in [b'a', 0x20, 0x21, 0x7a, 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![plain; 112];
                    bytes[at] = byte;
                    for from in [0, 1, 8, at] {
                        assert_eq!(find::<InString>(&bytes, from), find_bytewise::<InString>(&bytes, from));
                        assert_eq!(find::<InStructure>(&bytes, from), find_bytewise::<InStructure>(&bytes, from));
                    }
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_searched_like_bytewise() {
        let mut seed = crate::seeded::Seeded::new(7);
        for _ in 0..200 {
            let len = seed.below(200);
            let bytes: Vec<u8> = (0..len).map(|_| b"\x1f\x20\"\\[]{}az\x7f\x80\xff"[seed.below(13)]).collect();
            assert_agrees::<InString>(&bytes);
            assert_agrees::<InStructure>(&bytes);
        }
    }
}

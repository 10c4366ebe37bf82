//! As much gzip (RFC 1952, RFC 1951) as the faults need, without a dependency: stored blocks for a body, and one
//! fixed-Huffman run for a bomb. Pure.

/// `data` in gzip, without compression.
pub fn stored(data: &[u8]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    let mut blocks = data.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    finish(out, crc32(data.iter().copied()), data.len())
}

/// At least `zeros` zeros in gzip, compressed 158 to 1.
pub fn bomb(zeros: usize) -> Vec<u8> {
    let runs = zeros.div_ceil(RUN);
    let mut bits = Bits { out: HEADER.to_vec(), partial: 0, filled: 0 };
    bits.put(0b1, 1); // This is the last block.
    bits.put(0b01, 2); // It uses fixed codes.
    bits.put_code(0b0011_0000, 8); // The literal 0.
    for _ in 0..runs {
        bits.put_code(0b1100_0101, 8); // A match of 258 bytes (code 285) ...
        bits.put_code(0, 5); // ... at a distance of one byte.
    }
    bits.put_code(0, 7); // The end of the block.
    let total = runs * RUN + 1;
    finish(bits.done(), crc32(std::iter::repeat_n(0, total)), total)
}

fn finish(mut out: Vec<u8>, crc: u32, len: usize) -> Vec<u8> {
    out.extend(crc.to_le_bytes());
    out.extend((len as u32).to_le_bytes()); // Modulo 2^32, as the format requires.
    out
}

/// Packs bits from the least significant up, as deflate does.
struct Bits {
    out: Vec<u8>,
    partial: u8,
    filled: u8,
}

impl Bits {
    fn put(&mut self, value: u32, count: u8) {
        for at in 0..count {
            self.partial |= (((value >> at) & 1) as u8) << self.filled;
            self.filled += 1;
            if self.filled == 8 {
                self.out.push(std::mem::take(&mut self.partial));
                self.filled = 0;
            }
        }
    }

    /// Adds a Huffman code, which starts with its most significant bit.
    fn put_code(&mut self, code: u32, count: u8) {
        for at in (0..count).rev() {
            self.put(code >> at, 1);
        }
    }

    fn done(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.out.push(self.partial);
        }
        self.out
    }
}

fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|at| {
        (0..8).fold(at as u32, |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    });
    !bytes.fold(!0, |crc, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)])
}

const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Length of deflate's longest match.
const RUN: usize = 258;

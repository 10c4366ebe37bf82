//! Finds the end of a head in a growing buffer, so that the parser runs once, on a complete head.
//! One scan per connection and direction, owned by the connection's shard.
//! Never reads a byte twice, and never judges anything but line ends and size.

use super::head_error::HeadError;

/// The largest head that is accepted. Both limits count from the message's first byte.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the start line, the headers and the blank line.
    pub head_bytes: usize,
    /// Number of header lines. A limit above [`HEADERS_MAX`] has no effect.
    pub headers: usize,
}

/// The most header lines that any configuration can allow. Sets the size of the parser's scratch space on the stack.
/// Arbitrary: Apache's default is 100, and the largest SDK sends about 25.
pub const HEADERS_MAX: usize = 256;

/// An incremental scan in linear time: it remembers its position between calls.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Every byte before this offset has been scanned.
    at: usize,
    line_start: usize,
    /// Complete lines, not counting the tolerated empty line.
    lines: usize,
    /// An empty line preceded the start line.
    empty_before: bool,
}

impl HeadScan {
    /// Continues the scan. `bytes` must be the whole buffer from the message's first byte, at every call.
    /// Once the head is complete, returns its length, including the blank line and a tolerated leading empty line.
    ///
    /// Refuses a bare LF, a bare CR and a NUL immediately: a parser that accepts LF as a line end (RFC 9112 §2.2 allows
    /// it) and one that does not would see different messages in the same bytes.
    pub fn advance(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        let window = bytes.get(..limits.head_bytes).unwrap_or(bytes);
        while let Some(rest) = window.get(self.at..) {
            let Some(offset) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
                self.at = window.len();
                break;
            };
            match rest.get(offset..) {
                Some([b'\r']) => {
                    self.at += offset;
                    break;
                }
                Some([b'\r', b'\n', ..]) => {
                    let line_bytes = self.at + offset - self.line_start;
                    if self.end_line(line_bytes, limits)? {
                        return Ok(Some(self.line_start));
                    }
                }
                Some([b'\r', ..]) => return Err(HeadError::BareCarriageReturn),
                Some([b'\n', ..]) => return Err(HeadError::BareLineFeed),
                _ => return Err(HeadError::NulByte),
            }
        }
        if bytes.len() >= limits.head_bytes {
            return Err(HeadError::HeadTooLarge);
        }
        Ok(None)
    }

    /// Prepares for the next message, which must begin at the start of the buffer.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Counts a complete line. Returns true if it was the head's last one.
    fn end_line(&mut self, line_bytes: usize, limits: &HeadLimits) -> Result<bool, HeadError> {
        self.line_start += line_bytes + 2;
        self.at = self.line_start;
        if line_bytes > 0 {
            self.lines += 1;
            // The first line is the start line.
            if self.lines > limits.headers.min(HEADERS_MAX).saturating_add(1) {
                return Err(HeadError::TooManyHeaders);
            }
            return Ok(false);
        }
        if self.lines > 0 {
            return Ok(true);
        }
        // RFC 9112 §2.2: a server ignores "at least one" empty line before a request line. Old clients send one after a
        // body; more than one suggests an attack.
        if self.empty_before {
            return Err(HeadError::EmptyLinesBeforeStart);
        }
        self.empty_before = true;
        Ok(false)
    }
}

/// True if `bytes` may be the beginning of an HTTP/1 response. Detects an upstream that speaks HTTP/0.9, HTTP/2 or TLS by
/// its first bytes, instead of waiting for a timeout because its "head" never ends.
pub fn plausible_response_start(bytes: &[u8]) -> bool {
    let status_line = b"HTTP/1.";
    bytes.iter().enumerate().take(13).all(|(at, byte)| match at {
        0..=6 => status_line.get(at) == Some(byte),
        7 => matches!(byte, b'0' | b'1'),
        8 => *byte == b' ',
        9 => matches!(byte, b'1'..=b'5'),
        10 | 11 => byte.is_ascii_digit(),
        // RFC 9112 §4 requires the space even before an empty reason, but many servers omit it.
        _ => matches!(byte, b' ' | b'\r'),
    })
}

#[cfg(test)]
mod tests;

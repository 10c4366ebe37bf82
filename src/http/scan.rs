//! Finds where a head ends in a buffer that grows, so that the parser runs once, on a whole head.
//! One per connection and direction, owned by its shard. It never looks at a byte twice, and it
//! decides nothing but line ends and size.

use super::head_error::HeadError;

/// What a head may cost. Both count from the message's first byte.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the start line, the headers and the blank line.
    pub head_bytes: usize,
    /// Header lines; more than [`HEADERS_MAX`] has no effect.
    pub headers: usize,
}

/// The most header lines that any configuration can allow; sizes the parser's scratch space on the stack.
/// Arbitrary: Apache's default is 100, the largest SDK sends about 25.
pub const HEADERS_MAX: usize = 256;

/// Incremental and linear: remembers how far it has looked.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Every byte before this one has been judged.
    at: usize,
    line_start: usize,
    /// Lines that ended, the tolerated empty one not counted.
    lines: usize,
    /// An empty line stood before the start line.
    empty_before: bool,
}

impl HeadScan {
    /// `bytes` is the whole buffer from the message's first byte, at every call.
    /// Returns the head's length, blank line and a tolerated leading empty line included, once it is complete.
    ///
    /// Refuses a bare LF, a bare CR and NUL at once: a parser that took LF for a line end (RFC 9112 §2.2 allows it)
    /// and one that does not would see different messages in the same bytes.
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
                    if self.line_ended(line_bytes, limits)? {
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

    /// For the next message, whose first byte will be the buffer's first.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// True when the line that just ended was the head's last one.
    fn line_ended(&mut self, line_bytes: usize, limits: &HeadLimits) -> Result<bool, HeadError> {
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
        // RFC 9112 §2.2: a server ignores "at least one" empty line before a request line. One is what old
        // clients send after a body; more is a caller who tries something.
        if self.empty_before {
            return Err(HeadError::EmptyLinesBeforeStart);
        }
        self.empty_before = true;
        Ok(false)
    }
}

/// Whether `bytes` can still become an HTTP/1 response. An upstream that speaks HTTP/0.9, HTTP/2 or TLS is
/// found out by its first bytes, not by a timeout while its "head" never ends.
pub fn plausible_response_start(bytes: &[u8]) -> bool {
    let status_line = b"HTTP/1.";
    bytes.iter().enumerate().take(13).all(|(at, byte)| match at {
        0..=6 => status_line.get(at) == Some(byte),
        7 => matches!(byte, b'0' | b'1'),
        8 => *byte == b' ',
        9 => matches!(byte, b'1'..=b'5'),
        10 | 11 => byte.is_ascii_digit(),
        // RFC 9112 §4 wants the space even before an empty reason; many leave it out.
        _ => matches!(byte, b' ' | b'\r'),
    })
}

#[cfg(test)]
mod tests;

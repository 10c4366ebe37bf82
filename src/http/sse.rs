//! Splits a `text/event-stream` (WHATWG HTML §9.2) into its events, byte-exact, as they arrive.
//! One splitter per stream, owned by its shard. It holds only the unfinished event and reads each byte once, wherever the
//! stream is split into reads.
//! Never changes a byte.

use std::borrow::Cow;
use std::fmt;

/// An event exceeded the size limit. The splitter returns no further events; [`EventSplitter::pending`] returns the bytes
/// that it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTooLarge;

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of the stream is too large")
    }
}

impl std::error::Error for EventTooLarge {}

/// Finds the blank lines that end events.
#[derive(Clone, Debug)]
pub struct EventSplitter {
    event_bytes_max: usize,
    /// The bytes of the unfinished event so far, all of them scanned.
    pending: Vec<u8>,
    /// The current line is empty so far.
    line_blank: bool,
    /// The last byte was a CR; an LF that follows belongs to the same line end.
    after_cr: bool,
    /// This is the first line of the stream, which may begin with a BOM.
    first_line: bool,
    /// No event has been returned yet.
    first_event: bool,
    failed: bool,
}

/// An event with the blank line that ends it. It may consist of comments only, or of the blank line only.
#[derive(Clone, Copy, Debug)]
pub struct SseEvent<'a> {
    /// Every byte of the event. The `raw` of all events, followed by [`EventSplitter::pending`], is the whole stream.
    pub raw: &'a [u8],
    after_bom: bool,
}

impl EventSplitter {
    pub fn new(event_bytes_max: usize) -> Self {
        EventSplitter {
            event_bytes_max,
            pending: Vec::new(),
            line_blank: true,
            after_cr: false,
            first_line: true,
            first_event: true,
            failed: false,
        }
    }

    /// Calls `on_event` for each event that `bytes` completes. An event that lies entirely in `bytes` is not copied.
    ///
    /// A blank line that ends with CR completes its event at the CR. If the LF of a CRLF has already arrived, it belongs to
    /// that event; if it arrives with a later push, it is the first byte of the next event's `raw`.
    pub fn push(&mut self, bytes: &[u8], mut on_event: impl FnMut(SseEvent<'_>)) -> Result<(), EventTooLarge> {
        if self.failed {
            return Err(EventTooLarge);
        }
        let mut rest = bytes;
        while let Some(end) = self.scan(rest) {
            let (event, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after;
            self.check_size(event.len())?;
            let after_bom = std::mem::take(&mut self.first_event);
            if self.pending.is_empty() {
                on_event(SseEvent { raw: event, after_bom });
            } else {
                self.pending.extend_from_slice(event);
                on_event(SseEvent { raw: &self.pending, after_bom });
                self.pending.clear();
                if self.pending.capacity() > PENDING_BYTES_KEPT {
                    self.pending = Vec::new();
                }
            }
        }
        self.check_size(rest.len())?;
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// The bytes after the last event. They must be forwarded when the stream ends.
    pub fn pending(&self) -> &[u8] {
        &self.pending
    }

    fn check_size(&mut self, more: usize) -> Result<(), EventTooLarge> {
        if self.pending.len().saturating_add(more) > self.event_bytes_max {
            self.failed = true;
            return Err(EventTooLarge);
        }
        Ok(())
    }

    /// Returns the end of the unfinished event in `rest`, if it ends there. Scanned bytes are not read again.
    fn scan(&mut self, rest: &[u8]) -> Option<usize> {
        let mut line_start = 0;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            line_start = usize::from(rest.first() == Some(&b'\n'));
        }
        loop {
            let line = rest.get(line_start..)?;
            let Some(length) = memchr::memchr2(b'\n', b'\r', line) else {
                self.line_blank &= line.is_empty();
                return None;
            };
            let ended = line.get(length..).unwrap_or_default();
            // A BOM is not part of the first line.
            let bom = std::mem::take(&mut self.first_line)
                && self.is_bom(rest.get(..line_start + length).unwrap_or_default());
            let blank = bom || (self.line_blank && length == 0);
            let end_bytes = if ended.starts_with(b"\r\n") { 2 } else { 1 };
            self.after_cr = ended == b"\r";
            self.line_blank = true;
            line_start += length + end_bytes;
            if blank {
                return Some(line_start);
            }
        }
    }

    fn is_bom(&self, line_tail: &[u8]) -> bool {
        self.pending.len() + line_tail.len() == BOM.len() && self.pending.iter().chain(line_tail).eq(BOM)
    }
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A buffer that one huge event grew beyond this size is freed. Arbitrary: 64 KiB is enough for the events that models
/// send.
const PENDING_BYTES_KEPT: usize = 64 * 1024;

impl<'a> SseEvent<'a> {
    /// The value of the last `event:` line.
    pub fn name(&self) -> Option<&'a [u8]> {
        self.fields().filter(|(name, _)| *name == b"event").map(|(_, value)| value).last()
    }

    /// True if the event has a `data:` line. Clients ignore an event without one.
    pub fn has_data(&self) -> bool {
        self.data_values().next().is_some()
    }

    /// The values of the `data:` lines, joined by LF. Borrowed if there is one line, empty if there is none.
    pub fn data(&self) -> Cow<'a, [u8]> {
        let mut values = self.data_values();
        let first = values.next().unwrap_or_default();
        let Some(second) = values.next() else {
            return Cow::Borrowed(first);
        };
        let mut joined = Vec::with_capacity(self.raw.len());
        joined.extend_from_slice(first);
        for value in std::iter::once(second).chain(values) {
            joined.push(b'\n');
            joined.extend_from_slice(value);
        }
        Cow::Owned(joined)
    }

    /// Every field of the event, in order, without comments.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let raw = match self.after_bom {
            true => self.raw.strip_prefix(BOM).unwrap_or(self.raw),
            false => self.raw,
        };
        Lines(raw).filter(|line| !matches!(line, [] | [b':', ..])).map(split_field)
    }

    fn data_values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value)
    }
}

/// Splits `name: value`. One space after the colon is dropped; a line without a colon is a name with an empty value.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, value)) = memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon)) else {
        return (line, b"");
    };
    let value = value.strip_prefix(b":").unwrap_or(value);
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// Iterates over lines that end with LF or CR. A CRLF yields an extra empty line, which has no meaning inside an event.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr2(b'\n', b'\r', self.0)?;
        let (line, after) = self.0.split_at_checked(end)?;
        self.0 = after.get(1..)?;
        Some(line)
    }
}

#[cfg(test)]
mod tests;

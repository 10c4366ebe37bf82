//! Cuts a `text/event-stream` (WHATWG HTML §9.2) into its events, byte-exact, as they come.
//! One per stream, owned by its shard. It holds only the unfinished event, looks at each byte once however the
//! stream was cut, and never changes a byte.

use std::borrow::Cow;
use std::fmt;

/// An event went over the cap. The splitter gives nothing more; [`EventSplitter::pending`] has what it held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTooLarge;

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of the stream is too large")
    }
}

impl std::error::Error for EventTooLarge {}

/// Finds the blank lines.
#[derive(Clone, Debug)]
pub struct EventSplitter {
    event_bytes_max: usize,
    /// The unfinished event's bytes so far. `scan` has seen all of them.
    pending: Vec<u8>,
    /// The line being read has no byte yet.
    line_blank: bool,
    /// The last byte was a CR; a LF now belongs to the same line end.
    after_cr: bool,
    /// No line of the stream has ended yet, so a BOM may stand on it.
    first_line: bool,
    /// No event has been passed on yet.
    first_event: bool,
    failed: bool,
}

/// An event with the blank line that ends it. It may be nothing but comments or that blank line.
#[derive(Clone, Copy, Debug)]
pub struct SseEvent<'a> {
    /// Every byte. All `raw` in a row, and then [`EventSplitter::pending`], are the stream.
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

    /// Calls back for each event that `bytes` completes. One that lies in `bytes` as a whole is borrowed from them.
    ///
    /// A blank line ended by CR completes its event at the CR. The LF of a CRLF is part of that event if it is
    /// already there; if it comes with a later push it stands at the front of the next event's `raw`.
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

    /// The bytes after the last event: to be passed on when the stream ends.
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

    /// Where in `rest` the unfinished event ends, if it does. What is before has been looked at for good.
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

/// A buffer that one huge event made is given back; 64 KiB holds the events that models send. Arbitrary.
const PENDING_BYTES_KEPT: usize = 64 * 1024;

impl<'a> SseEvent<'a> {
    /// The last `event:` line's value.
    pub fn name(&self) -> Option<&'a [u8]> {
        self.fields().filter(|(name, _)| *name == b"event").map(|(_, value)| value).last()
    }

    /// Without a `data:` line a client dispatches nothing.
    pub fn has_data(&self) -> bool {
        self.values_of_data().next().is_some()
    }

    /// The `data:` lines joined by LF; borrowed when there is one, empty when there is none.
    pub fn data(&self) -> Cow<'a, [u8]> {
        let mut values = self.values_of_data();
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

    /// Every field of the event, in order; comments are no fields.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let raw = match self.after_bom {
            true => self.raw.strip_prefix(BOM).unwrap_or(self.raw),
            false => self.raw,
        };
        Lines(raw).filter(|line| !matches!(line, [] | [b':', ..])).map(field)
    }

    fn values_of_data(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value)
    }
}

/// `name: value`; one space after the colon does not count, and a line without a colon is a name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some((name, value)) = memchr::memchr(b':', line).and_then(|colon| line.split_at_checked(colon)) else {
        return (line, b"");
    };
    let value = value.strip_prefix(b":").unwrap_or(value);
    (name, value.strip_prefix(b" ").unwrap_or(value))
}

/// Lines ended by LF or CR. A CRLF gives an empty line between its halves, which means nothing inside an event.
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

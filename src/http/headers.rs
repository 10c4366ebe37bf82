//! The headers of one message, in order, each recognised once.
//! Owned by the head that was parsed. It copies no byte of the connection's buffer and makes one
//! allocation of the exact size.

use super::framing::{self, Seen};
use super::head_error::HeadError;
use super::known_header::KnownHeader;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'b> {
    /// As written; a token, so ASCII.
    pub name: &'b str,
    /// Without the white space around it. Visible ASCII, space, tab and bytes from 0x80; no line end, no control byte.
    pub value: &'b [u8],
    pub known: KnownHeader,
}

/// The headers in the order in which they came. A `Vec`: 32 inline slots measured no faster than its one
/// allocation, and made a head 1.3 KiB to move.
#[derive(Clone, Debug)]
pub struct Headers<'b>(Vec<Header<'b>>);

impl<'b> Headers<'b> {
    /// Classifies each header, and hands it to `seen` while it is at hand.
    pub(super) fn gather(tokens: &[httparse::Header<'b>], seen: &mut Seen<'b>) -> Result<Self, HeadError> {
        let mut headers = Vec::with_capacity(tokens.len());
        for token in tokens {
            let header = Header { name: token.name, value: token.value, known: KnownHeader::of(token.name) };
            seen.note(&header)?;
            headers.push(header);
        }
        Ok(Headers(headers))
    }

    pub fn as_slice(&self) -> &[Header<'b>] {
        &self.0
    }

    pub fn first(&self, known: KnownHeader) -> Option<&'b [u8]> {
        self.as_slice().iter().find(|header| header.known == known).map(|header| header.value)
    }

    /// Whether a `Connection` header names `name`, which makes it hop-by-hop (RFC 9110 §7.6.1).
    pub fn connection_lists(&self, name: &str) -> bool {
        self.as_slice()
            .iter()
            .any(|header| header.known == KnownHeader::Connection && framing::lists(header.value, name))
    }
}

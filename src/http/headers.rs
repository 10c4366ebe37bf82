//! The headers of one message, in order, each name recognised once.
//! Owned by the parsed head, on one shard. Makes one allocation of the exact size.
//! Never copies a byte of the connection's buffer.

use super::head_error::HeadError;
use super::known_header::KnownHeader;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'b> {
    /// As written. A token, and therefore ASCII.
    pub name: &'b str,
    /// Without the white space around it. Holds visible ASCII, spaces, tabs and bytes from 0x80, but no line end and no
    /// other control byte.
    pub value: &'b [u8],
    pub known: KnownHeader,
}

/// The headers in the order in which they arrived. A `Vec`, because 32 inline slots measured no faster than its one
/// allocation and made every head 1.3 KiB to move.
#[derive(Clone, Debug)]
pub struct Headers<'b>(Vec<Header<'b>>);

impl<'b> Headers<'b> {
    /// Recognises each header's name and calls `record` with the header, in the same pass.
    pub(super) fn collect(
        tokens: &[httparse::Header<'b>],
        mut record: impl FnMut(&Header<'b>) -> Result<(), HeadError>,
    ) -> Result<Self, HeadError> {
        let mut headers = Vec::with_capacity(tokens.len());
        for token in tokens {
            let header = Header { name: token.name, value: token.value, known: KnownHeader::of(token.name) };
            record(&header)?;
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

    /// True if a `Connection` header lists `name`, which makes that header hop-by-hop (RFC 9110 §7.6.1).
    pub fn connection_lists(&self, name: &str) -> bool {
        self.as_slice()
            .iter()
            .any(|header| header.known == KnownHeader::Connection && list_contains(header.value, name))
    }
}

/// True if a comma-separated list (RFC 9110 §5.6.1) contains `token`, in any case.
fn list_contains(value: &[u8], token: &str) -> bool {
    list_elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

pub(super) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

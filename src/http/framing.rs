//! What a head's headers say about the message as a whole: where its body ends, which host it asks,
//! whether the connection lives on. One pass, owned by no thread. It never guesses: whatever two parsers could
//! read in two ways is refused.

use std::net::Ipv6Addr;

use super::head::{Expect, Header, Version};
use super::head_error::HeadError;
use super::known_header::KnownHeader;

/// The headers that matter to the message itself, gathered in one pass.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen<'b> {
    pub host: Option<&'b [u8]>,
    pub length: Option<u64>,
    pub chunked: bool,
    pub expect: Expect,
    pub upgrade: bool,
    close: bool,
    keep_alive: bool,
}

impl<'b> Seen<'b> {
    pub fn note(&mut self, header: &Header<'b>) -> Result<(), HeadError> {
        match header.known {
            KnownHeader::Host => self.note_host(header.value)?,
            KnownHeader::ContentLength => self.note_length(content_length(header.value)?)?,
            KnownHeader::TransferEncoding => {
                transfer_encoding(header.value)?;
                if self.chunked {
                    return Err(HeadError::TransferEncodingTwice);
                }
                self.chunked = true;
            }
            KnownHeader::Connection => {
                for token in elements(header.value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            KnownHeader::Expect => {
                let continues = header.value.eq_ignore_ascii_case(b"100-continue");
                self.expect = match self.expect {
                    Expect::None | Expect::Continue if continues => Expect::Continue,
                    _ => Expect::Other,
                };
            }
            KnownHeader::Upgrade => self.upgrade = true,
            _ => {}
        }
        Ok(())
    }

    fn note_host(&mut self, host: &'b [u8]) -> Result<(), HeadError> {
        match self.host.replace(host) {
            None => Ok(()),
            Some(_) => Err(HeadError::HostTwice),
        }
    }

    /// Two lengths are refused even when they agree: RFC 9112 §6.3 lets a recipient fold them, and then the next
    /// one in the chain has to fold them the same way.
    fn note_length(&mut self, length: u64) -> Result<(), HeadError> {
        match self.length.replace(length) {
            None => Ok(()),
            Some(before) if before == length => Err(HeadError::LengthTwice),
            Some(_) => Err(HeadError::LengthsDiffer),
        }
    }

    /// The doubts about framing that only the whole head can raise (RFC 9112 §6.1, §6.3).
    pub fn check_framing(&self, version: Version) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::LengthAndTransferEncoding);
        }
        // A 1.0 hop before us did not understand the field, so it may have cut the message elsewhere.
        if self.chunked && version == Version::Http10 {
            return Err(HeadError::TransferEncodingOnHttp10);
        }
        Ok(())
    }

    /// RFC 9112 §9.3: `close` wins, 1.1 persists by default, 1.0 only when asked to.
    pub fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// `Content-Length = 1*DIGIT` (RFC 9110 §8.6) and nothing else: no sign, no list, no overflow.
fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::LengthEmpty);
    }
    let mut length: u64 = 0;
    for byte in value {
        length = match byte {
            b'0'..=b'9' => length
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
                .ok_or(HeadError::LengthOverflow)?,
            b',' => return Err(HeadError::LengthList),
            _ => return Err(HeadError::LengthNotDigits),
        };
    }
    Ok(length)
}

/// Exactly `chunked`. We send no `TE` that would allow another coding, and could not undo one.
fn transfer_encoding(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    match elements(value).all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        true => Err(HeadError::TransferEncodingTwice),
        false => Err(HeadError::TransferEncodingUnknown),
    }
}

/// Whether a comma-separated list (RFC 9110 §5.6.1) holds `token`, in any case.
pub(super) fn lists(value: &[u8], token: &str) -> bool {
    elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// `Host = uri-host [ ":" port ]` (RFC 9110 §7.2), the grammar of RFC 3986 §3.2.2 without user information.
///
/// RFC 9112 §3.2 has an empty value for target URIs without an authority; an `http` URI always has one
/// (RFC 9110 §4.2.1), so here it is a fault.
pub(super) fn check_host(value: &[u8]) -> Result<(), HeadError> {
    if value.is_empty() {
        return Err(HeadError::HostEmpty);
    }
    let port = match value.strip_prefix(b"[") {
        Some(rest) => after_ip_literal(rest),
        None => after_registered_name(value),
    };
    match port {
        Some([]) => Ok(()),
        // The port may be empty by the grammar; five digits hold every port there is.
        Some([b':', digits @ ..]) if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(HeadError::HostInvalid),
    }
}

fn after_ip_literal(rest: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b']', rest)?;
    let address = std::str::from_utf8(rest.get(..end)?).ok()?;
    // Neither IPvFuture nor a zone is used between an application and its gateway.
    address.parse::<Ipv6Addr>().ok()?;
    rest.get(end + 1..)
}

/// What follows `reg-name = *( unreserved / pct-encoded / sub-delims )`, which must not be empty; IPv4 is a case of it.
fn after_registered_name(value: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b':', value).unwrap_or(value.len());
    let (name, rest) = value.split_at_checked(end)?;
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {}
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {}
            b'%' if bytes.next()?.is_ascii_hexdigit() && bytes.next()?.is_ascii_hexdigit() => {}
            _ => return None,
        }
    }
    (!name.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests;

//! Reads the headers that describe the message as a whole: where its body ends, which host it is for, whether the
//! connection stays open.
//! Pure code that works on one message in one pass, on any thread.
//! Never guesses: a message that two parsers could read differently is refused.

use std::net::Ipv6Addr;

use super::head_error::HeadError;
use super::headers::{Header, list_elements};
use super::known_header::KnownHeader;
use super::message::{Expect, Version};

/// The values of the headers that describe the message itself.
#[derive(Clone, Copy, Default)]
pub(super) struct FramingHeaders<'b> {
    pub host: Option<&'b [u8]>,
    pub length: Option<u64>,
    pub chunked: bool,
    pub expect: Expect,
    pub upgrade: bool,
    close: bool,
    keep_alive: bool,
}

impl<'b> FramingHeaders<'b> {
    /// Takes note of one header. Must be called for every header of the message, in order.
    pub fn record(&mut self, header: &Header<'b>) -> Result<(), HeadError> {
        match header.known {
            KnownHeader::Host => self.record_host(header.value)?,
            KnownHeader::ContentLength => self.record_length(content_length(header.value)?)?,
            KnownHeader::TransferEncoding => {
                transfer_encoding(header.value)?;
                if self.chunked {
                    return Err(HeadError::TransferEncodingTwice);
                }
                self.chunked = true;
            }
            KnownHeader::Connection => {
                for token in list_elements(header.value) {
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

    fn record_host(&mut self, host: &'b [u8]) -> Result<(), HeadError> {
        match self.host.replace(host) {
            None => Ok(()),
            Some(_) => Err(HeadError::HostTwice),
        }
    }

    /// Refuses two lengths even if they are equal. RFC 9112 §6.3 lets a recipient merge them, but then every later hop
    /// would have to merge them the same way.
    fn record_length(&mut self, length: u64) -> Result<(), HeadError> {
        match self.length.replace(length) {
            None => Ok(()),
            Some(before) if before == length => Err(HeadError::LengthTwice),
            Some(_) => Err(HeadError::LengthsDiffer),
        }
    }

    /// Checks the combination of the framing headers, once all are recorded (RFC 9112 §6.1, §6.3).
    pub fn check(&self, version: Version) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::LengthAndTransferEncoding);
        }
        // An HTTP/1.0 hop before us did not understand the header, so it may have ended the message elsewhere.
        if self.chunked && version == Version::Http10 {
            return Err(HeadError::TransferEncodingOnHttp10);
        }
        Ok(())
    }

    /// RFC 9112 §9.3: `close` wins; HTTP/1.1 keeps the connection by default, HTTP/1.0 only if `keep-alive` is listed.
    pub fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Parses `Content-Length = 1*DIGIT` (RFC 9110 §8.6) and refuses anything else: signs, lists, overflow.
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

/// Accepts exactly `chunked`. Luner sends no `TE` header that would allow another coding, and could not decode one.
fn transfer_encoding(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    match list_elements(value).all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        true => Err(HeadError::TransferEncodingTwice),
        false => Err(HeadError::TransferEncodingUnknown),
    }
}

/// Checks `Host = uri-host [ ":" port ]` (RFC 9110 §7.2) by the grammar of RFC 3986 §3.2.2, without user information.
///
/// RFC 9112 §3.2 allows an empty value for target URIs without an authority. An `http` URI always has an authority
/// (RFC 9110 §4.2.1), so an empty value is refused here.
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
        // The grammar allows an empty port. Five digits are enough for any port.
        Some([b':', digits @ ..]) if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(HeadError::HostInvalid),
    }
}

/// Returns the text after the `]` of an IPv6 literal; `rest` begins after its `[`.
fn after_ip_literal(rest: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b']', rest)?;
    let address = std::str::from_utf8(rest.get(..end)?).ok()?;
    // IPvFuture and zone identifiers are refused: nobody uses them between an application and its gateway.
    address.parse::<Ipv6Addr>().ok()?;
    rest.get(end + 1..)
}

/// Returns the text after `reg-name = *( unreserved / pct-encoded / sub-delims )`, which must not be empty. An IPv4
/// address is a registered name as well.
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

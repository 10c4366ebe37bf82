//! Parses the head of a request or a response once; the result borrows from the connection's buffer.
//! Owned by the shard that reads the message. httparse finds the tokens, and this module refuses everything that httparse
//! tolerates but another parser might read differently.
//! Never repairs anything.

use std::mem::MaybeUninit;

use super::framing::{FramingHeaders, check_host};
pub use super::head_error::HeadError;
use super::head_error::{explain, explain_request_line};
pub use super::headers::{Header, Headers};
pub use super::known_header::KnownHeader;
pub use super::message::{Expect, Framing, Method, Version};
pub use super::scan::{HEADERS_MAX, HeadLimits, HeadScan, plausible_response_start};

#[derive(Clone, Debug)]
pub struct RequestHead<'b> {
    pub method: Method,
    /// In origin form: starts with `/`, holds only visible ASCII and no fragment. Exactly as sent; nothing is decoded.
    pub target: &'b str,
    pub version: Version,
    pub framing: Framing,
    pub keep_alive: bool,
    pub expect: Expect,
    /// An `Upgrade` header is present. Ignoring it is legal (RFC 9110 §7.8).
    pub upgrade: bool,
    pub headers: Headers<'b>,
}

impl<'b> RequestHead<'b> {
    pub fn headers(&self) -> impl Iterator<Item = &Header<'b>> {
        self.headers.as_slice().iter()
    }

    pub fn first(&self, known: KnownHeader) -> Option<&'b [u8]> {
        self.headers.first(known)
    }

    pub fn path(&self) -> &'b str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    pub fn query(&self) -> Option<&'b str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

#[derive(Clone, Debug)]
pub struct ResponseHead<'b> {
    /// 100 to 599. After a 1xx status the final response follows on the same connection.
    pub status: u16,
    pub version: Version,
    pub framing: Framing,
    /// The connection may carry another request once the body is read.
    pub keep_alive: bool,
    pub headers: Headers<'b>,
}

impl<'b> ResponseHead<'b> {
    pub fn headers(&self) -> impl Iterator<Item = &Header<'b>> {
        self.headers.as_slice().iter()
    }

    pub fn first(&self, known: KnownHeader) -> Option<&'b [u8]> {
        self.headers.first(known)
    }
}

/// Parses a request head. `head` must be exactly the bytes that [`HeadScan`] measured, which has checked its line ends.
pub fn request<'b>(head: &'b [u8], limits: &HeadLimits) -> Result<RequestHead<'b>, HeadError> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    // httparse would skip any number of leading line ends.
    if matches!(head, [b'\r' | b'\n', ..]) {
        return Err(HeadError::EmptyLinesBeforeStart);
    }
    let mut scratch = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = scratch.get_mut(..limits.headers.min(HEADERS_MAX)).unwrap_or_default();
    let mut tokens = httparse::Request::new(&mut []);
    match tokens.parse_with_uninit_headers(head, slots) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        Ok(_) => return Err(HeadError::Incomplete),
        Err(error) => return Err(explain(error, head, explain_request_line)),
    }
    let (Some(method_name), Some(target), Some(minor)) = (tokens.method, tokens.path, tokens.version) else {
        return Err(HeadError::Incomplete);
    };
    let (method, version) = (Method::parse(method_name)?, Version::from_minor(minor));
    check_target(target)?;

    let mut framing_headers = FramingHeaders::default();
    let headers = Headers::collect(tokens.headers, |header| framing_headers.record(header))?;
    framing_headers.check(version)?;
    match framing_headers.host {
        Some(host) => check_host(host)?,
        None if version == Version::Http11 => return Err(HeadError::HostMissing),
        None => {}
    }
    let framing = match framing_headers.length {
        _ if framing_headers.chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        // RFC 9112 §6.3 rule 7: a request's body never runs until close.
        None => Framing::Empty,
    };
    // RFC 9110 §10.1.1: an HTTP/1.0 client does not understand status 100, so its expectation is ignored.
    let expect = if version == Version::Http10 { Expect::None } else { framing_headers.expect };
    Ok(RequestHead {
        method,
        target,
        version,
        framing,
        keep_alive: framing_headers.keeps_alive(version),
        expect,
        upgrade: framing_headers.upgrade,
        headers,
    })
}

/// Parses the head of a response to a request with the method `request_method`. `head` must be exactly the bytes that
/// [`HeadScan`] measured.
pub fn response<'b>(
    head: &'b [u8],
    limits: &HeadLimits,
    request_method: Method,
) -> Result<ResponseHead<'b>, HeadError> {
    // httparse would skip leading empty lines, but only a server may do that (RFC 9112 §2.2).
    if !head.starts_with(b"HTTP/") {
        return Err(HeadError::StatusLine);
    }
    let mut scratch = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = scratch.get_mut(..limits.headers.min(HEADERS_MAX)).unwrap_or_default();
    let mut tokens = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut tokens, head, slots) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        Ok(_) => return Err(HeadError::Incomplete),
        Err(error) => return Err(explain(error, head, |_| HeadError::StatusLine)),
    }
    let (Some(status), Some(minor)) = (tokens.code, tokens.version) else {
        return Err(HeadError::Incomplete);
    };
    if !(100..=599).contains(&status) {
        return Err(HeadError::StatusRange);
    }
    let version = Version::from_minor(minor);
    let mut framing_headers = FramingHeaders::default();
    let headers = Headers::collect(tokens.headers, |header| framing_headers.record(header))?;
    framing_headers.check(version)?;

    let mut keep_alive = framing_headers.keeps_alive(version);
    let framing = match framing_headers.length {
        _ if request_method == Method::Head || status == 304 => Framing::Empty,
        length if status < 200 || status == 204 => {
            // A 1xx or 204 response must not announce a body (RFC 9112 §6.1, RFC 9110 §8.6). The connection of one that
            // does is not reused, so that the body cannot be read as the answer to another caller's request.
            keep_alive &= !framing_headers.chunked && length.unwrap_or(0) == 0;
            Framing::Empty
        }
        _ if framing_headers.chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        None => {
            keep_alive = false;
            Framing::UntilClose
        }
    };
    Ok(ResponseHead { status, version, framing, keep_alive, headers })
}

/// Accepts the origin form only (RFC 9112 §3.2.1). Luner is not a forward proxy: any other form names a host that neither
/// routing nor policies would look at.
fn check_target(target: &str) -> Result<(), HeadError> {
    if !target.starts_with('/') {
        return Err(match target {
            "*" => HeadError::TargetAsterisk,
            _ if target.contains("://") => HeadError::TargetAbsolute,
            _ if target.contains(':') => HeadError::TargetAuthority,
            _ => HeadError::TargetForm,
        });
    }
    // One pass over a good target; only a bad one is read again, to name the fault.
    if target.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(match target.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => HeadError::TargetFragment,
            false => HeadError::TargetBytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod response_tests;
#[cfg(test)]
mod tests;

//! A request's or a response's head, parsed once, borrowed from the connection's buffer.
//! Values of one message, owned by the shard that reads it. httparse finds the tokens; everything that httparse
//! tolerates and another parser might read differently is refused here. Nothing is ever repaired.

use std::mem::MaybeUninit;

use super::framing::{self, Seen};
pub use super::head_error::HeadError;
use super::head_error::{fault, request_line_fault};
pub use super::headers::{Header, Headers};
pub use super::known_header::KnownHeader;
pub use super::scan::{HEADERS_MAX, HeadLimits, HeadScan, plausible_response_start};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
}

impl Method {
    /// Case matters (RFC 9110 §9.1). A name that HTTP itself does not define is a misspelling, or another protocol's.
    fn of(name: &str) -> Result<Method, HeadError> {
        Ok(match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "CONNECT" => return Err(HeadError::Connect),
            _ => return Err(HeadError::UnknownMethod),
        })
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    Http10,
    Http11,
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Empty,
    /// Payload bytes.
    Length(u64),
    Chunked,
    /// Responses only: the body ends when the upstream closes.
    UntilClose,
}

/// What the caller waits for before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expect {
    #[default]
    None,
    Continue,
    /// 417.
    Other,
}

#[derive(Clone, Debug)]
pub struct RequestHead<'b> {
    pub method: Method,
    /// Origin form: starts with `/`, visible ASCII, no fragment. Exactly as sent, nothing decoded.
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
    /// 100 to 599. After a 1xx the final response follows on the same connection.
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

/// Parses a request. `head` is exactly what [`HeadScan`] measured, so its line ends are known to be sound.
pub fn request<'b>(head: &'b [u8], limits: &HeadLimits) -> Result<RequestHead<'b>, HeadError> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    // httparse would skip any number of line ends here.
    if matches!(head, [b'\r' | b'\n', ..]) {
        return Err(HeadError::EmptyLinesBeforeStart);
    }
    let mut scratch = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = scratch.get_mut(..limits.headers.min(HEADERS_MAX)).unwrap_or_default();
    let mut tokens = httparse::Request::new(&mut []);
    match tokens.parse_with_uninit_headers(head, slots) {
        Ok(httparse::Status::Complete(bytes)) if bytes == head.len() => {}
        Ok(_) => return Err(HeadError::Incomplete),
        Err(error) => return Err(fault(error, head, request_line_fault)),
    }
    let (Some(method_name), Some(target), Some(minor)) = (tokens.method, tokens.path, tokens.version) else {
        return Err(HeadError::Incomplete);
    };
    let (method, version) = (Method::of(method_name)?, version(minor));
    check_target(target)?;

    let mut seen = Seen::default();
    let headers = Headers::gather(tokens.headers, &mut seen)?;
    seen.check_framing(version)?;
    match seen.host {
        Some(host) => framing::check_host(host)?,
        None if version == Version::Http11 => return Err(HeadError::HostMissing),
        None => {}
    }
    let framing = match seen.length {
        _ if seen.chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        // RFC 9112 §6.3 rule 7: a request never runs until close.
        None => Framing::Empty,
    };
    // RFC 9110 §10.1.1: a 1.0 client does not know 100, so its expectation is ignored.
    let expect = if version == Version::Http10 { Expect::None } else { seen.expect };
    Ok(RequestHead {
        method,
        target,
        version,
        framing,
        keep_alive: seen.keeps_alive(version),
        expect,
        upgrade: seen.upgrade,
        headers,
    })
}

/// Parses a response to a request that was made with the method `asked`. `head` is exactly what [`HeadScan`] measured.
pub fn response<'b>(head: &'b [u8], limits: &HeadLimits, asked: Method) -> Result<ResponseHead<'b>, HeadError> {
    // httparse would skip empty lines; only a server may (RFC 9112 §2.2).
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
        Err(error) => return Err(fault(error, head, |_| HeadError::StatusLine)),
    }
    let (Some(status), Some(minor)) = (tokens.code, tokens.version) else {
        return Err(HeadError::Incomplete);
    };
    if !(100..=599).contains(&status) {
        return Err(HeadError::StatusRange);
    }
    let version = version(minor);
    let mut seen = Seen::default();
    let headers = Headers::gather(tokens.headers, &mut seen)?;
    seen.check_framing(version)?;

    let mut keep_alive = seen.keeps_alive(version);
    let framing = match seen.length {
        _ if asked == Method::Head || status == 304 => Framing::Empty,
        length if status < 200 || status == 204 => {
            // Neither may announce a body (RFC 9112 §6.1, RFC 9110 §8.6). If one follows all the same, it must not
            // become the answer to somebody's next request.
            keep_alive &= !seen.chunked && length.unwrap_or(0) == 0;
            Framing::Empty
        }
        _ if seen.chunked => Framing::Chunked,
        Some(bytes) => Framing::Length(bytes),
        None => {
            keep_alive = false;
            Framing::UntilClose
        }
    };
    Ok(ResponseHead { status, version, framing, keep_alive, headers })
}

fn version(minor: u8) -> Version {
    match minor {
        0 => Version::Http10,
        // httparse knows no third one.
        _ => Version::Http11,
    }
}

/// Origin form only (RFC 9112 §3.2.1). Luner is no forward proxy: any other form names a host that
/// neither routing nor policies would look at.
fn check_target(target: &str) -> Result<(), HeadError> {
    if !target.starts_with('/') {
        return Err(match target {
            "*" => HeadError::TargetAsterisk,
            _ if target.contains("://") => HeadError::TargetAbsolute,
            _ if target.contains(':') => HeadError::TargetAuthority,
            _ => HeadError::TargetForm,
        });
    }
    // One pass over the target; which of the two it was is asked only when it is known to be wrong.
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

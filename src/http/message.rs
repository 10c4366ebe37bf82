//! The words that every HTTP/1 message is described with: method, version, framing, expectation.
//! Plain values that any thread may hold.
//! Never parses a header; only `Method` knows its own text.

use super::head_error::HeadError;

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
    /// Methods are case-sensitive (RFC 9110 §9.1). A name that HTTP itself does not define is a misspelling or belongs
    /// to another protocol.
    pub(super) fn parse(name: &str) -> Result<Method, HeadError> {
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

impl Version {
    /// `minor` comes from httparse, which accepts 0 and 1 only.
    pub(super) fn from_minor(minor: u8) -> Version {
        match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        }
    }
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    Empty,
    /// Payload bytes.
    Length(u64),
    Chunked,
    /// Responses only: the body ends when the upstream closes the connection.
    UntilClose,
}

/// The answer that the caller expects before it sends the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expect {
    #[default]
    None,
    Continue,
    /// An expectation that luner cannot meet; answered with 417.
    Other,
}

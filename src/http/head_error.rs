//! Every reason to refuse a head, each with one constant message.
//! Plain values that any thread may hold.
//! Never carries bytes from the peer, so the message is safe to log and to send back.

use std::fmt;

/// The reason for which a head was refused. The connection must be closed, because nobody knows where the next message
/// would start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadError {
    // Bytes and lines (RFC 9112 §2.2, §5).
    HeadTooLarge,
    TooManyHeaders,
    BareLineFeed,
    BareCarriageReturn,
    NulByte,
    EmptyLinesBeforeStart,
    Incomplete,
    SpaceBeforeFirstHeader,
    FoldedHeader,
    HeaderWithoutColon,
    EmptyHeaderName,
    SpaceBeforeColon,
    HeaderName,
    HeaderValue,
    // The request line (RFC 9112 §3).
    RequestLine,
    Version,
    UnknownMethod,
    Connect,
    TargetAsterisk,
    TargetAbsolute,
    TargetAuthority,
    TargetForm,
    TargetFragment,
    TargetBytes,
    // Host (RFC 9112 §3.2).
    HostMissing,
    HostTwice,
    HostEmpty,
    HostInvalid,
    // Framing (RFC 9112 §6).
    LengthAndTransferEncoding,
    LengthsDiffer,
    LengthTwice,
    LengthList,
    LengthEmpty,
    LengthNotDigits,
    LengthOverflow,
    TransferEncodingTwice,
    TransferEncodingUnknown,
    TransferEncodingOnHttp10,
    // The status line (RFC 9112 §4).
    StatusLine,
    StatusRange,
}

impl HeadError {
    /// True if only the size was wrong, which is answered with status 431 (RFC 6585 §5).
    pub fn is_too_large(&self) -> bool {
        matches!(self, HeadError::HeadTooLarge | HeadError::TooManyHeaders)
    }

    fn message(self) -> &'static str {
        match self {
            HeadError::HeadTooLarge => "the head is too large",
            HeadError::TooManyHeaders => "too many headers",
            HeadError::BareLineFeed => "a bare line feed in the head",
            HeadError::BareCarriageReturn => "a bare carriage return in the head",
            HeadError::NulByte => "a NUL byte in the head",
            HeadError::EmptyLinesBeforeStart => "more than one empty line before the request line",
            HeadError::Incomplete => "the head is incomplete",
            HeadError::SpaceBeforeFirstHeader => "white space before the first header",
            HeadError::FoldedHeader => "a header folded over several lines",
            HeadError::HeaderWithoutColon => "a header line without a colon",
            HeadError::EmptyHeaderName => "an empty header name",
            HeadError::SpaceBeforeColon => "white space between a header name and its colon",
            HeadError::HeaderName => "a header name with a character that is not allowed",
            HeadError::HeaderValue => "a header value with a control character",
            HeadError::RequestLine => "a malformed request line",
            HeadError::Version => "only HTTP/1.0 and HTTP/1.1 are supported",
            HeadError::UnknownMethod => "a method that HTTP does not define (methods are case-sensitive)",
            HeadError::Connect => "CONNECT is not supported",
            HeadError::TargetAsterisk => "the request target '*' is not supported",
            HeadError::TargetAbsolute => "a request target in absolute form is not supported",
            HeadError::TargetAuthority => "a request target in authority form is not supported",
            HeadError::TargetForm => "the request target does not start with '/'",
            HeadError::TargetFragment => "the request target contains a fragment",
            HeadError::TargetBytes => "the request target contains a character that is not visible ASCII",
            HeadError::HostMissing => "no host header",
            HeadError::HostTwice => "more than one host header",
            HeadError::HostEmpty => "an empty host header",
            HeadError::HostInvalid => "an invalid host header",
            HeadError::LengthAndTransferEncoding => "both content-length and transfer-encoding",
            HeadError::LengthsDiffer => "two different content-length headers",
            HeadError::LengthTwice => "more than one content-length header",
            HeadError::LengthList => "a list in the content-length header",
            HeadError::LengthEmpty => "empty content-length header",
            HeadError::LengthNotDigits => "a content-length that is not a decimal number",
            HeadError::LengthOverflow => "a content-length beyond 64 bits",
            HeadError::TransferEncodingTwice => "more than one transfer coding",
            HeadError::TransferEncodingUnknown => "a transfer-encoding other than chunked",
            HeadError::TransferEncodingOnHttp10 => "transfer-encoding in an HTTP/1.0 message",
            HeadError::StatusLine => "a malformed status line",
            HeadError::StatusRange => "a status outside 100 to 599",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}

/// Turns httparse's error into a precise reason. May read `head` again, because it runs for malformed heads only.
#[cold]
pub(super) fn explain(error: httparse::Error, head: &[u8], start_line: fn(&[u8]) -> HeadError) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::HeaderName => explain_header_name(head),
        httparse::Error::HeaderValue => HeadError::HeaderValue,
        httparse::Error::Version => explain_version(head),
        _ => start_line(head),
    }
}

/// Finds the first header line with a bad name. httparse has found that there is one.
fn explain_header_name(head: &[u8]) -> HeadError {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    for (position, line) in lines.enumerate() {
        if matches!(line, [b' ' | b'\t', ..]) {
            return match position {
                0 => HeadError::SpaceBeforeFirstHeader,
                _ => HeadError::FoldedHeader,
            };
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return HeadError::HeaderWithoutColon;
        };
        match line.get(..colon) {
            None | Some([]) => return HeadError::EmptyHeaderName,
            Some([.., b' ' | b'\t']) => return HeadError::SpaceBeforeColon,
            Some(name) if !name.iter().all(is_token_byte) => return HeadError::HeaderName,
            Some(_) => {}
        }
    }
    HeadError::HeaderName
}

/// `tchar` (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Tells an unsupported version, such as `HTTP/2.0`, from a line that is not HTTP at all.
fn explain_version(head: &[u8]) -> HeadError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match words.find_map(|word| word.strip_prefix(b"HTTP/")) {
        // The version itself is fine, so the line around it is malformed.
        Some(b"1.0" | b"1.1") => HeadError::RequestLine,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit() => HeadError::Version,
        _ if head.starts_with(b"HTTP/") => HeadError::StatusLine,
        _ => HeadError::RequestLine,
    }
}

/// Tells a target with forbidden bytes from a line that is not a request line at all.
pub(super) fn explain_request_line(head: &[u8]) -> HeadError {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(_), None)
            if method.iter().all(is_token_byte) && !target.iter().all(u8::is_ascii_graphic) =>
        {
            HeadError::TargetBytes
        }
        _ => HeadError::RequestLine,
    }
}

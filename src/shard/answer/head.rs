//! Heads of answers, line by line. Pure: bytes are appended to the connection's buffer, and the caller of these functions
//! writes the buffer out in one go.

use std::io::Write as _;

use super::ids::RequestId;
use crate::http::body;
use crate::http::head::Version;
use crate::names;
use crate::shard::ground::Date;
use crate::units::MicroUsd;

/// What the request decides about the form of its answer.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Whether the connection may serve another request.
    pub(crate) keep_alive: bool,
    /// An HTTP/1.0 client cannot read chunks.
    pub(crate) version: Version,
    /// The request was a HEAD: the answer has no body.
    pub(crate) head_only: bool,
    /// For `X-Request-Id`.
    pub(crate) request_id: Option<RequestId>,
    /// For `X-Luner-Trace-Id`.
    pub(crate) trace_id: Option<[u8; 32]>,
}

impl Frame {
    /// The frame for an answer that is written now. `draining` says whether the shard has begun to drain since the request
    /// arrived, in which case the connection closes.
    pub(crate) fn closing_if(&self, draining: bool) -> Frame {
        Frame { keep_alive: self.keep_alive && !draining, ..*self }
    }

    /// For an answer to bytes that were not a request, after which the connection closes.
    pub(crate) fn closing() -> Frame {
        Frame { keep_alive: false, version: Version::Http11, head_only: false, request_id: None, trace_id: None }
    }
}

/// Starts a head: status line, date, ids.
pub(crate) fn open(status: u16, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    header("Date", date.as_str().as_bytes(), out);
    if let Some(id) = &frame.request_id {
        header(names::REQUEST_ID, id.as_bytes(), out);
    }
    if let Some(id) = &frame.trace_id {
        header(names::TRACE_ID, id, out);
    }
    match (frame.keep_alive, frame.version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11) => {}
    }
}

/// Appends one header line. `value` must hold no CR or LF.
pub(crate) fn header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a header whose value came from outside. Everything that is not visible ASCII is percent-encoded, so that the
/// value can neither split the head nor be misread.
pub(crate) fn encoded_header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend([byte >> 4, byte & 0xf].map(|n| b"0123456789ABCDEF"[usize::from(n)]));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Which provider and model answered, for the answer's head.
pub(crate) struct Labels<'a> {
    pub(crate) provider: &'a str,
    /// The effective model.
    pub(crate) model: &'a str,
    /// The policy that changed the model.
    pub(crate) policy: Option<&'a str>,
}

impl Labels<'_> {
    /// Appends the labels and the cache status: HIT, MISS or BYPASS.
    pub(crate) fn write(&self, cache: &str, out: &mut Vec<u8>) {
        header(names::PROVIDER, self.provider.as_bytes(), out);
        encoded_header(names::MODEL, self.model, out);
        header(names::CACHE, cache.as_bytes(), out);
        if let Some(policy) = self.policy {
            encoded_header(names::POLICY, policy, out);
        }
    }
}

/// Appends what the request cost, in dollars.
pub(crate) fn cost(amount: MicroUsd, out: &mut Vec<u8>) {
    write!(out, "{}: {amount}\r\n", names::COST_USD).expect("a Vec takes all that is written to it");
}

/// Space reserved before a head for the line that says what the request cost. The line belongs right behind the head, but
/// the cost is known only once the body has arrived.
pub(crate) struct CostHeaderSlot {
    /// The end of the head when the space was reserved: where the line goes.
    end: usize,
}

impl CostHeaderSlot {
    /// Enough for the line with the largest possible amount.
    const BYTES: usize = 64;

    /// Reserves space before what stands in `out`, a head up to the end of a line.
    pub(crate) fn reserve(out: &mut Vec<u8>) -> CostHeaderSlot {
        out.splice(..0, [0; CostHeaderSlot::BYTES]);
        CostHeaderSlot { end: out.len() }
    }

    /// Moves the head into the reserved space and puts the line behind it. Returns the offset in `out` from which to send.
    pub(crate) fn fill(self, amount: MicroUsd, out: &mut [u8]) -> usize {
        let mut line = Vec::with_capacity(CostHeaderSlot::BYTES);
        cost(amount, &mut line);
        let from = CostHeaderSlot::BYTES.saturating_sub(line.len());
        out.copy_within(CostHeaderSlot::BYTES..self.end, from);
        if let Some(freed) = out.get_mut(self.end - line.len()..self.end) {
            freed.copy_from_slice(&line);
        }
        from
    }
}

/// Ends a head with the body's length.
pub(crate) fn length(bytes: usize, out: &mut Vec<u8>) {
    header("Content-Length", itoa::Buffer::new().format(bytes).as_bytes(), out);
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk of a body.
pub(crate) fn chunk(payload: &[u8], out: &mut Vec<u8>) {
    body::chunk_header(payload.len(), out);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The usual reason phrase, or an empty one for an unusual status (RFC 9112 section 4 allows that).
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_name_cannot_split_the_head() {
        let mut out = Vec::new();
        encoded_header("X-Luner-Model", "a\r\nSet-Cookie: x=1\u{e9}%", &mut out);
        assert_eq!(out, b"X-Luner-Model: a%0D%0ASet-Cookie:%20x=1%C3%A9%25\r\n");
    }

    #[test]
    fn cost_header_follows_the_head_and_precedes_the_length() {
        for amount in [MicroUsd(0), MicroUsd(1_234_567), MicroUsd(i64::MAX)] {
            let mut out = b"HTTP/1.1 200 OK\r\nDate: x\r\n".to_vec();
            let slot = CostHeaderSlot::reserve(&mut out);
            out.extend_from_slice(b"Content-Length: 2\r\n\r\nhi");
            let from = slot.fill(amount, &mut out);
            let expected =
                format!("HTTP/1.1 200 OK\r\nDate: x\r\nX-Luner-Cost-Usd: {amount}\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(String::from_utf8_lossy(&out[from..]), expected);
        }
    }
}

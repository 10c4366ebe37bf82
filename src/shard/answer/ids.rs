//! The ids of a request: the one in `X-Request-Id`, and its place in a trace. Pure values.

use super::traceparent::TraceParent;
use crate::clock::Now;

/// A request id: visible ASCII, stored without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct RequestId {
    len: u8,
    bytes: [u8; RequestId::BYTES_MAX],
}

impl RequestId {
    /// Longest id of a caller's that is kept. Arbitrary; OpenAI's are 40 bytes long.
    pub(crate) const BYTES_MAX: usize = 128;

    /// The caller's id. Returns `None` unless it is visible ASCII of 1 to [`RequestId::BYTES_MAX`] bytes.
    pub(crate) fn from_caller(text: &[u8]) -> Option<RequestId> {
        let valid = !text.is_empty() && text.len() <= RequestId::BYTES_MAX && text.iter().all(u8::is_ascii_graphic);
        let len = u8::try_from(text.len()).ok().filter(|_| valid)?;
        let mut bytes = [0; RequestId::BYTES_MAX];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Some(RequestId { len, bytes })
    }

    /// A new id made of 128 random bits.
    pub(crate) fn generate(random: u128) -> RequestId {
        let mut text = *b"req_00000000000000000000000000000000";
        text.iter_mut().skip(4).zip(hex(random)).for_each(|(to, from)| *to = from);
        RequestId::from_caller(&text).unwrap_or(RequestId { len: 0, bytes: [0; RequestId::BYTES_MAX] })
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The request's place in a trace (W3C Trace Context).
#[derive(Clone, Copy)]
pub(crate) struct TraceContext {
    /// Never 0.
    pub(crate) trace: u128,
    /// The request's own span. Never 0, which would name no span.
    pub(crate) span: u64,
    /// The caller's span, if it named one.
    pub(crate) parent: Option<u64>,
    /// The flags of `traceparent`: whether the caller samples the trace.
    pub(crate) flags: u8,
}

impl TraceContext {
    /// A new trace, from 128 random bits. Its id begins with the time, so that rows of one period lie together in an index.
    pub(crate) fn generate(now: Now, random: u128) -> TraceContext {
        let trace = u128::from(now.wall_ms) << 80 | random >> 48;
        TraceContext { trace, span: (random as u64) | 1, parent: None, flags: super::traceparent::SAMPLED }
    }

    /// The same request as part of its caller's trace.
    pub(crate) fn join(self, parent: TraceParent) -> TraceContext {
        TraceContext { trace: parent.trace_id, parent: Some(parent.span_id), flags: parent.flags, ..self }
    }
}

/// 32 lower-case hex digits.
pub(crate) fn hex(value: u128) -> [u8; 32] {
    let mut out = [0; 32];
    for (index, digit) in out.iter_mut().enumerate() {
        let nibble = (value >> (124 - 4 * index)) & 0xf;
        *digit = char::from_digit(nibble as u32, 16).map_or(b'0', |c| c as u8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_with_spaces_or_of_great_length_is_rejected() {
        assert!(RequestId::from_caller(b"a b").is_none());
        assert!(RequestId::from_caller(b"").is_none());
        assert!(RequestId::from_caller(&[b'a'; 129]).is_none());
        assert_eq!(RequestId::from_caller(&[b'a'; 128]).unwrap().as_bytes(), [b'a'; 128]);
    }

    #[test]
    fn generated_request_id_is_hexadecimal() {
        assert_eq!(RequestId::generate(0xab).as_bytes(), b"req_000000000000000000000000000000ab");
    }
}

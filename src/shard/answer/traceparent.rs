//! Reads the caller's `traceparent` header and writes the one for the provider (W3C Trace Context). Pure.

use std::io::Write as _;

/// The caller's position in its trace, as its `traceparent` header gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    pub(crate) flags: u8,
}

impl TraceParent {
    /// Reads a `traceparent` (version 00: `00-<32 hex>-<16 hex>-<2 hex>`). Returns `None` unless it is valid.
    pub(crate) fn read(traceparent: &[u8]) -> Option<TraceParent> {
        let text = std::str::from_utf8(traceparent).ok()?;
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, len: usize| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        if !(known && hex(trace, 32) && hex(span, 16) && hex(flags, 2)) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        Some(TraceParent { trace_id, span_id, flags: u8::from_str_radix(flags, 16).ok()? & PASSED_ON })
    }
}

/// Set in the flags when the caller samples the trace.
pub(crate) const SAMPLED: u8 = 1;
/// Flags that are passed on: [`SAMPLED`], and that the trace id is random (level 2, section 3.2.2.5.2). The others are
/// reserved and set to zero.
const PASSED_ON: u8 = SAMPLED | 2;

/// Offset of the span's sixteen digits in the header line.
pub(crate) const SPAN_AT: usize = "traceparent: 00-".len() + 32 + "-".len();

/// Appends the header that makes a provider's spans children of `span`.
pub(crate) fn write(trace: u128, span: u64, flags: u8, out: &mut Vec<u8>) {
    write!(out, "traceparent: 00-{trace:032x}-{span:016x}-{flags:02x}\r\n")
        .expect("a Vec takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_traceparent_is_read_and_written_back() {
        let parent = TraceParent::read(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span_id, parent.flags), (0x00f0_67aa_0ba9_02b7, 1));
        let mut out = Vec::new();
        write(parent.trace_id, 0xab, parent.flags, &mut out);
        assert_eq!(&out[SPAN_AT..SPAN_AT + 16], b"00000000000000ab");
        assert_eq!(out, b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00000000000000ab-01\r\n");
    }

    #[test]
    fn unknown_flags_are_cleared() {
        for (came, goes) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("04", 0)] {
            let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{came}");
            assert_eq!(TraceParent::read(text.as_bytes()).unwrap().flags, goes, "{came}");
        }
    }

    #[test]
    fn invalid_traceparent_is_ignored() {
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(TraceParent::read(text.as_bytes()), None, "{text}");
        }
    }
}

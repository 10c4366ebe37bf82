//! The caller's trace, from the header that carries it (W3C Trace Context). Pure.

/// The trace id of a `traceparent` header (W3C Trace Context, version 00: `00-<32 hex>-<16 hex>-<2 hex>`).
pub(super) fn trace_id(traceparent: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let known = hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let sane = known && hex(trace, 32) && hex(span, 16) && hex(flags, 2) && trace.bytes().any(|b| b != b'0');
    trace.as_bytes().try_into().ok().filter(|_| sane)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn a_valid_traceparent_names_its_trace() {
        let id = trace_id(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(&id, b"4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_traceparent_that_is_not_valid_is_ignored() {
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(trace_id(text.as_bytes()).is_none(), "{text}");
        }
    }
}

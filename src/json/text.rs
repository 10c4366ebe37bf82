//! Decodes and writes JSON strings.
//! Pure. A [`Text`] borrows the document and allocates only to decode an escape.

use std::borrow::Cow;

/// A string of a document that the walker has checked: every escape in it is complete, and no surrogate stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'b> {
    /// The bytes between the quotes, as written.
    pub raw: &'b str,
    /// The string contains a backslash.
    pub escaped: bool,
    /// Byte offset of the opening quote in the document.
    pub at: usize,
}

impl<'b> Text<'b> {
    /// The decoded string, borrowed if nothing is escaped.
    pub fn decode(&self) -> Cow<'b, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// Appends the decoded string.
    pub fn decode_onto(&self, out: &mut Vec<u8>) {
        if self.escaped {
            each_piece(self.raw, |piece| out.extend_from_slice(piece.as_bytes()));
        } else {
            out.extend_from_slice(self.raw.as_bytes());
        }
    }

    /// The number of characters (Unicode scalar values) of the decoded string.
    pub fn chars(&self) -> usize {
        if !self.escaped {
            return self.raw.chars().count();
        }
        let mut count = 0;
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
            let (char, after) = decode_escape(escape);
            count += plain.chars().count() + usize::from(char.is_some());
            rest = after;
        }
        count + rest.chars().count()
    }
}

/// Decodes the escapes of RFC 8259 §7. Expects text that was checked; of a broken escape it drops the backslash.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    each_piece(raw, |piece| out.push_str(piece));
    out
}

/// Passes the decoded text on, piece by piece.
fn each_piece(raw: &str, mut visit: impl FnMut(&str)) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
        visit(plain);
        let (char, after) = decode_escape(escape);
        if let Some(char) = char {
            visit(char.encode_utf8(&mut [0; 4]));
        }
        rest = after;
    }
    visit(rest);
}

/// Decodes the escape at the start of `text`. Returns its character and the rest of the text.
fn decode_escape(text: &str) -> (Option<char>, &str) {
    let after = text.get(2..).unwrap_or_default();
    let char = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&same @ (b'"' | b'\\' | b'/')) => char::from(same),
        Some(b'u') => return decode_unicode_escape(text),
        _ => return (None, text.get(1..).unwrap_or_default()),
    };
    (Some(char), after)
}

/// As [`decode_escape`], for `\uXXXX` and for a pair of surrogates.
fn decode_unicode_escape(text: &str) -> (Option<char>, &str) {
    let after = text.get(6..).unwrap_or_default();
    let Some(first) = hex_at(text.as_bytes(), 2) else {
        return (None, after);
    };
    if let Some(char) = char::from_u32(u32::from(first)) {
        return (Some(char), after);
    }
    let second = if after.starts_with("\\u") { hex_at(after.as_bytes(), 2) } else { None };
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next());
    (pair.and_then(Result::ok), after.get(6..).unwrap_or_default())
}

/// The value of the four hexadecimal digits at `at`.
pub(super) fn hex_at(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    digits.iter().try_fold(0u16, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | u16::try_from(digit).ok()?)
    })
}

/// Appends `text` as a JSON string with its quotes. Escapes `"`, `\`, all control characters of Unicode (U+0000–1F,
/// U+007F–9F) and the line separators U+2028 and U+2029, so that the result is also safe in a log line and in an SSE
/// `data:` line. Everything else stays as it is.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut plain_from = 0;
    // 0x7f and the lead bytes of U+0080–BF (0xc2) and U+2000–2FFF (0xe2) may belong to a character that is escaped.
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && !matches!(byte, b'"' | b'\\' | 0x7f | 0xc2 | 0xe2) {
            continue;
        }
        let Some(char) = text.get(at..).and_then(|rest| rest.chars().next()) else {
            continue;
        };
        if !matches!(char, '"' | '\\' | '\u{2028}' | '\u{2029}') && !char.is_control() {
            continue;
        }
        out.extend_from_slice(text.get(plain_from..at).unwrap_or_default().as_bytes());
        write_escape(char, out);
        plain_from = at + char.len_utf8();
    }
    out.extend_from_slice(text.get(plain_from..).unwrap_or_default().as_bytes());
    out.push(b'"');
}

fn write_escape(char: char, out: &mut Vec<u8>) {
    let short = match char {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => {
            // All characters that are escaped lie below U+10000.
            let code = u32::from(char);
            let digit = |shift: u32| char::from_digit(code >> shift & 0xf, 16).map_or(b'0', |digit| digit as u8);
            out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_survives_a_round_trip_and_serde_json_agrees() {
        let all: String = (0..=0xffffu32).chain([0x1f600, 0x10ffff]).filter_map(char::from_u32).collect();
        let mut out = Vec::new();
        write_string(&all, &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("valid"), all);
        assert!(!out.iter().any(|&byte| byte < 0x20 || byte == 0x7f));
        let raw = std::str::from_utf8(&out[1..out.len() - 1]).expect("UTF-8");
        let text = Text { raw, escaped: true, at: 0 };
        assert_eq!(text.decode(), all);
        assert_eq!(text.chars(), all.chars().count());
    }

    #[test]
    fn every_escape_is_decoded_as_by_serde_json() {
        for raw in ["\\b\\f\\n\\r\\t\\\"\\\\\\/", "a\\u00e9b", "\\ud83d\\ude00", "\\uD83D\\uDE00x", "\\u0000", "ß\\n語"]
        {
            let text = Text { raw, escaped: true, at: 0 };
            let expected: String = serde_json::from_str(&format!("\"{raw}\"")).expect("valid");
            assert_eq!(text.decode(), expected, "{raw}");
            let mut appended = b"before ".to_vec();
            text.decode_onto(&mut appended);
            assert_eq!(appended, format!("before {expected}").as_bytes(), "{raw}");
            assert_eq!(text.chars(), expected.chars().count(), "{raw}");
        }
    }

    #[test]
    fn broken_escape_never_panics() {
        for raw in ["\\", "\\u", "\\u12", "\\ud83d", "\\ud83d\\u", "\\ud83d\\u0041", "\\udc00", "\\é", "\\u00é0", "\\x"]
        {
            let text = Text { raw, escaped: true, at: 0 };
            let _ = (text.decode(), text.chars());
        }
    }
}

//! The walker's smallest steps: one string, number, or word. `walker.rs` has the grammar between them.
//! Each step is linear in the bytes of its token, and leaves the walker just after that token.

use super::error::{JsonError, JsonErrorKind};
use super::limits::NUMBER_BYTES_MAX;
use super::scan::{self, InString};
use super::text::{self, Text};
use super::walker::{Value, Walker};

impl<'b> Walker<'b> {
    pub(super) fn scalar(&mut self) -> Result<Value<'b>, Box<JsonError>> {
        let (word, value) = match self.peek() {
            Some(b'"') => return self.text().map(Value::String),
            Some(b'-' | b'0'..=b'9') => return self.number().map(Value::Number),
            Some(b't') => ("true", Value::Bool(true)),
            Some(b'f') => ("false", Value::Bool(false)),
            Some(b'n') => ("null", Value::Null),
            _ => return self.expected("a value"),
        };
        self.count_value()?;
        if !self.rest().starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(value)
    }

    pub(super) fn text(&mut self) -> Result<Text<'b>, Box<JsonError>> {
        self.count_value()?;
        self.string()
    }

    /// Reads a string. The walker must stand at its opening quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'b>, Box<JsonError>> {
        let at = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = scan::find::<InString>(self.body.as_bytes(), self.at);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    // Escapes often follow each other: `\"\n`, or a whole text of `\uXXXX`.
                    while self.byte() == Some(b'\\') {
                        self.escape()?;
                    }
                }
                Some(_) => return self.error(JsonErrorKind::ControlCharacter),
                None => return self.expected("'\"' at the end of a string"),
            }
        }
        let raw = self.body.get(at + 1..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Text { raw, escaped, at })
    }

    fn escape(&mut self) -> Result<(), Box<JsonError>> {
        let bytes = self.body.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match bytes.get(self.at + 2..).and_then(|rest| rest.first_chunk::<4>()) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => self.unicode_escape(digits),
                _ => self.error(JsonErrorKind::BadEscape),
            },
            _ => self.error(JsonErrorKind::BadEscape),
        }
    }

    /// Steps over `\uXXXX`. A surrogate must be followed by its other half.
    #[inline]
    fn unicode_escape(&mut self, digits: &[u8; 4]) -> Result<(), Box<JsonError>> {
        self.at += match digits {
            [b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B', ..] => {
                let bytes = self.body.as_bytes();
                match (bytes.get(self.at + 6..self.at + 8), text::hex_at(bytes, self.at + 8)) {
                    (Some(b"\\u"), Some(0xdc00..0xe000)) => 12,
                    _ => return self.error(JsonErrorKind::LoneSurrogate),
                }
            }
            [b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..] => return self.error(JsonErrorKind::LoneSurrogate),
            _ => 6,
        };
        Ok(())
    }

    /// Reads a number (RFC 8259 §6). As for any value, the caller checks what follows.
    pub(super) fn number(&mut self) -> Result<&'b str, Box<JsonError>> {
        self.count_value()?;
        let bytes = self.body.as_bytes();
        let from = self.at;
        let mut at = from + usize::from(bytes.get(from) == Some(&b'-'));
        let whole = digits(bytes, at);
        let mut well_formed = whole == 1 || (whole > 1 && bytes.get(at) != Some(&b'0'));
        at += whole;
        if bytes.get(at) == Some(&b'.') {
            let count = digits(bytes, at + 1);
            well_formed &= count > 0;
            at += 1 + count;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let count = digits(bytes, at);
            well_formed &= count > 0;
            at += count;
        }
        if !well_formed {
            return self.error(JsonErrorKind::BadNumber);
        }
        if at - from > NUMBER_BYTES_MAX {
            return self.error(JsonErrorKind::LongNumber);
        }
        self.at = at;
        Ok(self.body.get(from..at).unwrap_or_default())
    }
}

/// The number of digits from `at` on.
#[inline(always)]
fn digits(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
}

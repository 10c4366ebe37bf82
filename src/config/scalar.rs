//! The scalar values of a file: their YAML type, and their text in messages.
//! Used on the coordinator at start and on a reload.
//! Never shows the value of a variable.

use zeroize::Zeroizing;

pub(super) struct Scalar {
    /// The value after expansion of variables. May be a secret.
    pub text: Zeroizing<String>,
    /// True if the value is not quoted, so that it may be a number, a boolean or null.
    pub plain: bool,
    /// The text in the file, if variables were expanded. A message may repeat this text only.
    pub written: Option<String>,
}

impl Scalar {
    /// Returns the value as written in the file, quoted for a message, with variables unexpanded.
    pub fn shown(&self) -> String {
        quote(self.written.as_deref().unwrap_or(&self.text))
    }

    pub fn plain_value(&self) -> Plain {
        if self.plain { plain_value(&self.text) } else { Plain::Text }
    }
}

/// The type and value of an unquoted scalar in the core schema of YAML 1.2.
#[derive(Debug, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

pub(super) fn plain_value(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Plain::Float(f64::INFINITY);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return i64::from_str_radix(digits, radix).map_or(Plain::Text, Plain::Int);
        }
    }
    // Rust parses "nan" and "infinity" as floats, but YAML does not: a digit must come first.
    let numeric = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(int), _) if numeric => Plain::Int(int),
        (_, Ok(float)) if numeric => Plain::Float(float),
        _ => Plain::Text,
    }
}

/// Quotes a piece of the file in backticks. Escapes control characters and truncates long text.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Longest text in a message, in characters. Arbitrary: enough to recognise a value, short enough for one line.
pub(super) const SHOWN_CHARS_MAX: usize = 80;

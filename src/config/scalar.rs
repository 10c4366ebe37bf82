//! The smallest values of the file: what an unquoted one is, and how a message may show it.
//! Runs on the coordinator at start and on a reload.
//! Never shows what a variable held.

use zeroize::Zeroizing;

pub(super) struct Scalar {
    /// The value, after variables were put in. May be a secret.
    pub text: Zeroizing<String>,
    /// Unquoted, so it may be a number, a truth value or nothing.
    pub plain: bool,
    /// What the file says, when variables were put in: the only form a message may repeat.
    pub written: Option<String>,
}

impl Scalar {
    /// The value as the file writes it, quoted for a message; never what a variable held.
    pub fn shown(&self) -> String {
        quote(self.written.as_deref().unwrap_or(&self.text))
    }

    pub fn plain_value(&self) -> Plain {
        if self.plain { plain_value(&self.text) } else { Plain::Text }
    }
}

/// What an unquoted scalar is by YAML 1.2's core schema.
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
    // Rust reads "nan" and "infinity" as floats, YAML does not: a digit must come first.
    let numeric = unsigned.strip_prefix('.').unwrap_or(unsigned).starts_with(|c: char| c.is_ascii_digit());
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(int), _) if numeric => Plain::Int(int),
        (_, Ok(float)) if numeric => Plain::Float(float),
        _ => Plain::Text,
    }
}

/// Backticks around a piece of the file: control characters escaped, long text cut.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Arbitrary: enough to recognise a value by, little enough for one line.
pub(super) const SHOWN_CHARS_MAX: usize = 80;

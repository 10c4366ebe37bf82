//! Finds an answer's usage and model while the answer passes through, without parsing the rest of it.
//! One scan per answer, owned by its shard. It never holds more than [`CAPTURE_BYTES_MAX`] bytes and never changes or
//! judges the answer.

use super::usage;
use crate::json::scan::{InString, InStructure, find};
use crate::json::{Text, Value, Walker};
use crate::llm::{MODEL_BYTES_MAX, Usage};

#[cfg(test)]
mod tests;

/// The usage stated in a complete answer.
pub fn of_answer(body: &[u8]) -> Option<Usage> {
    let mut scan = UsageScan::new();
    scan.feed(body);
    scan.finish()
}

/// Finds the top-level members `usage` and `model` of an answer that arrives in pieces of any size.
///
/// It tracks strings and depth only: on an answer that is not JSON it may find anything or nothing. If a member occurs
/// twice, the last one counts.
#[derive(Debug, Default)]
pub struct UsageScan {
    depth: u32,
    place: Place,
    /// The answer is an object, not an array.
    object: bool,
    /// The next string at depth 1 is a key.
    key_due: bool,
    /// The capture that is in progress.
    capturing: Capture,
    /// The capture that starts after the next `:`.
    wanted: Capture,
    captured: Vec<u8>,
    usage: Option<Usage>,
    model: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Structure,
    String,
    /// In a string, after a backslash.
    Escape,
    /// The answer has ended.
    After,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Capture {
    #[default]
    Nothing,
    Key,
    Usage,
    Model,
}

impl UsageScan {
    pub fn new() -> Self {
        Self::default()
    }

    /// Scans the next bytes of the answer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut at = 0;
        // Where the bytes being captured begin in this piece; earlier ones are in `captured` already.
        let mut from = 0;
        loop {
            match self.place {
                Place::Structure if self.depth > 1 => at = find::<InStructure>(bytes, at),
                Place::String => at = find::<InString>(bytes, at),
                Place::After => return,
                Place::Structure | Place::Escape => {}
            }
            let Some(&byte) = bytes.get(at) else { break };
            let ends = match self.place {
                Place::String => byte == b'"' && self.capturing == Capture::Key,
                Place::Structure => self.depth == 1 && matches!(byte, b',' | b'}' | b']'),
                Place::Escape | Place::After => false,
            };
            if ends {
                self.capture(bytes.get(from..at));
                self.complete();
            }
            let before = self.capturing;
            self.step(byte);
            at += 1;
            if self.capturing != before {
                from = at;
            }
        }
        self.capture(bytes.get(from..));
    }

    /// The usage found. `None` if there was none, it was null, or the answer was cut off within it.
    pub fn finish(self) -> Option<Usage> {
        self.usage
    }

    /// The model that the answer names, unless the name is longer than [`MODEL_BYTES_MAX`].
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Moves over one byte. A capture that starts here starts after that byte.
    fn step(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Escape, _) => self.place = Place::String,
            (Place::String, b'"') => self.place = Place::Structure,
            (Place::String, b'\\') => self.place = Place::Escape,
            (Place::Structure, b'"') => {
                self.place = Place::String;
                if self.depth == 1 && std::mem::take(&mut self.key_due) {
                    self.capturing = Capture::Key;
                }
            }
            (Place::Structure, b'{' | b'[') => {
                if self.depth == 0 {
                    self.object = byte == b'{';
                    self.key_due = self.object;
                }
                self.depth = self.depth.saturating_add(1);
            }
            (Place::Structure, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.place = Place::After;
                }
            }
            (Place::Structure, b',') if self.depth == 1 => self.key_due = self.object,
            (Place::Structure, b':') if self.depth == 1 => self.capturing = std::mem::take(&mut self.wanted),
            _ => {}
        }
    }

    /// Appends bytes to the current capture; gives the capture up when it exceeds its limit.
    fn capture(&mut self, bytes: Option<&[u8]>) {
        let bytes_max = match self.capturing {
            Capture::Nothing => return,
            Capture::Key => KEY_BYTES_MAX,
            Capture::Model => 6 * MODEL_BYTES_MAX,
            Capture::Usage => CAPTURE_BYTES_MAX,
        };
        let bytes = bytes.unwrap_or_default();
        if self.captured.len() + bytes.len() <= bytes_max {
            self.captured.extend_from_slice(bytes);
            return;
        }
        if self.capturing == Capture::Usage {
            self.usage = Some(Usage { flawed: true, ..Usage::default() });
        }
        self.capturing = Capture::Nothing;
        self.captured.clear();
    }

    /// Interprets the key or value whose capture is complete.
    fn complete(&mut self) {
        match std::mem::take(&mut self.capturing) {
            Capture::Nothing => {}
            Capture::Key => self.wanted = wanted(&self.captured),
            Capture::Usage => self.usage = usage::read(&self.captured).map(|report| report.settle(&usage::COUNTING)),
            Capture::Model => self.model = model(&self.captured),
        }
        self.captured.clear();
    }
}

/// The capture for the value of this key. The key is given raw, as written between its quotes.
fn wanted(raw: &[u8]) -> Capture {
    let raw = std::str::from_utf8(raw).unwrap_or_default();
    match (Text { raw, escaped: raw.contains('\\'), at: 0 }).decode().as_ref() {
        "usage" => Capture::Usage,
        "model" => Capture::Model,
        _ => Capture::Nothing,
    }
}

fn model(json: &[u8]) -> Option<Box<str>> {
    let (_, value) = Walker::lenient(json).ok()?.value().ok()?;
    let Value::String(text) = value else { return None };
    let name = text.decode();
    (name.len() <= MODEL_BYTES_MAX).then(|| name.into())
}

/// Longest usage object that is captured. Arbitrary; a usage object has about 400 bytes.
pub const CAPTURE_BYTES_MAX: usize = 16 << 10;
/// Enough for `model` and `usage` with every letter written as `\uXXXX`.
const KEY_BYTES_MAX: usize = 32;
const _: () = assert!(KEY_BYTES_MAX >= 6 * "usage".len() && KEY_BYTES_MAX >= 6 * "model".len());

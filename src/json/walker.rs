//! A strict, bounded walker over one JSON text (RFC 8259): one pass without recursion or a tree, and values are borrowed.
//! Created and dropped within one call, on the thread that uses it. It never accepts what the RFC forbids (comments, NaN,
//! trailing commas, a BOM, raw control characters), nor what the RFC only advises against (lone surrogates, duplicate
//! keys), because two readers of such a text may see two different requests.

use std::ops::Range;

use super::error::{JsonError, JsonErrorKind, excerpt};
use super::keys::{OpenKey, OpenKeys};
use super::limits::{DEPTH_MAX_DEFAULT, MEMBERS_MAX, VALUES_MAX};
use super::text::Text;

/// Steps through a text. The caller asks for what it expects next, and everything in between is checked on the way.
///
/// After the first `Err` the walker must not be used any more.
#[derive(Debug)]
pub struct Walker<'b> {
    pub(super) body: &'b str,
    pub(super) at: usize,
    depth_max: usize,
    unique_keys: bool,
    values_left: usize,
    members_left: usize,
    open: Vec<Frame>,
    keys: OpenKeys<'b>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    object: bool,
    /// Nothing was read in the container yet, so no comma is expected.
    fresh: bool,
    keys_mark: usize,
}

/// A value that was walked over. The contents of a container are checked but not returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'b> {
    Null,
    Bool(bool),
    Number(&'b str),
    String(Text<'b>),
    Array,
    Object,
}

impl Value<'_> {
    /// The name of the type with its article, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array => "an array",
            Value::Object => "an object",
        }
    }
}

impl<'b> Walker<'b> {
    /// A walker for a text from outside on which decisions depend: keys must be unique in every object, and at most
    /// `depth_max` containers may be open at once. Checks the encoding of the whole text first, so that all other steps
    /// can rely on it.
    pub fn strict(body: &'b [u8], depth_max: usize) -> Result<Self, Box<JsonError>> {
        Self::new(body, depth_max, true)
    }

    /// A walker for a text that is only observed. Duplicate keys are accepted.
    pub fn lenient(body: &'b [u8]) -> Result<Self, Box<JsonError>> {
        Self::new(body, DEPTH_MAX_DEFAULT, false)
    }

    /// A walker for a text that [`Walker::strict`] accepted before, with the same depth. Its keys are known to be unique, so
    /// they are not compared again.
    pub fn prechecked(body: &'b [u8], depth_max: usize) -> Result<Self, Box<JsonError>> {
        Self::new(body, depth_max, false)
    }

    fn new(body: &'b [u8], depth_max: usize, unique_keys: bool) -> Result<Self, Box<JsonError>> {
        let body = match simdutf8::basic::from_utf8(body) {
            Ok(body) => body,
            // Only the slow check reports the position.
            Err(_) => std::str::from_utf8(body)
                .map_err(|error| Box::new(JsonError::new(error.valid_up_to(), JsonErrorKind::NotUtf8)))?,
        };
        if body.starts_with('\u{feff}') {
            return Err(Box::new(JsonError::new(0, JsonErrorKind::ByteOrderMark)));
        }
        Ok(Walker {
            body,
            at: 0,
            depth_max,
            unique_keys,
            values_left: VALUES_MAX,
            members_left: MEMBERS_MAX,
            open: Vec::with_capacity(8),
            keys: OpenKeys::default(),
        })
    }

    /// The first byte of the next token, after white space.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<u8> {
        match self.byte() {
            Some(b' ' | b'\n' | b'\r' | b'\t') => self.peek_after_space(),
            byte => byte,
        }
    }

    fn peek_after_space(&mut self) -> Option<u8> {
        let rest = self.rest();
        self.at += rest.iter().position(|&byte| !is_space(byte)).unwrap_or(rest.len());
        self.byte()
    }

    /// The offset of the next token, after white space.
    pub fn next_at(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// Enters the object that comes next, and returns the offset after its `{`. [`Walker::next_key`] continues from there.
    pub fn open_object(&mut self) -> Result<usize, Box<JsonError>> {
        match self.peek() {
            Some(b'{') => self.open(true),
            _ => self.expected("'{'"),
        }
    }

    /// Enters the array that comes next, and returns the offset after its `[`. [`Walker::next_item`] continues from there.
    pub fn open_array(&mut self) -> Result<usize, Box<JsonError>> {
        match self.peek() {
            Some(b'[') => self.open(false),
            _ => self.expected("'['"),
        }
    }

    /// Returns the next key of the innermost open object; its value comes next. `None` means that the object has ended.
    pub fn next_key(&mut self) -> Result<Option<Text<'b>>, Box<JsonError>> {
        let Some(frame) = self.open.last_mut() else {
            return self.expected("an open object");
        };
        let (fresh, mark) = (frame.fresh, frame.keys_mark);
        frame.fresh = false;
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.open.pop();
                self.keys.close(mark).map_err(duplicate_key)?;
                return Ok(None);
            }
            Some(b',') if !fresh => self.at += 1,
            _ if !fresh => return self.expected("',' or '}'"),
            _ => {}
        }
        if self.peek() != Some(b'"') {
            return self.expected(if fresh { "a key or '}'" } else { "a key" });
        }
        let key = self.string()?;
        match self.members_left.checked_sub(1) {
            Some(left) => self.members_left = left,
            None => return self.error(JsonErrorKind::TooManyMembers),
        }
        if self.unique_keys {
            self.keys.push(mark, key.decode(), key.at).map_err(duplicate_key)?;
        }
        if self.peek() != Some(b':') {
            return self.expected("':'");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Returns true if the innermost open array has another item, which comes next, and false if the array has ended.
    pub fn next_item(&mut self) -> Result<bool, Box<JsonError>> {
        let Some(frame) = self.open.last_mut() else {
            return self.expected("an open array");
        };
        let fresh = std::mem::replace(&mut frame.fresh, false);
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                self.open.pop();
                return Ok(false);
            }
            Some(b',') if !fresh => self.at += 1,
            _ if !fresh => return self.expected("',' or ']'"),
            _ => {}
        }
        Ok(true)
    }

    /// Walks over the next value. Returns its range in the text, and the value.
    pub fn value(&mut self) -> Result<(Range<usize>, Value<'b>), Box<JsonError>> {
        self.value_with(|_, _| {})
    }

    /// Walks over the next value.
    pub fn skip(&mut self) -> Result<(), Box<JsonError>> {
        match self.peek() {
            Some(b'"') => self.text().map(|_| ()),
            _ => self.value().map(|_| ()),
        }
    }

    /// As [`Walker::value`], and passes every string in the value that is not a key to `visit`, together with the last key
    /// before it, if there is one.
    pub fn value_with(
        &mut self,
        mut visit: impl FnMut(Option<Text<'b>>, Text<'b>),
    ) -> Result<(Range<usize>, Value<'b>), Box<JsonError>> {
        let from = self.next_at();
        let floor = self.open.len();
        let mut key = None;
        let value = match self.peek() {
            Some(b'{') => Value::Object,
            Some(b'[') => Value::Array,
            _ => self.scalar()?,
        };
        match value {
            Value::Object => self.open(true)?,
            Value::Array => self.open(false)?,
            Value::String(text) => {
                visit(None, text);
                return Ok((from..self.at, value));
            }
            _ => return Ok((from..self.at, value)),
        };
        while let Some(frame) = self.open.get(floor..).and_then(|inner| inner.last()) {
            let more = if frame.object {
                let next = self.next_key()?;
                key = next.or(key);
                next.is_some()
            } else {
                self.next_item()?
            };
            if more {
                match self.peek() {
                    Some(b'{') => drop(self.open(true)?),
                    Some(b'[') => drop(self.open(false)?),
                    Some(b'"') => visit(key, self.text()?),
                    Some(b'-' | b'0'..=b'9') => drop(self.number()?),
                    _ => drop(self.scalar()?),
                }
            }
        }
        Ok((from..self.at, value))
    }

    /// Returns true if the range contains nothing but white space.
    pub fn is_blank(&self, range: Range<usize>) -> bool {
        self.body.get(range).is_some_and(|text| text.bytes().all(is_space))
    }

    /// Checks that nothing but white space is left.
    pub fn end(&mut self) -> Result<(), Box<JsonError>> {
        match self.peek() {
            None if self.open.is_empty() => Ok(()),
            _ => self.expected("the end of the text"),
        }
    }

    fn open(&mut self, object: bool) -> Result<usize, Box<JsonError>> {
        self.count_value()?;
        if self.open.len() >= self.depth_max {
            return self.error(JsonErrorKind::TooDeep);
        }
        self.open.push(Frame { object, fresh: true, keys_mark: self.keys.mark() });
        self.at += 1;
        Ok(self.at)
    }

    #[inline(always)]
    pub(super) fn count_value(&mut self) -> Result<(), Box<JsonError>> {
        match self.values_left.checked_sub(1) {
            Some(left) => self.values_left = left,
            None => return self.error(JsonErrorKind::TooManyValues),
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn byte(&self) -> Option<u8> {
        self.body.as_bytes().get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'b [u8] {
        self.body.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[cold]
    #[inline(never)]
    pub(super) fn expected<T>(&self, what: &'static str) -> Result<T, Box<JsonError>> {
        self.error(JsonErrorKind::Expected(what))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn error<T>(&self, kind: JsonErrorKind) -> Result<T, Box<JsonError>> {
        Err(Box::new(JsonError::new(self.at, kind)))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cold]
fn duplicate_key(key: OpenKey<'_>) -> Box<JsonError> {
    Box::new(JsonError::new(key.at, JsonErrorKind::DuplicateKey(excerpt(&key.name).into())))
}

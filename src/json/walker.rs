//! A strict, bounded walker over one JSON text (RFC 8259): no recursion, no tree, one pass, values borrowed.
//! Made and dropped within one call on the thread that uses it. It never accepts what the RFC forbids (comments, NaN,
//! trailing commas, a BOM, raw control characters), and neither what it only advises against (lone surrogates, the
//! same key twice), because two readers of such a text may see two different requests.

use std::ops::Range;

use super::fault::{Fault, FaultKind, excerpt};
use super::keys::Keys;
use super::limits::{DEPTH_MAX_DEFAULT, MEMBERS_MAX, VALUES_MAX};
use super::text::Text;

/// Steps through a text. The caller says what it expects next; everything between is checked on the way.
///
/// After the first `Err` the walker is of no further use.
#[derive(Debug)]
pub struct Walker<'b> {
    pub(super) body: &'b str,
    pub(super) at: usize,
    depth_max: usize,
    unique_keys: bool,
    values_left: usize,
    members_left: usize,
    open: Vec<Frame>,
    keys: Keys<'b>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    object: bool,
    /// Nothing was read in it yet, so no comma is due.
    fresh: bool,
    keys_mark: usize,
}

/// A value that was walked over. Containers are checked, and then known by their bytes alone.
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
    /// With its article, for messages.
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
    /// For a text from outside that will be judged: keys are unique in every object, at most `depth_max` containers
    /// are open at once. Checks the encoding of the whole text, so that all else can rely on it.
    pub fn strict(body: &'b [u8], depth_max: usize) -> Result<Self, Box<Fault>> {
        Self::new(body, depth_max, true)
    }

    /// For a text that is only observed: a key may come twice.
    pub fn lenient(body: &'b [u8]) -> Result<Self, Box<Fault>> {
        Self::new(body, DEPTH_MAX_DEFAULT, false)
    }

    /// For a text that [`Walker::strict`] has let through before, with the same depth: its keys are unique, so they are
    /// not compared again.
    pub fn again(body: &'b [u8], depth_max: usize) -> Result<Self, Box<Fault>> {
        Self::new(body, depth_max, false)
    }

    fn new(body: &'b [u8], depth_max: usize, unique_keys: bool) -> Result<Self, Box<Fault>> {
        let body = match simdutf8::basic::from_utf8(body) {
            Ok(body) => body,
            // Only the slow way knows where.
            Err(_) => std::str::from_utf8(body)
                .map_err(|error| Box::new(Fault::new(error.valid_up_to(), FaultKind::NotUtf8)))?,
        };
        if body.starts_with('\u{feff}') {
            return Err(Box::new(Fault::new(0, FaultKind::ByteOrderMark)));
        }
        Ok(Walker {
            body,
            at: 0,
            depth_max,
            unique_keys,
            values_left: VALUES_MAX,
            members_left: MEMBERS_MAX,
            open: Vec::with_capacity(8),
            keys: Keys::default(),
        })
    }

    /// The first byte of what comes next, after white space.
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

    /// The offset of what comes next, after white space.
    pub fn next_at(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// Enters the object that comes next; [`Walker::next_key`] goes on from there. The offset after its `{`.
    pub fn open_object(&mut self) -> Result<usize, Box<Fault>> {
        match self.peek() {
            Some(b'{') => self.open(true),
            _ => self.expected("'{'"),
        }
    }

    /// Enters the array that comes next; [`Walker::next_item`] goes on from there. The offset after its `[`.
    pub fn open_array(&mut self) -> Result<usize, Box<Fault>> {
        match self.peek() {
            Some(b'[') => self.open(false),
            _ => self.expected("'['"),
        }
    }

    /// The next key of the innermost open object, whose value comes next; `None` leaves the object.
    pub fn next_key(&mut self) -> Result<Option<Text<'b>>, Box<Fault>> {
        let Some(frame) = self.open.last_mut() else {
            return self.expected("an open object");
        };
        let (fresh, mark) = (frame.fresh, frame.keys_mark);
        frame.fresh = false;
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.open.pop();
                self.keys.close(mark).map_err(duplicate)?;
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
            None => return self.fault(FaultKind::TooManyMembers),
        }
        if self.unique_keys {
            self.keys.note(mark, key.decode(), key.at).map_err(duplicate)?;
        }
        if self.peek() != Some(b':') {
            return self.expected("':'");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the innermost open array has another item, which comes next; `false` leaves the array.
    pub fn next_item(&mut self) -> Result<bool, Box<Fault>> {
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

    /// Walks over the value that comes next. Its bytes, and what it is.
    pub fn value(&mut self) -> Result<(Range<usize>, Value<'b>), Box<Fault>> {
        self.value_with(|_, _| {})
    }

    /// Walks over the value that comes next, whatever it is.
    pub fn skip(&mut self) -> Result<(), Box<Fault>> {
        match self.peek() {
            Some(b'"') => self.text().map(|_| ()),
            _ => self.value().map(|_| ()),
        }
    }

    /// As [`Walker::value`]; tells `visit` of every string in the value that is not a key, with the key that came
    /// last before it, if any.
    pub fn value_with(
        &mut self,
        mut visit: impl FnMut(Option<Text<'b>>, Text<'b>),
    ) -> Result<(Range<usize>, Value<'b>), Box<Fault>> {
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

    /// There is only white space in this range.
    pub fn is_blank(&self, range: Range<usize>) -> bool {
        self.body.get(range).is_some_and(|text| text.bytes().all(is_space))
    }

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), Box<Fault>> {
        match self.peek() {
            None if self.open.is_empty() => Ok(()),
            _ => self.expected("the end of the text"),
        }
    }

    fn open(&mut self, object: bool) -> Result<usize, Box<Fault>> {
        self.count_value()?;
        if self.open.len() >= self.depth_max {
            return self.fault(FaultKind::TooDeep);
        }
        self.open.push(Frame { object, fresh: true, keys_mark: self.keys.mark() });
        self.at += 1;
        Ok(self.at)
    }

    #[inline(always)]
    pub(super) fn count_value(&mut self) -> Result<(), Box<Fault>> {
        match self.values_left.checked_sub(1) {
            Some(left) => self.values_left = left,
            None => return self.fault(FaultKind::TooManyValues),
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
    pub(super) fn expected<T>(&self, what: &'static str) -> Result<T, Box<Fault>> {
        self.fault(FaultKind::Expected(what))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn fault<T>(&self, kind: FaultKind) -> Result<T, Box<Fault>> {
        Err(Box::new(Fault::new(self.at, kind)))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cold]
fn duplicate((name, at): (std::borrow::Cow<'_, str>, usize)) -> Box<Fault> {
    Box::new(Fault::new(at, FaultKind::DuplicateKey(excerpt(&name).into())))
}

//! The canonical form of a request body: equivalent bodies give the same bytes, whatever their member order, spacing and
//! escapes, and any other body gives different bytes. One shard owns the scratch space and reuses it for every request.
//! There is no recursion and no tree, and no body can cause more than O(n log n) work.
//!
//! A value is written as a tag and its content. Content without a fixed size is preceded by its length or count, so that no
//! two structures give the same bytes. Arrays keep their order. Members of an object are sorted by their written key. To
//! keep sorting from moving many bytes, a string longer than [`INLINE_MAX`] bytes, and a container that is longer than that
//! and stands in an object, are replaced with their hash, which depends only on their own canonical form.
//!
//! Members that cannot change the answer are left out, at the top level only: `model` (the key contains the effective model
//! besides the body), `user`, `metadata`, `stream_options`, `"stream": false`, `"background": false`, and null members,
//! which the API treats as absent. Deeper down null is a value (not every provider treats `"content": null` as absent
//! content).

use super::hash::HashKey;
use super::number;
use crate::json::{JsonError, Text, Value, Walker};

/// Reason why a body has no canonical form.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The body is not JSON that luner accepts.
    Malformed,
    /// The answer depends on state at the provider (`conversation`) or comes later (`background`).
    Stateful,
    /// Writing the form would block the shard for too long.
    TooLaborious,
}

/// Writes canonical forms into a buffer that it reuses.
#[derive(Debug)]
pub(super) struct Canonical {
    hash_key: HashKey,
    out: Vec<u8>,
    open: Vec<Frame>,
    /// Members of all open objects; those of inner objects come after those of outer ones.
    members: Vec<Member>,
    /// Work that the current body may still cause, in array items; starts at [`LABOUR_MAX`].
    labour_left: u32,
    /// Scratch space for sorting members.
    ordered: Vec<u8>,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Frame {
    object: bool,
    /// True if the container is a member's value, so that sorting may move its bytes.
    in_object: bool,
    /// Position of its tag in `out`.
    at: usize,
    items: u32,
    members_from: usize,
}

/// A member of an object, as positions in `out`.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// First bytes of the written key; they usually decide the order.
    prefix: u64,
    at: usize,
    value_at: usize,
    end: usize,
}

impl Canonical {
    pub(super) fn new(hash_key: HashKey) -> Canonical {
        Canonical {
            hash_key,
            out: Vec::new(),
            open: Vec::new(),
            members: Vec::new(),
            labour_left: 0,
            ordered: Vec::new(),
        }
    }

    /// Returns the hash of the bytes that `start` writes, followed by the canonical form of `body`. The bytes of `start`
    /// must be unambiguous by themselves.
    pub(super) fn hash(
        &mut self,
        start: impl FnOnce(&mut Vec<u8>),
        body: &[u8],
        depth_max: usize,
    ) -> Result<u128, Unwritten> {
        self.labour_left = LABOUR_MAX;
        start(&mut self.out);
        let written = self.write(body, depth_max);
        let hash = written.map(|()| self.hash_key.hash(&self.out));
        self.open.clear();
        self.members.clear();
        // One huge body must not pin its memory for ever.
        self.members.shrink_to(SCRATCH_KEPT_MAX / size_of::<Member>());
        for scratch in [&mut self.out, &mut self.ordered] {
            scratch.clear();
            scratch.shrink_to(SCRATCH_KEPT_MAX);
        }
        hash
    }

    fn write(&mut self, body: &[u8], depth_max: usize) -> Result<(), Unwritten> {
        let mut walker = Walker::prechecked(body, depth_max)?;
        walker.open_object()?;
        self.open(true, false);
        while let Some(frame) = self.open.last() {
            if frame.object {
                self.end_member();
                match walker.next_key()? {
                    Some(key) if self.open.len() > 1 => {
                        self.key(&key)?;
                        self.value(&mut walker, true)?;
                    }
                    Some(key) => self.top_member(&mut walker, &key)?,
                    None => self.close_object(),
                }
            } else if walker.next_item()? {
                self.count(1)?;
                self.value(&mut walker, false)?;
            } else {
                self.close_array();
            }
        }
        Ok(walker.end()?)
    }

    /// Writes a member of the body itself.
    fn top_member(&mut self, walker: &mut Walker<'_>, key: &Text<'_>) -> Result<(), Unwritten> {
        let name = key.decode();
        if matches!(&*name, "model" | "user" | "metadata" | "stream_options") {
            return Ok(walker.skip()?);
        }
        self.key(key)?;
        if matches!(walker.peek(), Some(b'n' | b'f')) {
            let value = walker.value()?.1;
            if value == Value::Null || matches!(&*name, "stream" | "background") {
                self.forget_member();
            } else {
                self.scalar(value);
            }
            return Ok(());
        }
        if matches!(&*name, "conversation" | "background") {
            return Err(Unwritten::Stateful);
        }
        self.value(walker, true)
    }

    /// Writes the next value; only enters it if it is a container.
    fn value(&mut self, walker: &mut Walker<'_>, in_object: bool) -> Result<(), Unwritten> {
        match walker.peek() {
            Some(b'{') => {
                walker.open_object()?;
                self.open(true, in_object);
            }
            Some(b'[') => {
                walker.open_array()?;
                self.open(false, in_object);
            }
            _ => {
                let value = walker.value()?.1;
                self.scalar(value);
            }
        }
        Ok(())
    }

    fn scalar(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.out.push(NULL),
            Value::Bool(false) => self.out.push(FALSE),
            Value::Bool(true) => self.out.push(TRUE),
            Value::Number(raw) => number::write(raw, &mut self.out),
            Value::String(text) => self.string(&text, INLINE_MAX),
            Value::Array | Value::Object => unreachable!("containers are entered, not walked over"),
        }
    }

    /// Writes a string, or its hash when its decoded text is longer than `inline_max` bytes.
    fn string(&mut self, text: &Text<'_>, inline_max: usize) {
        if !text.escaped && text.raw.len() > inline_max {
            let hash = self.hash_key.hash(text.raw.as_bytes());
            return self.push_hash(STRING_HASH, hash);
        }
        let at = self.out.len();
        self.out.extend_from_slice(&[STRING, 0, 0]);
        text.decode_onto(&mut self.out);
        let content = self.out.get(at + 3..).unwrap_or_default();
        match u16::try_from(content.len()) {
            Ok(len) if content.len() <= inline_max => self.patch(at + 1, &len.to_be_bytes()),
            _ => {
                let hash = self.hash_key.hash(content);
                self.out.truncate(at);
                self.push_hash(STRING_HASH, hash);
            }
        }
    }

    fn key(&mut self, key: &Text<'_>) -> Result<(), Unwritten> {
        self.count(MEMBER_LABOUR)?;
        let at = self.out.len();
        self.string(key, KEY_INLINE_MAX);
        // Skips the tag.
        let written = self.out.get(at + 1..).unwrap_or_default();
        let mut prefix = [0; 8];
        for (byte, of_key) in prefix.iter_mut().zip(written) {
            *byte = *of_key;
        }
        let prefix = u64::from_be_bytes(prefix);
        self.members.push(Member { prefix, at, value_at: self.out.len(), end: 0 });
        Ok(())
    }

    /// Extends the last member to the end of `out`. That may cover only part of its value; the last call before the next key
    /// sets the final end.
    fn end_member(&mut self) {
        if let Some(member) = self.members.last_mut() {
            member.end = self.out.len();
        }
    }

    /// Removes the last member, from its key on.
    fn forget_member(&mut self) {
        if let Some(member) = self.members.pop() {
            self.out.truncate(member.at);
        }
        if let Some(frame) = self.open.last_mut() {
            frame.items -= 1;
        }
    }

    fn open(&mut self, object: bool, in_object: bool) {
        let at = self.out.len();
        self.out.extend_from_slice(&[if object { OBJECT } else { ARRAY }, 0, 0, 0, 0]);
        self.open.push(Frame { object, in_object, at, items: 0, members_from: self.members.len() });
    }

    fn count(&mut self, labour: u32) -> Result<(), Unwritten> {
        self.labour_left = self.labour_left.checked_sub(labour).ok_or(Unwritten::TooLaborious)?;
        if let Some(frame) = self.open.last_mut() {
            frame.items += 1;
        }
        Ok(())
    }

    fn close_array(&mut self) {
        if let Some(frame) = self.open.pop() {
            self.close(frame, ARRAY_HASH);
        }
    }

    fn close_object(&mut self) {
        let Some(frame) = self.open.pop() else { return };
        let members = self.members.get_mut(frame.members_from..).unwrap_or_default();
        let out = &self.out;
        let key = |member: &Member| out.get(member.at..member.value_at).unwrap_or_default();
        let before = |a: &Member, b: &Member| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b)));
        if !members.is_sorted_by(|a, b| before(a, b).is_le()) {
            members.sort_unstable_by(before);
            self.ordered.clear();
            for member in members.iter() {
                self.ordered.extend_from_slice(out.get(member.at..member.end).unwrap_or_default());
            }
            // Exactly as long as the bytes it replaces, because the members are adjacent, with nothing between them.
            self.patch_with_ordered(frame.at + 5);
        }
        self.members.truncate(frame.members_from);
        self.close(frame, OBJECT_HASH);
    }

    /// Writes the item count, and replaces the container with its hash if it is too long to be moved.
    fn close(&mut self, frame: Frame, hash_tag: u8) {
        self.patch(frame.at + 1, &frame.items.to_be_bytes());
        let written = self.out.get(frame.at..).unwrap_or_default();
        if frame.in_object && written.len() > INLINE_MAX {
            let hash = self.hash_key.hash(written);
            self.out.truncate(frame.at);
            self.push_hash(hash_tag, hash);
        }
    }

    fn push_hash(&mut self, tag: u8, hash: u128) {
        self.out.push(tag);
        self.out.extend_from_slice(&hash.to_le_bytes());
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.out.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn patch_with_ordered(&mut self, at: usize) {
        if let Some(place) = self.out.get_mut(at..at + self.ordered.len()) {
            place.copy_from_slice(&self.ordered);
        }
    }
}

impl From<Box<JsonError>> for Unwritten {
    fn from(_: Box<JsonError>) -> Self {
        Unwritten::Malformed
    }
}

// Tags of values. The tags of numbers are in `number`.
const NULL: u8 = b'n';
const FALSE: u8 = b'f';
const TRUE: u8 = b't';
const STRING: u8 = b's';
const STRING_HASH: u8 = b'S';
const ARRAY: u8 = b'a';
const ARRAY_HASH: u8 = b'A';
const OBJECT: u8 = b'o';
const OBJECT_HASH: u8 = b'O';

/// Longest string, and longest container in an object, that is written inline, in bytes; longer ones are replaced with their
/// hash. Arbitrary: copying this much twice costs about as much as hashing it (45 ns), and sorting 131,072 members (the
/// walker's bound) moves at most 64 MiB.
const INLINE_MAX: usize = 512;
const _: () = assert!(INLINE_MAX <= u16::MAX as usize && KEY_INLINE_MAX <= INLINE_MAX);
/// Longest key that is written inline, in bytes; longer ones are replaced with their hash, which keeps comparing two keys
/// cheap. Arbitrary: a typical key is one word.
const KEY_INLINE_MAX: usize = 64;
/// Most array items in one body; an object member counts as [`MEMBER_LABOUR`] items. Arbitrary: enough for 650 tools with 50
/// members each, or for a prompt of 130,000 token ids; the worst body of 10 MiB takes 7 ms.
const LABOUR_MAX: u32 = 1 << 17;
/// Approximate cost of an object member, with its key and its sorting, relative to a number in an array.
const MEMBER_LABOUR: u32 = 4;
/// Scratch space kept from request to request, in bytes. Arbitrary: many times the need of a typical body.
const SCRATCH_KEPT_MAX: usize = 64 * 1024;

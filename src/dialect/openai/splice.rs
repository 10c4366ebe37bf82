//! Changes parts of a request's body and leaves all other bytes as they are, so that the provider reads what was judged.
//! Owned by the request. At most two changes, each made from the [`Layout`] of that body.

use std::borrow::Cow;
use std::ops::Range;

use super::path;
use super::request::{Layout, StreamOptions};
use crate::json::write_string;
use crate::llm::Operation;

/// The changes to one body. A second change of the same kind replaces the first.
#[derive(Clone, Debug, Default)]
pub struct Splices {
    model: Option<Splice>,
    usage: Option<Splice>,
}

#[derive(Clone, Debug)]
struct Splice {
    /// Empty if bytes are only inserted.
    range: Range<usize>,
    bytes: Cow<'static, [u8]>,
}

impl Splices {
    pub fn is_empty(&self) -> bool {
        self.model.is_none() && self.usage.is_none()
    }

    /// Length of the changed body, for `Content-Length`.
    pub fn len_after(&self, body_len: usize) -> usize {
        self.in_order().fold(body_len, |len, splice| (len + splice.bytes.len()).saturating_sub(splice.range.len()))
    }

    /// Appends the changed body.
    pub fn write(&self, body: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.len_after(body.len()));
        for piece in self.pieces(body) {
            out.extend_from_slice(piece);
        }
    }

    /// The changed body in at most five pieces, for a vectored write.
    pub fn pieces<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut from = 0;
        let changed = self.in_order().flat_map(move |splice| {
            let kept = body.get(from..splice.range.start).unwrap_or_default();
            from = splice.range.end;
            [kept, &splice.bytes]
        });
        let last = self.in_order().last().map_or(0, |splice| splice.range.end);
        changed.chain([body.get(last..).unwrap_or_default()])
    }

    fn in_order(&self) -> impl Iterator<Item = &Splice> {
        let start = |splice: &Option<Splice>| splice.as_ref().map(|splice| splice.range.start);
        let (first, second) = if start(&self.model) < start(&self.usage) {
            (&self.model, &self.usage)
        } else {
            (&self.usage, &self.model)
        };
        first.iter().chain(second)
    }
}

/// Sets `stream_options.include_usage` to true, whatever its value was. Returns false and changes nothing if it is true
/// already, or if the operation has no such option.
pub fn include_usage(operation: Operation, layout: &Layout, splices: &mut Splices) -> bool {
    if layout.include_usage == Some(true) || !path::reports_usage_on_request(operation) {
        return false;
    }
    let (range, bytes): (Range<usize>, &'static [u8]) = match &layout.stream_options {
        // A member follows: at least the model.
        StreamOptions::Absent => {
            (layout.members_at..layout.members_at, br#""stream_options":{"include_usage":true},"#.as_slice())
        }
        StreamOptions::Null(range) => (range.clone(), br#"{"include_usage":true}"#),
        StreamOptions::Object { include_usage: Some(range), .. } => (range.clone(), b"true"),
        StreamOptions::Object { members_at, empty: true, .. } => (*members_at..*members_at, br#""include_usage":true"#),
        StreamOptions::Object { members_at, .. } => (*members_at..*members_at, br#""include_usage":true,"#),
    };
    splices.usage = Some(Splice { range, bytes: Cow::Borrowed(bytes) });
    true
}

/// Replaces the model's name.
pub fn replace_model(layout: &Layout, model: &str, splices: &mut Splices) {
    let mut bytes = Vec::new();
    write_string(model, &mut bytes);
    splices.model = Some(Splice { range: layout.model.clone(), bytes: Cow::Owned(bytes) });
}

#[cfg(test)]
mod tests;

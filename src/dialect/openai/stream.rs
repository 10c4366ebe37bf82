//! What one event of a streamed answer says, and the event that tells a client its stream has failed.
//! Called for every event on the shard that relays the stream; it keeps nothing between two events, and the events
//! themselves are not changed here.

use super::error::{ErrorBody, write_optional};
use super::usage::Usage;
use crate::json::{Fault, Text, Value, Walker, write_string};
use crate::llm::Operation;

#[cfg(test)]
mod tests;

/// What an event means for the accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Cumulative for the whole stream, where it is stated.
    pub usage: Option<Usage>,
    /// Nothing but usage: `choices` is an empty array. The chunk that `include_usage` adds.
    pub only_usage: bool,
    /// The answer ends with this event, well or not: `[DONE]`, or a final event of Responses.
    pub done: bool,
    /// The provider says that it failed: an `error`, or `response.failed`.
    pub failed: bool,
    /// Characters of generated text in it, to estimate tokens where usage never comes.
    pub content_chars: usize,
    /// Responses count their events.
    pub sequence: Option<u64>,
}

/// Reads an event: its name, if it has one, and its data.
///
/// Data that is not JSON says nothing.
pub fn read_chunk(operation: Operation, event_name: Option<&[u8]>, data: &[u8]) -> Chunk {
    // The SDKs of OpenAI look at the start alone, too.
    if data.starts_with(b"[DONE]") {
        return Chunk { done: true, ..Chunk::default() };
    }
    let mut chunk = Chunk { failed: event_name == Some(b"error".as_slice()), ..Chunk::default() };
    let read = match operation {
        Operation::Responses => chunk.read_response_event(data),
        _ => chunk.read_completion(data),
    };
    if read.is_err() {
        return Chunk { failed: chunk.failed, ..Chunk::default() };
    }
    chunk
}

impl Chunk {
    /// A chunk of chat completions or completions.
    fn read_completion(&mut self, data: &[u8]) -> Result<(), Box<Fault>> {
        let mut walker = Walker::lenient(data)?;
        walker.open_object()?;
        while let Some(key) = walker.next_key()? {
            match key.raw {
                "choices" => self.read_choices(&mut walker)?,
                "usage" => self.usage = read_usage(&mut walker, data)?,
                "error" => self.failed |= truthy(walker.value()?.1),
                _ => walker.skip()?,
            }
        }
        self.only_usage &= self.usage.is_some();
        Ok(())
    }

    fn read_choices(&mut self, walker: &mut Walker<'_>) -> Result<(), Box<Fault>> {
        let from = walker.next_at();
        let mut chars = 0;
        let (range, value) = walker.value_with(|key, text| {
            if key.is_some_and(|key| GENERATED.contains(&key.raw)) {
                chars += text.chars();
            }
        })?;
        self.content_chars += chars;
        // `[]`, with white space at most between.
        self.only_usage = value == Value::Array && walker.is_blank(from + 1..range.end.saturating_sub(1));
        Ok(())
    }

    /// An event of Responses: `{"type":"response.…","sequence_number":…,…}`.
    fn read_response_event(&mut self, data: &[u8]) -> Result<(), Box<Fault>> {
        let mut walker = Walker::lenient(data)?;
        walker.open_object()?;
        let (mut kind, mut delta) = (None::<Text<'_>>, None::<Text<'_>>);
        while let Some(key) = walker.next_key()? {
            match key.raw {
                "response" if walker.peek() == Some(b'{') => {
                    walker.open_object()?;
                    while let Some(key) = walker.next_key()? {
                        match key.raw {
                            "usage" => self.usage = read_usage(&mut walker, data)?,
                            _ => walker.skip()?,
                        }
                    }
                }
                "type" | "delta" | "sequence_number" | "error" => match (key.raw, walker.value()?.1) {
                    ("type", Value::String(text)) => kind = Some(text),
                    ("delta", Value::String(text)) => delta = Some(text),
                    ("sequence_number", Value::Number(raw)) => self.sequence = raw.parse().ok(),
                    ("error", value) => self.failed |= truthy(value),
                    _ => {}
                },
                _ => walker.skip()?,
            }
        }
        let kind = kind.map_or("", |kind| kind.raw);
        self.done = matches!(kind, "response.completed" | "response.incomplete" | "response.failed");
        self.failed |= matches!(kind, "response.failed" | "error");
        // Audio comes as base64, which is no text.
        if kind.ends_with(".delta") && !kind.starts_with("response.audio.") {
            self.content_chars = delta.map_or(0, |delta| delta.chars());
        }
        Ok(())
    }
}

fn read_usage(walker: &mut Walker<'_>, data: &[u8]) -> Result<Option<Usage>, Box<Fault>> {
    match walker.value()? {
        (_, Value::Null) => Ok(None),
        (range, _) => Ok(Usage::of_value(data.get(range).unwrap_or_default())),
    }
}

/// As JavaScript and Python see it, for `error`: an error object, or a text that is not empty.
fn truthy(value: Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.raw.is_empty(),
        Value::Number(raw) => raw != "0",
        Value::Bool(true) | Value::Array | Value::Object => true,
    }
}

/// Appends an event that makes OpenAI's own clients raise, for a stream that has failed on the way.
/// `sequence` is the number after the last event's; only Responses has one.
///
/// The shape follows what the clients do rather than the API's reference. openai-python raises only if the data has
/// a truthy member `error`, whatever the event is called; the documented `{"type":"error","code":…}` of Responses
/// comes out as an ordinary item. openai-node throws for unnamed and `response.…` events with such a member, and for
/// any event called `error`, where it wants `error` and `message`. So Responses gets both shapes in one.
pub fn error_event(operation: Operation, error: &ErrorBody<'_>, sequence: u64, out: &mut Vec<u8>) {
    if operation != Operation::Responses {
        out.extend_from_slice(b"data: ");
        error.write(out);
        out.extend_from_slice(b"\n\n");
        return;
    }
    out.extend_from_slice(b"event: error\ndata: {\"type\":\"error\",\"code\":");
    write_optional(error.code, out);
    out.extend_from_slice(b",\"message\":");
    write_string(error.message, out);
    out.extend_from_slice(b",\"param\":");
    write_optional(error.param, out);
    out.extend_from_slice(b",\"sequence_number\":");
    out.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    out.extend_from_slice(b",\"error\":");
    error.write_inner(out);
    out.extend_from_slice(b"}\n\n");
}

/// Keys under `choices` whose strings a model wrote: chat, refusals, tool calls, completions, and what other
/// providers call reasoning.
const GENERATED: [&str; 6] = ["content", "arguments", "text", "refusal", "reasoning_content", "reasoning"];

//! Reads one event of a streamed answer, and writes the event that tells a client that its stream has failed.
//! Called for every event on the shard that relays the stream. It keeps no state between events and never changes them.

use super::error::{ErrorBody, write_optional};
use super::usage;
use crate::json::{JsonError, Text, Value, Walker, write_string};
use crate::llm::{Chunk, Operation, UsageReport};

#[cfg(test)]
mod tests;

/// Reads an event from its name, if it has one, and its data. Data that is not JSON yields an empty chunk.
pub fn read_chunk(operation: Operation, event_name: Option<&[u8]>, data: &[u8]) -> Chunk {
    // OpenAI's SDKs compare only the start, too.
    if data.starts_with(b"[DONE]") {
        return Chunk { done: true, ..Chunk::default() };
    }
    let failed = event_name == Some(b"error".as_slice());
    let mut chunk = Chunk { failed, ..Chunk::default() };
    let read = match operation {
        Operation::Responses => read_response_event(data, &mut chunk),
        _ => read_completion(data, &mut chunk),
    };
    if read.is_err() {
        return Chunk { failed, ..Chunk::default() };
    }
    chunk
}

/// Reads a chunk of chat completions or completions.
fn read_completion(data: &[u8], chunk: &mut Chunk) -> Result<(), Box<JsonError>> {
    let mut walker = Walker::lenient(data)?;
    walker.open_object()?;
    while let Some(key) = walker.next_key()? {
        match key.raw {
            "choices" => read_choices(&mut walker, chunk)?,
            "usage" => chunk.usage = read_usage(&mut walker, data)?,
            "error" => chunk.failed |= truthy(walker.value()?.1),
            _ => walker.skip()?,
        }
    }
    chunk.only_usage &= chunk.usage.is_some();
    Ok(())
}

fn read_choices(walker: &mut Walker<'_>, chunk: &mut Chunk) -> Result<(), Box<JsonError>> {
    let from = walker.next_at();
    let mut chars = 0;
    let (range, value) = walker.value_with(|key, text| {
        if key.is_some_and(|key| GENERATED.contains(&key.raw)) {
            chars += text.chars();
        }
    })?;
    chunk.generated_chars += chars;
    // `[]`, with nothing but white space between the brackets.
    chunk.only_usage = value == Value::Array && walker.is_blank(from + 1..range.end.saturating_sub(1));
    Ok(())
}

/// Reads an event of Responses: `{"type":"response.…","sequence_number":…,…}`.
fn read_response_event(data: &[u8], chunk: &mut Chunk) -> Result<(), Box<JsonError>> {
    let mut walker = Walker::lenient(data)?;
    walker.open_object()?;
    let (mut kind, mut delta) = (None::<Text<'_>>, None::<Text<'_>>);
    while let Some(key) = walker.next_key()? {
        match key.raw {
            "response" if walker.peek() == Some(b'{') => {
                walker.open_object()?;
                while let Some(key) = walker.next_key()? {
                    match key.raw {
                        "usage" => chunk.usage = read_usage(&mut walker, data)?,
                        _ => walker.skip()?,
                    }
                }
            }
            "type" | "delta" | "sequence_number" | "error" => match (key.raw, walker.value()?.1) {
                ("type", Value::String(text)) => kind = Some(text),
                ("delta", Value::String(text)) => delta = Some(text),
                ("sequence_number", Value::Number(raw)) => chunk.sequence = raw.parse().ok(),
                ("error", value) => chunk.failed |= truthy(value),
                _ => {}
            },
            _ => walker.skip()?,
        }
    }
    let kind = kind.map_or("", |kind| kind.raw);
    chunk.done = matches!(kind, "response.completed" | "response.incomplete" | "response.failed");
    chunk.failed |= matches!(kind, "response.failed" | "error");
    // Audio deltas are base64, not text.
    if kind.ends_with(".delta") && !kind.starts_with("response.audio.") {
        chunk.generated_chars = delta.map_or(0, |delta| delta.chars());
    }
    Ok(())
}

fn read_usage(walker: &mut Walker<'_>, data: &[u8]) -> Result<Option<UsageReport>, Box<JsonError>> {
    match walker.value()? {
        (_, Value::Null) => Ok(None),
        (range, _) => Ok(usage::read(data.get(range).unwrap_or_default())),
    }
}

/// Returns whether JavaScript and Python take the value of `error` for true: an error object, or a text that is not empty.
fn truthy(value: Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.raw.is_empty(),
        Value::Number(raw) => raw != "0",
        Value::Bool(true) | Value::Array | Value::Object => true,
    }
}

/// Appends an event that makes OpenAI's own clients raise an error, for a stream that failed after its head was sent.
/// `sequence` is the number that follows the last event's; only Responses numbers its events.
///
/// The shape follows the clients' behaviour rather than the API's reference. openai-python raises only if the data has
/// a truthy member `error`, whatever the event is called; the documented `{"type":"error","code":…}` of Responses
/// reaches the application as an ordinary item. openai-node throws for unnamed and `response.…` events with such a
/// member, and for any event called `error`, where it expects `error` and `message`. So Responses gets both shapes in
/// one event.
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

/// Keys under `choices` whose strings a model wrote: chat, tool calls, completions, refusals, and the names that other
/// providers give to reasoning.
const GENERATED: [&str; 6] = ["content", "arguments", "text", "refusal", "reasoning_content", "reasoning"];

//! Reads what the gateway needs from an answer's body besides its usage: whether it calls tools.
//! Pure. It reads the few members that it needs and changes nothing.

use crate::json::{Value, Walker};

/// Returns whether an answer calls tools, for every operation. Returns true if that is in doubt: an answer that calls
/// tools must not be cached.
pub fn calls_tools(body: &[u8]) -> bool {
    // Most answers contain none of these names, and searching the bytes is cheaper than walking the JSON. An escape may
    // hide a name.
    let names = [b"tool_calls".as_slice(), b"function_call", b"\\u"];
    if names.iter().all(|name| memchr::memmem::find(body, name).is_none()) {
        return false;
    }
    Walker::lenient(body).ok().and_then(|mut walker| value_calls_tools(&mut walker, DEPTH_MAX)).unwrap_or(true)
}

/// Levels that are searched; deeper values are skipped. Arbitrary: choices, their messages and output items lie within
/// four levels.
const DEPTH_MAX: u32 = 6;

/// Returns `None` if the text is broken.
fn value_calls_tools(walker: &mut Walker<'_>, depth_left: u32) -> Option<bool> {
    let mut found = false;
    match walker.peek() {
        Some(_) if depth_left == 0 => walker.skip().ok()?,
        Some(b'{') => {
            walker.open_object().ok()?;
            while let Some(key) = walker.next_key().ok()? {
                let key = key.decode();
                found |= match key.as_ref() {
                    "tool_calls" | "function_call" => is_non_empty(walker)?,
                    "type" => {
                        matches!(walker.value().ok()?.1, Value::String(kind) if kind.decode() == "function_call")
                    }
                    _ => value_calls_tools(walker, depth_left - 1)?,
                };
            }
        }
        Some(b'[') => {
            walker.open_array().ok()?;
            while walker.next_item().ok()? {
                found |= value_calls_tools(walker, depth_left - 1)?;
            }
        }
        _ => walker.skip().ok()?,
    }
    Some(found)
}

/// Walks over the next value. Returns whether it is neither null nor an empty list.
fn is_non_empty(walker: &mut Walker<'_>) -> Option<bool> {
    match walker.peek() {
        Some(b'n') => walker.skip().ok().map(|()| false),
        Some(b'[') => {
            walker.open_array().ok()?;
            let mut non_empty = false;
            while walker.next_item().ok()? {
                non_empty = true;
                walker.skip().ok()?;
            }
            Some(non_empty)
        }
        _ => walker.skip().ok().map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_calls_are_found_in_the_answers_of_every_operation() {
        for (body, calls) in [
            (r#"{"choices":[{"message":{"content":"the word tool_calls"}}]}"#, false),
            (r#"{"choices":[{"message":{"content":"hi","tool_calls":null}}]}"#, false),
            (r#"{"choices":[{"message":{"content":"hi","tool_calls":[ ]}}]}"#, false),
            (r#"{"choices":[{"message":{"tool_calls":[{"id":"call_1"}]}}]}"#, true),
            (r#"{"choices":[{"message":{"function_call":{"name":"f"}}}]}"#, true),
            (r#"{"choices":[{"message":{"tool_c\u0061lls":[{"id":"call_1"}]}}]}"#, true),
            (r#"{"output":[{"type":"message"},{"type":"function_call","call_id":"c"}]}"#, true),
            (r#"{"output":[{"type":"message","content":[{"text":"function_call"}]}]}"#, false),
            ("tool_calls", true),
        ] {
            assert_eq!(calls_tools(body.as_bytes()), calls, "{body}");
        }
    }
}

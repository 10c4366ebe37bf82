//! What an answer's body says beyond its usage. Pure; it reads the few members that it needs and changes nothing.

use crate::json::Walker;

/// Whether an answer calls tools, whichever endpoint gave it. Where that is in doubt, it does.
pub fn calls_tools(body: &[u8]) -> bool {
    // Most answers name nothing of the kind, and one pass over the bytes is cheaper than reading them.
    let named = [b"tool_calls".as_slice(), b"function_call", b"\\u"];
    if named.iter().all(|name| memchr::memmem::find(body, name).is_none()) {
        return false;
    }
    Walker::lenient(body).ok().and_then(|mut walker| in_value(&mut walker, DEPTH_MAX)).unwrap_or(true)
}

/// Deeper, nothing is looked for: choices, their messages and output items lie above. Arbitrary.
const DEPTH_MAX: u32 = 6;

/// None where the text is broken.
fn in_value(walker: &mut Walker<'_>, depth_left: u32) -> Option<bool> {
    let mut found = false;
    match walker.peek() {
        Some(_) if depth_left == 0 => walker.skip().ok()?,
        Some(b'{') => {
            walker.open_object().ok()?;
            while let Some(key) = walker.next_key().ok()? {
                let key = key.decode();
                found |= match key.as_ref() {
                    "tool_calls" | "function_call" => holds_something(walker)?,
                    "type" => {
                        matches!(walker.value().ok()?.1, crate::json::Value::String(kind) if kind.decode() == "function_call")
                    }
                    _ => in_value(walker, depth_left - 1)?,
                };
            }
        }
        Some(b'[') => {
            walker.open_array().ok()?;
            while walker.next_item().ok()? {
                found |= in_value(walker, depth_left - 1)?;
            }
        }
        _ => walker.skip().ok()?,
    }
    Some(found)
}

/// Neither null nor an empty list.
fn holds_something(walker: &mut Walker<'_>) -> Option<bool> {
    match walker.peek() {
        Some(b'n') => walker.skip().ok().map(|()| false),
        Some(b'[') => {
            walker.open_array().ok()?;
            let mut holds = false;
            while walker.next_item().ok()? {
                holds = true;
                walker.skip().ok()?;
            }
            Some(holds)
        }
        _ => walker.skip().ok().map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_where_the_endpoints_put_them() {
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

//! Invents a value that a JSON Schema accepts, for the arguments of a tool call or a `json_schema` format. Supports
//! what SDKs generate: objects, arrays, enums and plain types, but not `$ref`. Never validates.

use serde_json::{Map, Value, json};

/// An instance of `schema` whose strings are `text`. Depth is bounded by serde_json's own limit of 128.
pub fn instance(schema: &Value, text: &str) -> Value {
    if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
        return first.clone();
    }
    if let Some(first) = schema.get("anyOf").and_then(|all| all.get(0)) {
        return instance(first, text);
    }
    let kind = schema.get("type").map(|kind| kind.get(0).unwrap_or(kind)).and_then(Value::as_str);
    match kind {
        Some("string") => json!(text),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => Value::Array(schema.get("items").map(|item| instance(item, text)).into_iter().collect()),
        _ => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let filled = fields.into_iter().flatten().map(|(name, field)| (name.clone(), instance(field, text)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_gets_a_value() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
            "unit": {"enum": ["celsius", "kelvin"]}, "tags": {"type": "array", "items": {"type": "string"}}
        }});
        let expected = json!({"city": "Paris", "days": 1, "unit": "celsius", "tags": ["Paris"]});
        assert_eq!(instance(&schema, "Paris"), expected);
    }
}

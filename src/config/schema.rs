//! Generates two JSON Schemas (draft 2020-12) from the shapes: the internal one, which `check.rs` follows, has `x-` keywords
//! for what a schema cannot express; the public one, for editors, does not.
//! Generated on demand, on the coordinator or by `luner schema`.
//! Never written by hand.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::shapes::Config;

/// Returns the public schema of the configuration file, pretty-printed, with a newline at the end.
pub fn schema() -> String {
    let mut value = CHECKED_SCHEMA.clone();
    publish(&mut value);
    if let Value::Object(root) = &mut value {
        root.insert("title".to_owned(), json!("luner configuration"));
        root.insert(
            "$defs".to_owned(),
            json!({ "variable": {
                "description": "An environment variable: ${NAME}, or ${NAME:-default}.",
                "type": "string",
                "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
            }}),
        );
    }
    // Sorted explicitly, because serde_json's order depends on features that other crates may enable.
    value.sort_all_objects();
    // Serialising a `Value` cannot fail, because its keys are strings.
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema that the checks follow. It has no references, and each leaf has its `x-check`.
pub(super) static CHECKED_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
});

/// Makes a schema public: moves bounds into the descriptions, and allows a variable wherever plain text is not accepted
/// anyway.
fn publish(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(publish),
        Value::Object(map) => {
            // Children first, because the schemas that are added below a leaf are final.
            map.values_mut().for_each(publish);
            if map.contains_key("type") {
                publish_schema(map);
            }
        }
        _ => {}
    }
}

fn publish_schema(map: &mut Map<String, Value>) {
    if let (Some(Value::String(least)), Some(Value::String(most))) = (map.remove("x-min"), map.remove("x-max")) {
        let description = map.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = format!("{description} From {least} to {most}.");
        map.insert("description".to_owned(), Value::String(description.trim().to_owned()));
    }
    map.retain(|key, _| !key.starts_with("x-") && key != "format");
    if matches!(map.get("default"), Some(Value::Object(_) | Value::Null)) {
        // The default of a section follows from the defaults of its keys.
        map.remove("default");
    }
    let free_text =
        map.get("type") == Some(&json!("string")) && !map.contains_key("enum") && !map.contains_key("pattern");
    if free_text
        || map.contains_key("properties")
        || map.contains_key("items")
        || map.contains_key("additionalProperties")
    {
        return;
    }
    let mut strict = Map::new();
    for key in ["type", "enum", "const", "pattern", "minimum", "maximum", "minLength", "maxLength"] {
        if let Some(value) = map.remove(key) {
            strict.insert(key.to_owned(), value);
        }
    }
    map.insert("anyOf".to_owned(), json!([strict, { "$ref": "#/$defs/variable" }]));
}

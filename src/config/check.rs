//! Checks the tree against the schema that is generated from the shapes: unknown keys, wrong types, missing keys, bad units,
//! bad ranges. One pass reports every problem and builds the typed value.
//! Runs on the coordinator at start and on a reload.
//! Never compares two keys: `rules.rs` does that.

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::address::{BaseUrl, Listen};
use super::base_path::BasePath;
use super::problem::ProblemCollector;
use super::scalar::{Plain, Scalar, plain_value, quote};
use super::schema;
use super::tree::{MapEntry, Node, NodeKind, join};
use crate::units::{ByteSize, HumanDuration};

/// Reports every value that does not match the schema. If there is no problem, the returned value deserialises to a `Config`.
pub(super) fn check(root: &Node, problems: &mut ProblemCollector) -> Value {
    Checker { problems }.value(root, &schema::CHECKED_SCHEMA, "")
}

/// Zeroes the strings of a value that does not become a `Config`.
pub(super) fn zeroize(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(zeroize),
        Value::Object(map) => map.values_mut().for_each(zeroize),
        _ => {}
    }
}

struct Checker<'c> {
    problems: &'c mut ProblemCollector,
}

impl Checker<'_> {
    fn value(&mut self, node: &Node, schema: &Value, path: &str) -> Value {
        if node.is_refused() {
            return Value::Null;
        }
        let fitted = match schema["type"].as_str() {
            Some("object") => self.object(node, schema, path),
            Some("array") => self.array(node, schema, path),
            _ => self.leaf(node, schema, path),
        };
        fitted.unwrap_or_else(|message| {
            self.problems.add(node.at, path, message);
            Value::Null
        })
    }

    fn object(&mut self, node: &Node, schema: &Value, path: &str) -> Result<Value, String> {
        let entries = match &node.kind {
            NodeKind::Map(entries) => entries.as_slice(),
            // Allowed for a section, such as `cache:`, whose lines are all commented out.
            NodeKind::Scalar(scalar) if scalar.plain_value() == Plain::Null => &[],
            _ => {
                return Err(format!("must be a mapping (key: value), not {}", describe(node)));
            }
        };
        let mut fitted = Map::new();
        for entry in entries {
            let path = join(path, &entry.key);
            let schema = match schema["properties"].get(&entry.key) {
                Some(known) => known,
                None if schema["additionalProperties"].is_object() => {
                    self.free_key(entry, &schema["propertyNames"], &path);
                    &schema["additionalProperties"]
                }
                None => {
                    let known = schema["properties"].as_object().into_iter().flat_map(|known| known.keys());
                    self.problems.add(entry.at, &path, format!("unknown key{}", did_you_mean(&entry.key, known)));
                    continue;
                }
            };
            let value = self.value(&entry.value, schema, &path);
            fitted.insert(entry.key.clone(), value);
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.iter().any(|entry| entry.key == required) {
                self.problems.add(node.at, &join(path, required), "this key is missing");
            }
        }
        Ok(Value::Object(fitted))
    }

    /// Checks a key of a map that may have any keys.
    fn free_key(&mut self, entry: &MapEntry, schema: &Value, path: &str) {
        if entry.key.contains("${") {
            self.problems.add(entry.at, path, "variables are expanded in values, not in keys");
        } else if let Some(Err(message)) = schema["x-check"].as_str().map(|kind| text_of_kind(kind, &entry.key)) {
            self.problems.add(entry.at, path, format!("the key {message}"));
        }
    }

    fn array(&mut self, node: &Node, schema: &Value, path: &str) -> Result<Value, String> {
        let NodeKind::List(items) = &node.kind else {
            return Err(format!("must be a list, not {}", describe(node)));
        };
        if (items.len() as u64) < schema["minItems"].as_u64().unwrap_or(0) {
            return Err("must have at least one entry".to_owned());
        }
        let each = items.iter().enumerate();
        Ok(each.map(|(index, item)| self.value(item, &schema["items"], &format!("{path}[{index}]"))).collect())
    }

    fn leaf(&mut self, node: &Node, schema: &Value, path: &str) -> Result<Value, String> {
        let Some(scalar) = node.scalar() else {
            return Err(format!("must be {}, not {}", wanted(schema), describe(node)));
        };
        if path.is_empty() {
            return Err(format!("must be a mapping (key: value), not {}", describe(node)));
        }
        let plain = scalar.plain_value();
        let written = if schema["x-secret"] == true { "the value".to_owned() } else { node.shown() };
        let wrong_type = || Err(wrong_type(node, schema));
        match schema["type"].as_str() {
            Some("boolean") => match plain {
                Plain::Bool(truth) => Ok(truth.into()),
                _ => wrong_type(),
            },
            Some("integer") => match plain {
                Plain::Int(number) => in_range(number as f64, schema, &written).map(|()| number.into()),
                _ => wrong_type(),
            },
            Some("number") => match plain {
                Plain::Int(number) => in_range(number as f64, schema, &written).map(|()| number.into()),
                Plain::Float(number) if number.is_finite() => {
                    in_range(number, schema, &written).map(|()| number.into())
                }
                _ => wrong_type(),
            },
            Some("string") if !is_text(scalar, &plain) => wrong_type(),
            _ if plain == Plain::Null && scalar.written.is_none() => wrong_type(),
            _ => {
                let text = scalar.text.as_str();
                one_of(text, schema).map_err(|message| format!("{written} {message}"))?;
                if let Some(kind) = schema["x-check"].as_str() {
                    text_of_kind(kind, text).map_err(|message| format!("{written} {message}"))?;
                    quantity(kind, text, schema).map_err(|message| format!("{written} {message}"))?;
                }
                Ok(text.into())
            }
        }
    }
}

/// True for quoted text, for an unquoted word, and for any value from a variable: `api_key: ${KEY}` may be digits only.
fn is_text(scalar: &Scalar, plain: &Plain) -> bool {
    *plain == Plain::Text || scalar.written.is_some()
}

fn wrong_type(node: &Node, schema: &Value) -> String {
    let wanted = wanted(schema);
    let Some(scalar) = node.scalar() else {
        return format!("must be {wanted}, not {}", describe(node));
    };
    let plain = scalar.plain_value();
    if plain == Plain::Null {
        return format!("has no value; give it {wanted}, or leave the key out");
    }
    let hint = match schema["type"].as_str() {
        Some("string") if schema["x-check"] == "duration" => "; it needs a unit, such as 30s",
        Some("string") => "; put it in quotes",
        _ if !scalar.plain && plain_value(&scalar.text) != Plain::Text => "; leave the quotes out",
        _ => "",
    };
    format!("must be {wanted}, not {}{hint}", describe(node))
}

fn wanted(schema: &Value) -> &'static str {
    match (schema["type"].as_str(), schema["x-check"].as_str()) {
        (_, Some("duration")) => "a duration such as 30s",
        (_, Some("bytes")) => "a size such as 10MiB",
        (Some("boolean"), _) => "true or false",
        (Some("integer"), _) => "a whole number",
        (Some("number"), _) => "a number",
        _ => "text",
    }
}

fn describe(node: &Node) -> &'static str {
    match &node.kind {
        NodeKind::List(_) => "a list",
        NodeKind::Map(_) => "a mapping",
        NodeKind::Refused => "an invalid value",
        NodeKind::Scalar(scalar) => match scalar.plain_value() {
            Plain::Null => "an empty value",
            Plain::Bool(_) => "true or false",
            Plain::Int(_) => "a number",
            Plain::Float(_) => "a decimal number",
            Plain::Text => "text",
        },
    }
}

fn in_range(number: f64, schema: &Value, written: &str) -> Result<(), String> {
    let least = schema["minimum"].as_f64().unwrap_or(f64::MIN);
    let most = schema["maximum"].as_f64().unwrap_or(f64::MAX);
    if (least..=most).contains(&number) {
        return Ok(());
    }
    Err(format!("{written} is out of range: it must be from {least} to {most}"))
}

fn one_of(text: &str, schema: &Value) -> Result<(), String> {
    let single = schema.get("const").map(std::slice::from_ref);
    let Some(allowed) = schema["enum"].as_array().map(Vec::as_slice).or(single) else {
        return Ok(());
    };
    let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    if allowed.contains(&text) { Ok(()) } else { Err(format!("is not one of: {}", allowed.join(", "))) }
}

fn quantity(kind: &str, text: &str, schema: &Value) -> Result<(), String> {
    let bound = |key: &str| schema[key].as_str().unwrap_or_default();
    let (least, most) = (bound("x-min"), bound("x-max"));
    let inside = match kind {
        "bytes" => within::<ByteSize>(text, least, most),
        "duration" => within::<HumanDuration>(text, least, most),
        _ => true,
    };
    if inside { Ok(()) } else { Err(format!("is out of range: it must be from {least} to {most}")) }
}

fn within<T: std::str::FromStr + PartialOrd>(text: &str, least: &str, most: &str) -> bool {
    match (text.parse::<T>(), least.parse::<T>(), most.parse::<T>()) {
        (Ok(value), Ok(least), Ok(most)) => least <= value && value <= most,
        _ => false,
    }
}

/// Checks text of every kind that `x-check` names. The message follows the value and never repeats it.
fn text_of_kind(kind: &str, text: &str) -> Result<(), String> {
    let model = |text: &str| {
        !text.is_empty()
            && text.len() <= MODEL_BYTES_MAX
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let verdict = match kind {
        "listen" => {
            return text.parse::<Listen>().map(drop).map_err(|error| error.to_string());
        }
        "base_url" => {
            return text.parse::<BaseUrl>().map(drop).map_err(|error| error.to_string());
        }
        "base_path" => {
            return text.parse::<BasePath>().map(drop).map_err(|error| error.to_string());
        }
        "bytes" => {
            return text.parse::<ByteSize>().map(drop).map_err(|error| error.to_string());
        }
        "duration" => {
            return text.parse::<HumanDuration>().map(drop).map_err(|error| error.to_string());
        }
        "name" if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(name_char) => {
            "must be 1 to 64 letters, digits, dots, underscores or hyphens"
        }
        "model_pattern" if text.strip_suffix('*').unwrap_or(text).contains('*') => {
            "may contain a star only at its end (\"gpt-4o-*\"), or be \"*\""
        }
        "model_pattern" if text != "*" && !model(text) => "must be a model's name: 1 to 256 bytes without spaces",
        "model" if text.contains('*') => "must be an exact model name, without a star",
        "model" if !model(text) => "must be a model's name: 1 to 256 bytes without spaces",
        "api_key" if !visible(text) => {
            "must be one line of visible ASCII characters: it contains a space, a line break or a control character"
        }
        "token" if !visible(text) => {
            "must be one line of visible ASCII characters: it contains a space, a line break or a control character"
        }
        "token" if !text.is_empty() && text.len() < TOKEN_BYTES_MIN => "is too short: a token has 16 bytes or more",
        "host" if !is_host(text) => "must be a host name or an IP address, without scheme or path",
        "path" if text.contains(char::is_control) => "must be a path without control characters",
        _ => return Ok(()),
    };
    Err(verdict.to_owned())
}

fn is_host(text: &str) -> bool {
    let bare = !text.contains(['/', '?', '#', '@', '\\']);
    bare && format!("http://{text}").parse::<BaseUrl>().is_ok()
}

/// Returns ` (did you mean `base_url`?)`, or an empty string if no known word is similar.
pub(super) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> String {
    if word.len() > NAME_BYTES_MAX {
        return String::new();
    }
    let distance_max = (word.len() / 3).clamp(1, 3);
    known
        .map(|known| (edit_distance(&word.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| format!(" (did you mean {}?)", quote(known)))
        .unwrap_or_default()
}

/// Returns the Levenshtein distance in bytes.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

/// Longest name. Arbitrary: long enough for any provider, short enough for a metric label.
const NAME_BYTES_MAX: usize = 64;
/// Longest model name, in bytes. Arbitrary: the same limit as for identity headers.
const MODEL_BYTES_MAX: usize = 256;
/// Shortest admin token: 16 random bytes have 128 bits.
const TOKEN_BYTES_MIN: usize = 16;

//! Builds the outline of a file from its tree, before anything is checked, so that a refused file has an outline too.
//! Runs on the coordinator at start and on a reload.
//! Never keeps a secret, the value of a variable, or the value of an unknown key.

use serde_json::Value;

use super::address::BaseUrl;
use super::outline::Outline;
use super::scalar::Scalar;
use super::schema::CHECKED_SCHEMA;
use super::tree::{Node, NodeKind, join};

pub(super) fn outline(root: &Node) -> Outline {
    let mut outline = Outline::default();
    add(&mut outline, root, Some(&CHECKED_SCHEMA), String::new());
    outline
}

/// Adds the values of `node`. `schema` is `None` below an unknown key.
fn add(outline: &mut Outline, node: &Node, schema: Option<&Value>, path: String) {
    match &node.kind {
        NodeKind::Map(entries) => {
            for entry in entries {
                let below = schema.and_then(|schema| {
                    schema["properties"]
                        .get(&entry.key)
                        .or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
                });
                add(outline, &entry.value, below, join(&path, &entry.key));
            }
        }
        NodeKind::List(items) if items.iter().any(|item| !item.entries().is_empty()) => {
            let below = schema.and_then(|schema| schema.get("items"));
            for (index, item) in items.iter().enumerate() {
                let name =
                    below.and(item.get("name")).and_then(Node::scalar).map(as_written).filter(|name| !name.is_empty());
                let named = |name: &str| format!("{path}[{name}]");
                let taken = |place: &String| outline.0.keys().any(|key| key.starts_with(place.as_str()));
                let place = name.map(named).filter(|place| !taken(place)).unwrap_or_else(|| named(&index.to_string()));
                add(outline, item, below, place);
            }
        }
        NodeKind::List(items) => {
            let below = schema.and_then(|schema| schema.get("items"));
            let texts: Vec<String> = items.iter().map(|item| text(item, below)).collect();
            // Below an unknown key, the number of entries is masked as well.
            let masked = below.is_none() && !items.is_empty();
            outline.0.insert(path, if masked { MASK.to_owned() } else { texts.join(", ") });
        }
        NodeKind::Scalar(_) | NodeKind::Refused => {
            let _ = outline.0.insert(path, text(node, schema));
        }
    }
}

fn text(node: &Node, schema: Option<&Value>) -> String {
    let Some(scalar) = node.scalar() else { return UNREADABLE.to_owned() };
    let written = as_written(scalar);
    let is_open = match schema {
        // An unknown key may be a misspelt secret key.
        None => false,
        Some(schema) if schema["x-secret"] == true => {
            schema["x-check"] == "base_url" && scalar.text.parse::<BaseUrl>().is_ok()
        }
        Some(_) => true,
    };
    if is_open || written.is_empty() { written.to_owned() } else { MASK.to_owned() }
}

/// Returns the text with its variables unexpanded.
fn as_written(scalar: &Scalar) -> &str {
    scalar.written.as_deref().unwrap_or(&scalar.text)
}

/// Stands for a secret, as it does everywhere in luner.
const MASK: &str = "***";
/// Stands for a value that could not be parsed or expanded.
const UNREADABLE: &str = "?";

#[cfg(test)]
mod tests {
    use crate::config::parse;

    const GOOD: &str = "version: v1\nproviders:\n  - name: a\n    base_url: http://127.0.0.1:1/v1\n    api_key: sk-canary-one\n    \
        models: [m, n]\n    timeout: 30s\n";

    fn differences(from: &str, to: &str) -> Vec<(String, Option<String>, Option<String>)> {
        let env = |name: &str| (name == "KEY").then(|| "sk-canary-two".to_owned());
        let running = parse(from, "c", &env).unwrap();
        let refused = parse(to, "c", &env).unwrap_err();
        let differences = running.outline.differences(&refused.outline.unwrap());
        differences.into_iter().map(|found| (found.key, found.running, found.refused)).collect()
    }

    #[test]
    fn rejected_file_differs_where_it_was_changed_and_shows_no_secret() {
        let some = |text: &str| Some(text.to_owned());
        let to = GOOD
            .replace("timeout: 30s", "timeout: 30\n    api_kee: sk-canary-three\n    retries: 1")
            .replace("sk-canary-one", "\"${KEY}\"")
            .replace("[m, n]", "[m]");
        let expected = [
            ("providers[a].api_kee", None, some("***")),
            ("providers[a].models", some("m, n"), some("m")),
            ("providers[a].retries", None, some("1")),
            ("providers[a].timeout", some("30s"), some("30")),
        ];
        let found = differences(GOOD, &to);
        assert_eq!(found, expected.map(|(key, running, refused)| (key.to_owned(), running, refused)));
        assert!(!format!("{found:?}").contains("canary"));
    }

    #[test]
    fn secret_of_the_wrong_type_is_masked() {
        for key in ["[sk-canary-one, x]", "{ is: sk-canary-one }", "[{ name: sk-canary-one }]", "[[sk-canary-one]]"] {
            let problems = parse(&GOOD.replace("sk-canary-one", key), "c", &|_| None).unwrap_err();
            let outline = format!("{:?}", problems.outline.unwrap());
            assert!(outline.contains("providers[a].api_key") && !outline.contains("canary"), "{key}: {outline}");
        }
    }

    #[test]
    fn list_entries_are_identified_by_their_names() {
        let more = format!("{GOOD}  - name: b\n    base_url: http://user:secret@h/v1\n    models: [x]\n");
        let found = differences(GOOD, &more);
        let keys: Vec<&str> = found.iter().map(|(key, ..)| &**key).collect();
        assert_eq!(keys, ["providers[b].base_url", "providers[b].models", "providers[b].name"]);
        assert_eq!(found[0].2.as_deref(), Some("***"));
        let twice = GOOD.to_owned() + &GOOD[GOOD.find("  - name").unwrap()..];
        assert!(differences(GOOD, &twice).iter().all(|(key, ..)| key.starts_with("providers[1].")));
    }
}

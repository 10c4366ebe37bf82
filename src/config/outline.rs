//! What a file says, flat: each value's path and text, as they stand there, for telling two files apart.
//! Made on the coordinator at start and on a reload, from the tree before anything is judged, so that a refused file has one too.
//! Never holds a secret, what a variable held, or the value of a key that nobody knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::BaseUrl;
use super::scalar::Scalar;
use super::schema::INNER;
use super::tree::{Node, NodeKind, join};

/// Values by their paths: `providers[openai].timeout` to `30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline(BTreeMap<String, String>);

/// A value that two files do not share. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConfigDifference")]
pub struct Difference {
    /// Entries of a list are named where they have names: `providers[openai].timeout`.
    pub key: String,
    /// As written in the file that runs; `null` where it says nothing.
    pub running: Option<String>,
    /// As written in the file that was refused; `null` where it says nothing.
    pub refused: Option<String>,
}

impl Outline {
    /// How a refused file differs from this one, by key.
    pub fn differences(&self, refused: &Outline) -> Vec<Difference> {
        let added = refused.0.keys().filter(|key| !self.0.contains_key(*key));
        let mut keys: Vec<&String> = self.0.keys().chain(added).collect();
        keys.sort_unstable();
        let of = |outline: &Outline, key| outline.0.get(key).cloned();
        let pairs = keys.into_iter().map(|key| (key, of(self, key), of(refused, key)));
        pairs
            .filter(|(_, running, refused)| running != refused)
            .map(|(key, running, refused)| Difference { key: key.clone(), running, refused })
            .collect()
    }

    pub(super) fn of(root: &Node) -> Outline {
        let mut outline = Outline::default();
        outline.add(root, Some(&INNER), String::new());
        outline
    }

    /// `schema` is absent below a key that nobody knows.
    fn add(&mut self, node: &Node, schema: Option<&Value>, path: String) {
        match &node.kind {
            NodeKind::Map(entries) => {
                for entry in entries {
                    let below = schema.and_then(|it| {
                        it["properties"]
                            .get(&entry.key)
                            .or_else(|| it.get("additionalProperties").filter(|it| it.is_object()))
                    });
                    self.add(&entry.value, below, join(&path, &entry.key));
                }
            }
            NodeKind::List(items) if items.iter().any(|item| !item.entries().is_empty()) => {
                let below = schema.and_then(|it| it.get("items"));
                for (index, item) in items.iter().enumerate() {
                    let name = below
                        .and(item.get("name"))
                        .and_then(Node::scalar)
                        .map(as_written)
                        .filter(|name| !name.is_empty());
                    let named = |name: &str| format!("{path}[{name}]");
                    let taken = |place: &String| self.0.keys().any(|key| key.starts_with(place.as_str()));
                    let place =
                        name.map(named).filter(|place| !taken(place)).unwrap_or_else(|| named(&index.to_string()));
                    self.add(item, below, place);
                }
            }
            NodeKind::List(items) => {
                let below = schema.and_then(|it| it.get("items"));
                let texts: Vec<String> = items.iter().map(|item| text(item, below)).collect();
                // How many there are is no one's business either, where nobody knows what they are.
                let masked = below.is_none() && !items.is_empty();
                self.0.insert(path, if masked { MASK.to_owned() } else { texts.join(", ") });
            }
            NodeKind::Scalar(_) | NodeKind::Refused => {
                let _ = self.0.insert(path, text(node, schema));
            }
        }
    }
}

fn text(node: &Node, schema: Option<&Value>) -> String {
    let Some(scalar) = node.scalar() else { return UNREADABLE.to_owned() };
    let written = as_written(scalar);
    let open = match schema {
        // It may be a key's misspelling.
        None => false,
        Some(schema) if schema["x-secret"] == true => {
            schema["x-check"] == "base_url" && scalar.text.parse::<BaseUrl>().is_ok()
        }
        Some(_) => true,
    };
    if open || written.is_empty() { written.to_owned() } else { MASK.to_owned() }
}

/// With its variables, not what they held.
fn as_written(scalar: &Scalar) -> &str {
    scalar.written.as_deref().unwrap_or(&scalar.text)
}

/// As secrets show themselves everywhere.
const MASK: &str = "***";
/// What no reader of the file got to see either.
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
        differences.into_iter().map(|it| (it.key, it.running, it.refused)).collect()
    }

    #[test]
    fn a_refused_file_differs_where_it_was_changed_and_shows_no_secret() {
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
    fn a_secret_in_the_wrong_shape_is_none_the_less_secret() {
        for key in ["[sk-canary-one, x]", "{ is: sk-canary-one }", "[{ name: sk-canary-one }]", "[[sk-canary-one]]"] {
            let problems = parse(&GOOD.replace("sk-canary-one", key), "c", &|_| None).unwrap_err();
            let outline = format!("{:?}", problems.outline.unwrap());
            assert!(outline.contains("providers[a].api_key") && !outline.contains("canary"), "{key}: {outline}");
        }
    }

    #[test]
    fn entries_are_told_apart_by_their_names() {
        let more = format!("{GOOD}  - name: b\n    base_url: http://user:secret@h/v1\n    models: [x]\n");
        let found = differences(GOOD, &more);
        let keys: Vec<&str> = found.iter().map(|it| &*it.0).collect();
        assert_eq!(keys, ["providers[b].base_url", "providers[b].models", "providers[b].name"]);
        assert_eq!(found[0].2.as_deref(), Some("***"));
        let twice = GOOD.to_owned() + &GOOD[GOOD.find("  - name").unwrap()..];
        assert!(differences(GOOD, &twice).iter().all(|it| it.0.starts_with("providers[1].")));
    }
}

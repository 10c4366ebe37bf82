//! The outline of a file: a flat list of each value's path and text as written, for comparing two files.
//! Created on the coordinator at start and on a reload.
//! Never holds a secret, the value of a variable, or the value of an unknown key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Maps the path of each value to its text, such as `providers[openai].timeout` to `30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline(pub(super) BTreeMap<String, String>);

/// A value in which two files differ. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ConfigDifference")]
pub struct Difference {
    /// Path of the key. List entries that have a name are identified by it: `providers[openai].timeout`.
    pub key: String,
    /// The text in the running configuration; `null` if the key is absent there.
    pub running: Option<String>,
    /// The text in the file that was refused; `null` if the key is absent there.
    pub refused: Option<String>,
}

impl Outline {
    /// Returns the values in which a refused file differs from this one, in the order of their keys.
    pub fn differences(&self, refused: &Outline) -> Vec<Difference> {
        let added = refused.0.keys().filter(|key| !self.0.contains_key(*key));
        let mut keys: Vec<&String> = self.0.keys().chain(added).collect();
        keys.sort_unstable();
        let value = |outline: &Outline, key| outline.0.get(key).cloned();
        let pairs = keys.into_iter().map(|key| (key, value(self, key), value(refused, key)));
        pairs
            .filter(|(_, running, refused)| running != refused)
            .map(|(key, running, refused)| Difference { key: key.clone(), running, refused })
            .collect()
    }
}

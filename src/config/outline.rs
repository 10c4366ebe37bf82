//! What a file says, flat: each value's path and text, as they stand there, for telling two files apart.
//! Made on the coordinator at start and on a reload, from the tree before anything is judged, so that a refused file has one too.
//! Never holds a secret, what a variable held, or the value of a key that nobody knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// Values by their paths: `providers[openai].timeout` to `30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline(pub(super) BTreeMap<String, String>);

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
}

//! Maps metric label values and origins to small numbers that stay the same over all plans of a process. The coordinator
//! copies the tables from plan to plan. A table only ever grows, by values that configurations and policies name, and its
//! size is bounded.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::names;

/// Index of a metric's label value; 0 is [`names::OTHER`]. Stays the same over all plans of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelId(pub u16);

/// Index of a scheme, host and port. Stays the same over all plans of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginId(pub u16);

impl LabelId {
    /// Stands for every value that the configuration does not name.
    pub const OTHER: LabelId = LabelId(0);
    /// Stands for a request without a provider.
    pub const NONE: LabelId = LabelId(1);
}

/// Label values, each with its index. Only ever grows, by values that configurations and policies name.
#[derive(Clone, Debug)]
pub struct Labels {
    values: Vec<Arc<str>>,
    index: HashMap<Arc<str>, LabelId>,
}

impl Default for Labels {
    fn default() -> Self {
        let mut labels = Labels { values: Vec::new(), index: HashMap::new() };
        labels.intern(names::OTHER);
        labels.intern(names::NO_PROVIDER);
        labels
    }
}

impl Labels {
    /// Returns the index of `value`, adding it if it is new; [`LabelId::OTHER`] when all of [`LABELS_MAX`] are taken.
    pub fn intern(&mut self, value: &str) -> LabelId {
        if let Some(id) = self.index.get(value) {
            return *id;
        }
        let Some(next) = u16::try_from(self.values.len()).ok().filter(|next| usize::from(*next) < LABELS_MAX) else {
            return LabelId::OTHER;
        };
        let value: Arc<str> = value.into();
        self.values.push(value.clone());
        self.index.insert(value, LabelId(next));
        LabelId(next)
    }

    /// Returns the text of a label.
    pub fn text(&self, id: LabelId) -> &str {
        self.values.get(usize::from(id.0)).map_or(names::OTHER, |value| value)
    }
}

/// Most label values per process. Arbitrary: more than any configuration names, and few enough to keep a scrape bounded.
const LABELS_MAX: usize = 16_384;

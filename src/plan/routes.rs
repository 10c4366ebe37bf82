//! From a model's name to the provider that answers for it, and the list of all models. Part of the plan, shared by all
//! shards; a look-up allocates nothing.

use hashbrown::HashMap;

use super::labels::{LabelId, Labels};
use crate::config::Config;
use crate::openai::models::{write_model, write_models};
use crate::pricing::{PriceId, Prices};

/// Who answers for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index into [`super::Plan::providers`].
    pub provider: usize,
    /// The model's label.
    pub model: LabelId,
    /// What the model costs, if that is known.
    pub price: Option<PriceId>,
}

pub(super) struct Routes {
    exact: HashMap<Box<str>, Route>,
    /// Longest prefix first, then the order of the file.
    patterns: Vec<(Box<str>, Route)>,
}

impl Routes {
    pub(super) fn new(config: &Config, prices: &Prices, labels: &mut Labels) -> Routes {
        let mut exact: HashMap<Box<str>, Route> = HashMap::new();
        let mut patterns: Vec<(Box<str>, Route)> = Vec::new();
        for (index, provider) in config.providers.iter().enumerate() {
            for model in &provider.models {
                match model.strip_suffix('*') {
                    Some(prefix) => {
                        let route = Route { provider: index, model: LabelId::OTHER, price: None };
                        patterns.push((prefix.into(), route));
                    }
                    None => {
                        let route = Route { provider: index, model: labels.intern(model), price: prices.find(model) };
                        exact.entry(model.as_str().into()).or_insert(route);
                    }
                }
            }
        }
        // Stable, so that the order of the file decides between patterns of one length.
        patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Routes { exact, patterns }
    }

    pub(super) fn find(&self, model: &str, prices: &Prices) -> Option<Route> {
        if let Some(route) = self.exact.get(model) {
            return Some(*route);
        }
        let (_, route) = self.patterns.iter().find(|(prefix, _)| model.starts_with(&**prefix))?;
        Some(Route { price: prices.find(model), ..*route })
    }
}

/// `/v1/models`, written once.
pub(super) struct Models {
    pub(super) list: Box<[u8]>,
    pub(super) each: HashMap<Box<str>, Box<[u8]>>,
}

impl Models {
    pub(super) fn new(config: &Config, created_s: u64) -> Models {
        let mut each = HashMap::new();
        let mut listed = Vec::new();
        for provider in &config.providers {
            for model in provider.models.iter().filter(|model| !model.ends_with('*')) {
                let mut body = Vec::new();
                write_model(model, &provider.name, created_s, &mut body);
                if each.insert(model.as_str().into(), body.into_boxed_slice()).is_none() {
                    listed.push((model.as_str(), provider.name.as_str()));
                }
            }
        }
        let mut list = Vec::new();
        write_models(listed, created_s, &mut list);
        Models { list: list.into_boxed_slice(), each }
    }
}

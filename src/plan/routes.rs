//! Finds the providers that serve a model, and prepares the list of all models. Part of the plan, shared by all shards; a
//! look-up allocates nothing.

use hashbrown::HashMap;

use super::labels::{LabelId, Labels};
use crate::config::Config;
use crate::dialect::openai::models::{write_model, write_models};
use crate::pricing::{PriceId, Prices};

/// Facts about a model, found by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the provider group that serves the model, for [`Plan::group`](super::Plan::group).
    pub group: usize,
    /// The model's label in metrics.
    pub model: LabelId,
    /// The model's price, if there is one.
    pub price: Option<PriceId>,
}

/// The providers that serve a model equally well: all that name it exactly, or all that have the same pattern.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProviderGroup {
    /// Indexes into [`super::Plan::providers`], in the order of the configuration file; at least one.
    providers: Vec<usize>,
    /// For each provider, the sum of its own weight and the weights of the providers before it.
    weights: Vec<u64>,
}

impl ProviderGroup {
    fn add(&mut self, provider: usize, weight: u32) {
        let before = self.weights.last().copied().unwrap_or(0);
        self.providers.push(provider);
        self.weights.push(before + u64::from(weight));
    }

    /// Returns the number of providers.
    pub fn len(&self) -> usize {
        self.providers.len()
    }

    /// Always false: a group has at least one provider. (Clippy wants this beside `len`.)
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Picks the provider to try first: by weight if there are weights, else the first in the file. `draw` must be random.
    pub fn first(&self, draw: u32) -> usize {
        let total = self.weights.last().copied().unwrap_or(0);
        if total == 0 {
            return 0;
        }
        let drawn = (u64::from(draw) * total) >> 32;
        self.weights.partition_point(|sum| *sum <= drawn)
    }

    /// Returns the provider to try at attempt `step`, as an index into [`super::Plan::providers`]: number `first`, then the
    /// others in the order of the file.
    pub fn provider(&self, first: usize, step: usize) -> Option<usize> {
        let at = match step {
            0 => first,
            step if step <= first => step - 1,
            step => step,
        };
        self.providers.get(at).copied()
    }
}

pub(super) struct Routes {
    pub(super) groups: Vec<ProviderGroup>,
    exact: HashMap<Box<str>, Route>,
    /// Patterns' prefixes, longest first.
    patterns: Vec<(Box<str>, Route)>,
}

impl Routes {
    pub(super) fn new(config: &Config, prices: &Prices, labels: &mut Labels) -> Routes {
        let mut routes = Routes { groups: Vec::new(), exact: HashMap::new(), patterns: Vec::new() };
        for (index, provider) in config.providers.iter().enumerate() {
            for model in &provider.models {
                let group = match model.strip_suffix('*') {
                    Some(prefix) => routes.group_of_pattern(prefix),
                    None => routes.group_of_name(model, prices, labels),
                };
                if let Some(group) = routes.groups.get_mut(group) {
                    group.add(index, provider.weight);
                }
            }
        }
        routes.patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        routes
    }

    fn group_of_name(&mut self, model: &str, prices: &Prices, labels: &mut Labels) -> usize {
        if let Some(route) = self.exact.get(model) {
            return route.group;
        }
        let group = self.new_group();
        self.exact.insert(model.into(), Route { group, model: labels.intern(model), price: prices.find(model) });
        group
    }

    fn group_of_pattern(&mut self, prefix: &str) -> usize {
        if let Some((_, route)) = self.patterns.iter().find(|(known, _)| **known == *prefix) {
            return route.group;
        }
        let group = self.new_group();
        self.patterns.push((prefix.into(), Route { group, model: LabelId::OTHER, price: None }));
        group
    }

    fn new_group(&mut self) -> usize {
        self.groups.push(ProviderGroup::default());
        self.groups.len() - 1
    }

    pub(super) fn find(&self, model: &str, prices: &Prices) -> Option<Route> {
        if let Some(route) = self.exact.get(model) {
            return Some(*route);
        }
        let (_, route) = self.patterns.iter().find(|(prefix, _)| model.starts_with(&**prefix))?;
        Some(Route { price: prices.find(model), ..*route })
    }
}

/// Bodies of the answers to `GET /v1/models` and `GET /v1/models/{id}`, written once per plan.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weights: &[u32]) -> ProviderGroup {
        let mut group = ProviderGroup::default();
        weights.iter().enumerate().for_each(|(provider, weight)| group.add(provider, *weight));
        group
    }

    #[test]
    fn unweighted_group_starts_with_the_first_provider_in_the_file() {
        for draw in [0, 1, u32::MAX / 2, u32::MAX] {
            assert_eq!(group(&[0, 0, 0]).first(draw), 0);
        }
    }

    #[test]
    fn draws_are_distributed_by_weight() {
        let group = group(&[1, 0, 3]);
        let draws = (0..4_000_u64).map(|nth| (nth * (1 << 32) / 4_000) as u32);
        let mut firsts = [0; 3];
        draws.for_each(|draw| firsts[group.first(draw)] += 1);
        assert_eq!(firsts, [1_000, 0, 3_000]);
        assert_eq!(group.first(u32::MAX), 2);
    }

    #[test]
    fn every_provider_is_tried_once() {
        let group = group(&[1, 1, 1]);
        let order = |first| (0..4).filter_map(|step| group.provider(first, step)).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(2)], [[0, 1, 2], [1, 0, 2], [2, 0, 1]]);
    }
}

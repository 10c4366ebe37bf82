//! From a model's name to the provider that answers for it, and the list of all models. Part of the plan, shared by all
//! shards; a look-up allocates nothing.

use hashbrown::HashMap;

use super::labels::{LabelId, Labels};
use crate::config::Config;
use crate::dialect::openai::models::{write_model, write_models};
use crate::pricing::{PriceId, Prices};

/// Who answers for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index into [`Plan::ways`](super::Plan::way).
    pub way: usize,
    /// The model's label.
    pub model: LabelId,
    /// What the model costs, if that is known.
    pub price: Option<PriceId>,
}

/// The providers that serve a model equally well: all that name it exactly, or all that have the same pattern.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Indexes into [`super::Plan::providers`], in the order of the file; at least one.
    providers: Vec<usize>,
    /// For each, the sum of its weight and those before it.
    weights: Vec<u64>,
}

impl Way {
    fn add(&mut self, provider: usize, weight: u32) {
        let before = self.weights.last().copied().unwrap_or(0);
        self.providers.push(provider);
        self.weights.push(before + u64::from(weight));
    }

    /// How many providers there are.
    pub fn len(&self) -> usize {
        self.providers.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Which of them comes first for a request that drew this random number: by weight, where weights are given.
    pub fn first(&self, draw: u32) -> usize {
        let total = self.weights.last().copied().unwrap_or(0);
        if total == 0 {
            return 0;
        }
        let drawn = (u64::from(draw) * total) >> 32;
        self.weights.partition_point(|sum| *sum <= drawn)
    }

    /// The provider to try as number `step`, when number `first` came first: that one, then the others in the order of the
    /// file. An index into [`super::Plan::providers`].
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
    pub(super) ways: Vec<Way>,
    exact: HashMap<Box<str>, Route>,
    /// Longest prefix first.
    patterns: Vec<(Box<str>, Route)>,
}

impl Routes {
    pub(super) fn new(config: &Config, prices: &Prices, labels: &mut Labels) -> Routes {
        let mut routes = Routes { ways: Vec::new(), exact: HashMap::new(), patterns: Vec::new() };
        for (index, provider) in config.providers.iter().enumerate() {
            for model in &provider.models {
                let way = match model.strip_suffix('*') {
                    Some(prefix) => routes.of_pattern(prefix),
                    None => routes.of_name(model, prices, labels),
                };
                if let Some(way) = routes.ways.get_mut(way) {
                    way.add(index, provider.weight);
                }
            }
        }
        routes.patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        routes
    }

    fn of_name(&mut self, model: &str, prices: &Prices, labels: &mut Labels) -> usize {
        if let Some(route) = self.exact.get(model) {
            return route.way;
        }
        let way = self.new_way();
        self.exact.insert(model.into(), Route { way, model: labels.intern(model), price: prices.find(model) });
        way
    }

    fn of_pattern(&mut self, prefix: &str) -> usize {
        if let Some((_, route)) = self.patterns.iter().find(|(known, _)| **known == *prefix) {
            return route.way;
        }
        let way = self.new_way();
        self.patterns.push((prefix.into(), Route { way, model: LabelId::OTHER, price: None }));
        way
    }

    fn new_way(&mut self) -> usize {
        self.ways.push(Way::default());
        self.ways.len() - 1
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

#[cfg(test)]
mod tests {
    use super::*;

    fn way(weights: &[u32]) -> Way {
        let mut way = Way::default();
        weights.iter().enumerate().for_each(|(provider, weight)| way.add(provider, *weight));
        way
    }

    #[test]
    fn without_weights_the_order_of_the_file_decides() {
        for draw in [0, 1, u32::MAX / 2, u32::MAX] {
            assert_eq!(way(&[0, 0, 0]).first(draw), 0);
        }
    }

    #[test]
    fn weights_share_the_draws_and_who_has_none_comes_last() {
        let way = way(&[1, 0, 3]);
        let draws = (0..4_000_u64).map(|nth| (nth * (1 << 32) / 4_000) as u32);
        let mut firsts = [0; 3];
        draws.for_each(|draw| firsts[way.first(draw)] += 1);
        assert_eq!(firsts, [1_000, 0, 3_000]);
        assert_eq!(way.first(u32::MAX), 2);
    }

    #[test]
    fn every_provider_is_tried_once_whichever_came_first() {
        let way = way(&[1, 1, 1]);
        let order = |first| (0..4).filter_map(|step| way.provider(first, step)).collect::<Vec<_>>();
        assert_eq!([order(0), order(1), order(2)], [[0, 1, 2], [1, 0, 2], [2, 0, 1]]);
    }
}

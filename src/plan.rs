//! The plan is what runs: everything that the configuration and the policies decide, parsed, resolved and laid out for the
//! request path. It is immutable and versioned. The coordinator makes plans, shards read them; a request keeps the plan it
//! started with.
//!
//! *Invariant:* nothing that a request looks up here allocates, and nothing here changes after it was published. What does
//! change, breakers and limits, is in [`Shared`](crate::shared::Shared); a plan holds ids into it.

// Values of metric labels, and origins, as small numbers.
mod labels;

// From a model's name to the providers that answer for it.
mod routes;

// One provider, laid out for sending.
mod provider;

// How providers are verified.
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::cache;
use crate::clock::Now;
use crate::config::{self, CacheScope, Capture, Config, StorageBackend, UnknownPrice};
use crate::console::Mount;
use crate::http::head::HeadLimits;
use crate::llm::FactLimits;
use crate::policy::Compiled;
use crate::pricing::{Price, PriceId, Prices};
use crate::shared::{NoFreeSlot, ProviderSlots, Shared, SlotClaims};

pub use labels::{LabelId, Labels, OriginId};
use provider::ProviderMaker;
pub use provider::{PlannedLimit, Provider};
use routes::{Models, Routes};
pub use routes::{ProviderGroup, Route};

/// Everything that runs. Cloning one, for a successor that differs in its policies, copies pointers.
#[derive(Clone)]
pub struct Plan {
    /// Counts up by one with each plan that a process publishes.
    pub version: u64,
    /// Bounds on a caller's head.
    pub head_limits: HeadLimits,
    /// Bounds on a caller's JSON.
    pub fact_limits: FactLimits,
    /// Bytes of a caller's body at most.
    pub body_bytes_max: u64,
    /// Bytes that all long requests together may hold, over all shards.
    pub held_bytes_max: u64,
    /// A caller's head and body must have arrived within this time.
    pub read_timeout: Duration,
    /// A caller must take something of its answer within this time.
    pub write_timeout: Duration,
    /// When the process ends, running requests may finish within this time.
    pub drain_timeout: Duration,
    /// Connections at once over all shards.
    pub connections_max: usize,
    /// In the order of the file.
    pub providers: Arc<[Arc<Provider>]>,
    /// Label values as of this plan.
    pub labels: Labels,
    /// TLS settings for providers; absent if no provider uses TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The policies, in the order in which they are judged.
    pub policies: Arc<Compiled>,
    /// The label of each policy's name, by its index.
    policy_labels: Arc<[LabelId]>,
    /// What tokens cost.
    pub prices: Arc<Prices>,
    /// Settings of the cache.
    pub cache: CachePlan,
    /// The console, and where it is mounted.
    pub console: Arc<Mount>,
    /// Whether anybody keeps accounts.
    pub keeps_accounts: bool,
    /// Whether anybody wants traces besides.
    pub keeps_traces: bool,
    /// Whose prompts and answers they hold.
    pub capture: Capture,
    /// Whether a model without a price may be used.
    pub unknown_price: UnknownPrice,
    origins: Labels,
    routes: Arc<Routes>,
    models: Arc<Models>,
}

/// Settings of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Whether anything is cached.
    pub enabled: bool,
    /// Bounds on all shards' answers together.
    pub limits: cache::Limits,
    /// How long an answer is served from the cache.
    pub ttl: Duration,
    /// Who shares answers with whom.
    pub scope: CacheScope,
}

impl CachePlan {
    fn new(cache: &config::CacheConfig) -> CachePlan {
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let limits = match cache.enabled {
            true => cache::Limits { items: size(cache.max_items), bytes: size(cache.max_bytes) },
            false => cache::Limits { items: 0, bytes: 0 },
        };
        CachePlan { enabled: cache.enabled, limits, ttl: cache.default_ttl, scope: cache.scope }
    }
}

/// Everything that a plan is made from.
pub struct PlanInputs<'a> {
    /// What the operator wrote, checked.
    pub config: &'a Config,
    /// What tokens cost.
    pub prices: Arc<Prices>,
    /// The policies.
    pub policies: Arc<Compiled>,
    /// The time that the model list shows, in seconds since the epoch.
    pub created_s: u64,
    /// Whether spans are exported, so that traces are made even where nothing stores them.
    pub exports_spans: bool,
    /// Breakers and limits for providers that have none yet.
    pub slots: SlotClaims<'a>,
    /// When the plan is made.
    pub now: Now,
}

/// Why no plan can be made of a checked configuration.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A provider needs TLS and the cryptography for it cannot be set up.
    #[error("setting TLS up: {0}")]
    Tls(#[from] rustls::Error),
    /// Connections are kept by origin, and the process has seen too many of them.
    #[error("this process has seen too many different providers; restart it")]
    TooManyOrigins,
    /// Each provider has a breaker, and perhaps a limit, in a table of a fixed size.
    #[error(transparent)]
    TooManyProviders(#[from] NoFreeSlot),
}

impl Plan {
    /// Lays a checked configuration out, as the successor of the plan before.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(inputs: PlanInputs<'_>, before: Option<&Plan>) -> Result<Plan, PlanError> {
        let PlanInputs { config, prices, policies, created_s, exports_spans, slots, now } = inputs;
        let (labels, origins) = before.map_or_else(Default::default, |p| (p.labels.clone(), p.origins.clone()));
        let mut maker = ProviderMaker { config, prices: &prices, labels, origins, slots, now };
        let mut made = Vec::with_capacity(config.providers.len());
        for provider in &config.providers {
            let before = before.and_then(|plan| plan.provider(&provider.name));
            made.push(Arc::new(maker.make(provider, before)?));
        }
        let ProviderMaker { mut labels, origins, .. } = maker;
        let limits = &config.server.limits;
        let tls = match before.and_then(|plan| plan.tls.clone()) {
            Some(tls) => Some(tls),
            None if config.providers.iter().any(|provider| provider.base_url.tls) => Some(tls::client()?),
            None => None,
        };
        Ok(Plan {
            version: before.map_or(1, |plan| plan.version + 1),
            head_limits: HeadLimits {
                head_bytes: usize::try_from(limits.head_bytes).unwrap_or(usize::MAX),
                headers: limits.headers as usize,
            },
            fact_limits: FactLimits { depth: limits.json_depth as usize },
            body_bytes_max: limits.body_bytes,
            held_bytes_max: limits.held_bytes,
            read_timeout: config.server.read_timeout,
            write_timeout: config.server.write_timeout,
            drain_timeout: config.server.drain_timeout,
            connections_max: limits.connections as usize,
            routes: Arc::new(Routes::new(config, &prices, &mut labels)),
            models: Arc::new(Models::new(config, created_s)),
            policy_labels: policy_labels(&policies, &mut labels),
            policies,
            prices,
            unknown_price: config.pricing.unknown,
            providers: made.into(),
            cache: CachePlan::new(&config.cache),
            console: Arc::new(Mount::under(config.server.base_path.as_str())),
            capture: config.storage.capture,
            keeps_accounts: exports_spans || config.storage.backend == StorageBackend::Sqlite,
            keeps_traces: exports_spans || (config.storage.backend == StorageBackend::Sqlite && config.storage.traces),
            labels,
            tls,
            origins,
        })
    }

    /// The successor that differs in its policies alone.
    pub fn with_policies(&self, policies: Arc<Compiled>) -> Plan {
        let mut labels = self.labels.clone();
        let policy_labels = policy_labels(&policies, &mut labels);
        Plan { version: self.version + 1, policies, policy_labels, labels, ..self.clone() }
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| *provider.name == *name).map(|provider| &**provider)
    }

    /// What the plan's providers have in [`Shared`].
    pub fn slots(&self) -> impl Iterator<Item = ProviderSlots> {
        self.providers.iter().map(|provider| provider.slots())
    }

    /// Puts the plan's rate limits into force: those that are known already go on at the new ceiling. Part of publishing a plan,
    /// and not of making one, because a plan that was made may still be rejected.
    pub fn apply_ceilings(&self, shared: &Shared, now: Now) {
        for limit in self.providers.iter().filter_map(|provider| provider.limit) {
            shared.limit(limit.id).set_ceiling(limit.ceiling, now);
        }
    }

    /// Who answers for `model`: those that name it exactly, else those with the longest pattern.
    pub fn route(&self, model: &str) -> Option<Route> {
        self.routes.find(model, &self.prices)
    }

    /// The providers that a [`Route`] of this plan leads to.
    pub fn group(&self, group: usize) -> Option<&ProviderGroup> {
        self.routes.groups.get(group)
    }

    /// The provider of that group to try as number `step`, if number `first` is tried first.
    pub fn provider_in_group(&self, group: usize, first: usize, step: usize) -> Option<&Provider> {
        self.providers.get(self.group(group)?.provider(first, step)?).map(|provider| &**provider)
    }

    /// The provider that answers for `model` if the draw among several is zero.
    pub fn provider_of(&self, model: &str) -> Option<&Provider> {
        let group = self.route(model)?.group;
        self.provider_in_group(group, self.group(group)?.first(0), 0)
    }

    /// The price behind an id that a [`Route`] of this plan carries.
    pub fn price(&self, id: PriceId) -> Option<&Price> {
        self.prices.at(id)
    }

    /// The label of a policy's name, by its index in [`Plan::policies`].
    pub fn policy_label(&self, index: usize) -> LabelId {
        self.policy_labels.get(index).copied().unwrap_or(LabelId::OTHER)
    }

    /// The body of `GET /v1/models`: what is named exactly, in the order of the file.
    pub fn model_list(&self) -> &[u8] {
        &self.models.list
    }

    /// The body of `GET /v1/models/{id}`.
    pub fn model(&self, id: &str) -> Option<&[u8]> {
        self.models.each.get(id).map(|body| &**body)
    }
}

fn policy_labels(policies: &Compiled, labels: &mut Labels) -> Arc<[LabelId]> {
    policies.policies().iter().map(|policy| labels.intern(&policy.name)).collect()
}

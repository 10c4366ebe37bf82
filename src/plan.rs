//! The plan holds everything that the configuration and the policies decide, parsed, resolved and laid out for the request
//! path. It is immutable and versioned. The coordinator makes plans and shards read them; a request keeps the plan it
//! started with.
//!
//! *Invariant:* a request's look-up here never allocates, and a published plan never changes. Breakers and limits do change,
//! so they are in [`Shared`](crate::shared::Shared); a plan holds ids into it.

// Maps metric label values and origins to small numbers.
mod labels;

// Maps a model's name to the providers that serve it.
mod routes;

// One provider, prepared for sending requests.
mod provider;

// TLS settings that verify providers' certificates.
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

/// Everything that the request path needs to know. A clone, made for a successor with other policies, only copies pointers.
#[derive(Clone)]
pub struct Plan {
    /// Increases by one with each plan that the process publishes.
    pub version: u64,
    /// Limits on a caller's request head.
    pub head_limits: HeadLimits,
    /// Limits on a caller's JSON.
    pub fact_limits: FactLimits,
    /// Largest request body, in bytes.
    pub body_bytes_max: u64,
    /// Most bytes that all long requests may hold together, over all shards.
    pub held_bytes_max: u64,
    /// A caller's head and body must have arrived within this time.
    pub read_timeout: Duration,
    /// A caller must read some part of its answer within this time.
    pub write_timeout: Duration,
    /// Requests in flight may take this long to finish when the process ends.
    pub drain_timeout: Duration,
    /// Most simultaneous connections over all shards.
    pub connections_max: usize,
    /// All providers, in the order of the configuration file.
    pub providers: Arc<[Arc<Provider>]>,
    /// Label values known to this plan.
    pub labels: Labels,
    /// TLS settings for providers; absent if no provider uses TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The policies, in the order in which they are evaluated.
    pub policies: Arc<Compiled>,
    /// Label of each policy's name, by the policy's index.
    policy_labels: Arc<[LabelId]>,
    /// Token prices.
    pub prices: Arc<Prices>,
    /// Settings of the cache.
    pub cache: CachePlan,
    /// The console and the path it is mounted at.
    pub console: Arc<Mount>,
    /// Set when usage is recorded, for the store or for exported spans.
    pub keeps_accounts: bool,
    /// Set when traces are recorded as well.
    pub keeps_traces: bool,
    /// Selects the requests whose prompts and answers are captured in traces.
    pub capture: Capture,
    /// Decides if a model without a price may be used.
    pub unknown_price: UnknownPrice,
    origins: Labels,
    routes: Arc<Routes>,
    models: Arc<Models>,
}

/// Settings of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Set when answers are cached.
    pub enabled: bool,
    /// Limits on the cached answers of all shards together.
    pub limits: cache::Limits,
    /// Time for which an answer is served from the cache.
    pub ttl: Duration,
    /// Callers that share cached answers: those of one tenant, or all.
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

/// Inputs from which a plan is made.
pub struct PlanInputs<'a> {
    /// The operator's configuration, already checked.
    pub config: &'a Config,
    /// Token prices.
    pub prices: Arc<Prices>,
    /// Compiled policies.
    pub policies: Arc<Compiled>,
    /// Creation time shown in the model list, in seconds since the epoch.
    pub created_s: u64,
    /// Set when spans are exported: traces are then made even if nothing stores them.
    pub exports_spans: bool,
    /// Source of breakers and limits for providers that have none yet.
    pub slots: SlotClaims<'a>,
    /// Time at which the plan is made.
    pub now: Now,
}

/// Reasons why a checked configuration cannot become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A provider needs TLS, but its cryptography cannot be set up.
    #[error("setting TLS up: {0}")]
    Tls(#[from] rustls::Error),
    /// Connections are pooled by origin, and the process has seen too many origins.
    #[error("this process has seen too many different providers; restart it")]
    TooManyOrigins,
    /// Each provider needs a breaker, and perhaps a limit, in a table of fixed size, and that table is full.
    #[error(transparent)]
    TooManyProviders(#[from] NoFreeSlot),
}

impl Plan {
    /// Makes a plan from a checked configuration, as the successor of the plan `before`.
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

    /// Returns a successor that differs only in its policies.
    pub fn with_policies(&self, policies: Arc<Compiled>) -> Plan {
        let mut labels = self.labels.clone();
        let policy_labels = policy_labels(&policies, &mut labels);
        Plan { version: self.version + 1, policies, policy_labels, labels, ..self.clone() }
    }

    /// Returns the provider with this name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| *provider.name == *name).map(|provider| &**provider)
    }

    /// Returns the slots that the plan's providers occupy in [`Shared`].
    pub fn slots(&self) -> impl Iterator<Item = ProviderSlots> {
        self.providers.iter().map(|provider| provider.slots())
    }

    /// Puts the plan's rate limits into force: existing limits keep their level and continue under the new ceiling. Called
    /// when a plan is published and not when it is made, because a plan that was made may still be rejected.
    pub fn apply_ceilings(&self, shared: &Shared, now: Now) {
        for limit in self.providers.iter().filter_map(|provider| provider.limit) {
            shared.limit(limit.id).set_ceiling(limit.ceiling, now);
        }
    }

    /// Returns the route for `model`: to the providers that name it exactly, else to those with the longest pattern.
    pub fn route(&self, model: &str) -> Option<Route> {
        self.routes.find(model, &self.prices)
    }

    /// Returns the provider group that a [`Route`] of this plan leads to.
    pub fn group(&self, group: usize) -> Option<&ProviderGroup> {
        self.routes.groups.get(group)
    }

    /// Returns the group's provider to try at attempt `step`, given that provider number `first` is tried first.
    pub fn provider_in_group(&self, group: usize, first: usize, step: usize) -> Option<&Provider> {
        self.providers.get(self.group(group)?.provider(first, step)?).map(|provider| &**provider)
    }

    /// Returns the provider that serves `model` when the draw among several providers is zero.
    pub fn provider_of(&self, model: &str) -> Option<&Provider> {
        let group = self.route(model)?.group;
        self.provider_in_group(group, self.group(group)?.first(0), 0)
    }

    /// Returns the price for an id that a [`Route`] of this plan carries.
    pub fn price(&self, id: PriceId) -> Option<&Price> {
        self.prices.at(id)
    }

    /// Returns the label of a policy's name, by the policy's index in [`Plan::policies`].
    pub fn policy_label(&self, index: usize) -> LabelId {
        self.policy_labels.get(index).copied().unwrap_or(LabelId::OTHER)
    }

    /// Returns the body of `GET /v1/models`: the models that the configuration names exactly, in the order of the file.
    pub fn model_list(&self) -> &[u8] {
        &self.models.list
    }

    /// Returns the body of `GET /v1/models/{id}`.
    pub fn model(&self, id: &str) -> Option<&[u8]> {
        self.models.each.get(id).map(|body| &**body)
    }
}

fn policy_labels(policies: &Compiled, labels: &mut Labels) -> Arc<[LabelId]> {
    policies.policies().iter().map(|policy| labels.intern(&policy.name)).collect()
}

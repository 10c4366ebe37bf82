//! One provider as the request path needs it: where it is, how patient to be, what its requests begin with. Part of the
//! plan, shared by all shards, never changed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::PlanError;
use super::labels::{LabelId, Labels, OriginId};
use crate::breaker::BreakerRules;
use crate::clock::Now;
use crate::config::{Config, ProviderConfig};
use crate::dialect::openai::path;
use crate::limit::Ceiling;
use crate::llm::Operation;
use crate::pricing::Prices;
use crate::shared::{BreakerId, LimitId, NoFreeSlot, ProviderSlots, SlotClaims};

/// One provider, laid out for sending.
pub struct Provider {
    /// As in the configuration.
    pub name: Box<str>,
    /// The name's label.
    pub label: LabelId,
    /// Host as it is looked up and shown.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Set when the host is an address and needs no look-up.
    pub literal: Option<SocketAddr>,
    /// Connections to one origin may be shared by all that speak to it.
    pub origin: OriginId,
    /// Set when the provider is spoken to over TLS.
    pub server_name: Option<ServerName<'static>>,
    /// From the request's last byte to the answer's first.
    pub timeout: Duration,
    /// For the TCP and the TLS handshake, for all addresses together.
    pub connect_timeout: Duration,
    /// Between two bytes of an answer.
    pub stream_idle_timeout: Duration,
    /// Further attempts after a failed one.
    pub retries: u32,
    /// Its circuit breaker in [`Shared`](crate::shared::Shared).
    pub breaker: BreakerId,
    /// When the breaker opens.
    pub breaker_rules: BreakerRules,
    /// How often it may be asked; absent if there is no limit.
    pub limit: Option<PlannedLimit>,
    /// From model to model: where a downgrade without a target goes.
    downgrade: HashMap<Box<str>, Box<str>>,
    /// Of the models that it names exactly, the one that costs least.
    cheapest: Option<Box<str>>,
    /// By [`Operation`]: request line, Host, Authorization, what never changes.
    heads: [Zeroizing<Vec<u8>>; Operation::ALL.len()],
}

/// A provider's rate limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlannedLimit {
    /// The limit in [`Shared`](crate::shared::Shared).
    pub id: LimitId,
    /// The ceiling that the configuration sets.
    pub ceiling: Ceiling,
}

impl Provider {
    /// The request's head as far as it is the same for all requests; ends after a complete line.
    pub fn head(&self, operation: Operation) -> &[u8] {
        &self.heads[operation as usize]
    }

    /// Where a downgrade from `model` without a target goes: as the configuration says, else to the cheapest model that has
    /// a price.
    pub fn downgrade(&self, model: &str) -> Option<&str> {
        self.downgrade.get(model).or(self.cheapest.as_ref()).map(|target| &**target)
    }

    /// What it has in [`Shared`](crate::shared::Shared).
    pub fn slots(&self) -> ProviderSlots {
        ProviderSlots { breaker: self.breaker, limit: self.limit.map(|limit| limit.id) }
    }
}

/// Makes the providers of a plan.
pub(super) struct ProviderMaker<'a> {
    pub(super) config: &'a Config,
    pub(super) prices: &'a Prices,
    pub(super) labels: Labels,
    pub(super) origins: Labels,
    pub(super) slots: SlotClaims<'a>,
    pub(super) now: Now,
}

impl ProviderMaker<'_> {
    /// Lays a provider out. `before` is the provider of this name in the plan before.
    pub(super) fn make(&mut self, provider: &ProviderConfig, before: Option<&Provider>) -> Result<Provider, PlanError> {
        let base = &provider.base_url;
        let tls_name = || ServerName::try_from(base.host.clone());
        let origin = match self.origins.intern(&format!("{} {}", base.tls, base.authority())) {
            LabelId::OTHER => return Err(PlanError::TooManyOrigins),
            LabelId(index) => OriginId(index),
        };
        let breaker_rules = breaker_rules(provider);
        let exact = provider.models.iter().filter(|model| !model.ends_with('*')).map(String::as_str);
        let downgrade = provider.downgrade.iter();
        Ok(Provider {
            name: provider.name.as_str().into(),
            label: self.labels.intern(&provider.name),
            host: base.host.as_str().into(),
            port: base.port,
            literal: base.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, base.port)),
            origin,
            server_name: base.tls.then(|| tls_name().expect("the configuration's check lets no other host through")),
            timeout: provider.timeout,
            connect_timeout: provider.connect_timeout,
            stream_idle_timeout: provider.stream_idle_timeout,
            retries: provider.retries,
            breaker: match before.filter(|before| before.breaker_rules == breaker_rules) {
                Some(before) => before.breaker,
                None => self.slots.breaker()?,
            },
            breaker_rules,
            limit: self.limit(provider, before)?,
            downgrade: downgrade.map(|(from, to)| (from.as_str().into(), to.as_str().into())).collect(),
            cheapest: self.prices.cheapest(exact).map(Into::into),
            heads: Operation::ALL.map(|operation| head_for(provider, operation)),
        })
    }

    fn limit(
        &mut self,
        provider: &ProviderConfig,
        before: Option<&Provider>,
    ) -> Result<Option<PlannedLimit>, NoFreeSlot> {
        let limits = &self.config.rate_limit;
        let Some(limit) = limits.providers.iter().find(|limit| limits.enabled && limit.name == provider.name) else {
            return Ok(None);
        };
        let ceiling = Ceiling::Flow { qps: limit.qps, burst: limit.burst };
        let id = match before.and_then(|before| before.limit) {
            Some(before) => before.id,
            None => self.slots.limit(ceiling, self.now)?,
        };
        Ok(Some(PlannedLimit { id, ceiling }))
    }
}

fn breaker_rules(provider: &ProviderConfig) -> BreakerRules {
    // Longer than a probe can take, so that no second one goes while the first still waits.
    let probe_max = provider.timeout + provider.connect_timeout + PROBE_SLACK;
    BreakerRules { probe_max, ..BreakerRules::default() }
}

/// Arbitrary: more than a busy shard is late by, and far less than the timeouts that it is added to.
const PROBE_SLACK: Duration = Duration::from_secs(5);

fn head_for(provider: &ProviderConfig, operation: Operation) -> Zeroizing<Vec<u8>> {
    let base = &provider.base_url;
    let path = format!("{}{}", base.api_root(), path::of(operation).trim_start_matches("/v1"));
    let key = provider.api_key.expose();
    // Sized beforehand, so that no copy of the key is left behind by growing.
    let mut head = Zeroizing::new(Vec::with_capacity(path.len() + key.len() + 256 + base.host.len()));
    for part in ["POST ", &path, " HTTP/1.1\r\nHost: ", &base.authority(), "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    head.extend_from_slice(b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n");
    if !key.is_empty() {
        for part in ["Authorization: Bearer ", key, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
    }
    head
}

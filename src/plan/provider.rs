//! One provider as the request path needs it: its address, its timeouts and the head that its requests begin with. Part of
//! the plan, shared by all shards, never changed.

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

/// One provider, prepared for sending requests.
pub struct Provider {
    /// Name as in the configuration.
    pub name: Box<str>,
    /// Metric label of the name.
    pub label: LabelId,
    /// Host as used for DNS look-ups and for display.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Set when the host is an IP address and needs no look-up.
    pub literal: Option<SocketAddr>,
    /// Providers with the same origin may share connections.
    pub origin: OriginId,
    /// Set when connections to the provider use TLS.
    pub server_name: Option<ServerName<'static>>,
    /// Longest wait from the request's last byte to the answer's first.
    pub timeout: Duration,
    /// Time for the TCP and TLS handshakes, for all addresses together.
    pub connect_timeout: Duration,
    /// Longest wait between two bytes of an answer.
    pub stream_idle_timeout: Duration,
    /// Number of further attempts after a failed one.
    pub retries: u32,
    /// The provider's circuit breaker in [`Shared`](crate::shared::Shared).
    pub breaker: BreakerId,
    /// Rules for opening the breaker.
    pub breaker_rules: BreakerRules,
    /// The provider's rate limit; absent if there is none.
    pub limit: Option<PlannedLimit>,
    /// Maps a model to the model that replaces it in a downgrade without a target.
    downgrade: HashMap<Box<str>, Box<str>>,
    /// The cheapest of the models that the provider names exactly.
    cheapest: Option<Box<str>>,
    /// Constant part of the request head, by [`Operation`]: request line, Host, Authorization and other fixed headers.
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
    /// Returns the part of the request head that is the same for all requests; it ends after a complete line.
    pub fn head(&self, operation: Operation) -> &[u8] {
        &self.heads[operation as usize]
    }

    /// Returns the model that replaces `model` in a downgrade without a target: the one that the configuration names, else
    /// the cheapest model that has a price.
    pub fn downgrade(&self, model: &str) -> Option<&str> {
        self.downgrade.get(model).or(self.cheapest.as_ref()).map(|target| &**target)
    }

    /// Returns the slots that the provider occupies in [`Shared`](crate::shared::Shared).
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
    /// Makes one provider. `before` is the provider with the same name in the previous plan.
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
    // Longer than a probe can take, so that no second probe is sent while the first is still in flight.
    let probe_max = provider.timeout + provider.connect_timeout + PROBE_SLACK;
    BreakerRules { probe_max, ..BreakerRules::default() }
}

/// Arbitrary: longer than the delay of a busy shard, and far shorter than the timeouts that it is added to.
const PROBE_SLACK: Duration = Duration::from_secs(5);

fn head_for(provider: &ProviderConfig, operation: Operation) -> Zeroizing<Vec<u8>> {
    let base = &provider.base_url;
    let path = format!("{}{}", base.api_root(), path::of(operation).trim_start_matches("/v1"));
    let key = provider.api_key.expose();
    // Allocated at full size, so that the buffer never grows and leaves a copy of the key behind.
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

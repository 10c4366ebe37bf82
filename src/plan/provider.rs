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
use crate::breaker::{Breaker, Rules};
use crate::clock::Now;
use crate::config;
use crate::dialect::openai::path;
use crate::limit::Limit;
use crate::llm::Operation;
use crate::pricing::Prices;

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
    /// What all shards share of it, and what outlives the plan.
    pub state: SharedState,
    /// From model to model: where a downgrade without a target goes.
    downgrade: HashMap<Box<str>, Box<str>>,
    /// Of the models that it names exactly, the one that costs least.
    cheapest: Option<Box<str>>,
    /// By [`Operation`]: request line, Host, Authorization, what never changes.
    heads: [Zeroizing<Vec<u8>>; Operation::ALL.len()],
}

/// What all shards share of a provider. It goes on from plan to plan, as long as the provider keeps its name.
pub struct SharedState {
    /// Whether it is worth asking.
    pub breaker: Arc<Breaker>,
    /// How often it may be asked.
    pub limit: Option<Limit>,
}

impl SharedState {
    pub(super) fn new(
        provider: &config::ProviderConfig,
        limits: &config::RateLimitConfig,
        before: Option<&SharedState>,
        now: Now,
    ) -> SharedState {
        // Longer than a probe can take, so that no second one goes while the first still waits.
        let probe_max = provider.timeout + provider.connect_timeout + PROBE_SLACK;
        let rules = Rules { probe_max, ..Rules::default() };
        let known = before.filter(|state| state.breaker.rules() == rules);
        let configured = limits.providers.iter().find(|limit| limits.enabled && limit.name == provider.name);
        let limit = configured.map(|limit| match before.and_then(|state| state.limit.as_ref()) {
            Some(running) => running.successor(limit.qps, limit.burst, now),
            None => Limit::new(limit.qps, limit.burst, now),
        });
        SharedState { breaker: known.map_or_else(|| Breaker::new(rules), |state| state.breaker.clone()), limit }
    }
}

/// Arbitrary.
const PROBE_SLACK: Duration = Duration::from_secs(5);

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

    pub(super) fn new(
        provider: &config::ProviderConfig,
        state: SharedState,
        prices: &Prices,
        labels: &mut Labels,
        origins: &mut Labels,
    ) -> Result<Provider, PlanError> {
        let base = &provider.base_url;
        let tls_name = || ServerName::try_from(base.host.clone());
        let origin = match origins.intern(&format!("{} {}", base.tls, base.authority())) {
            LabelId::OTHER => return Err(PlanError::TooManyOrigins),
            LabelId(index) => OriginId(index),
        };
        let exact = provider.models.iter().filter(|model| !model.ends_with('*')).map(String::as_str);
        let downgrade = provider.downgrade.iter();
        Ok(Provider {
            name: provider.name.as_str().into(),
            label: labels.intern(&provider.name),
            host: base.host.as_str().into(),
            port: base.port,
            literal: base.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, base.port)),
            origin,
            server_name: base.tls.then(|| tls_name().expect("the configuration's check lets no other host through")),
            timeout: provider.timeout,
            connect_timeout: provider.connect_timeout,
            stream_idle_timeout: provider.stream_idle_timeout,
            retries: provider.retries,
            state,
            downgrade: downgrade.map(|(from, to)| (from.as_str().into(), to.as_str().into())).collect(),
            cheapest: prices.cheapest(exact).map(Into::into),
            heads: Operation::ALL.map(|operation| head_for(provider, operation)),
        })
    }
}

fn head_for(provider: &config::ProviderConfig, operation: Operation) -> Zeroizing<Vec<u8>> {
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

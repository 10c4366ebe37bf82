//! What runs: everything that the configuration decides, parsed, resolved and laid out for the request path; immutable and
//! versioned. The coordinator makes plans, shards read them; a request keeps the plan it started with.
//!
//! *Invariant:* nothing that a request looks up here allocates, and nothing here changes after it was published.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::http::head::HeadLimits;
use crate::names;
use crate::openai::facts::{Endpoint, FactLimits};
use crate::openai::models::{write_model, write_models};

/// The index of a metric's label value; 0 is [`names::OTHER`]. Stays the same over all plans of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelId(pub u16);

/// The index of a scheme, host and port. Stays the same over all plans of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginId(pub u16);

impl LabelId {
    /// What the configuration does not name.
    pub const OTHER: LabelId = LabelId(0);
    /// No provider was chosen.
    pub const NONE: LabelId = LabelId(1);
}

/// Label values, each with its index. Only ever grows, by what configurations name.
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
    /// The index of `value`, new or known; [`LabelId::OTHER`] when 65,535 are taken.
    pub fn intern(&mut self, value: &str) -> LabelId {
        if let Some(id) = self.index.get(value) {
            return *id;
        }
        let Ok(next) = u16::try_from(self.values.len()) else {
            return LabelId::OTHER;
        };
        let value: Arc<str> = value.into();
        self.values.push(value.clone());
        self.index.insert(value, LabelId(next));
        LabelId(next)
    }

    /// The text of a label.
    pub fn text(&self, id: LabelId) -> &str {
        self.values.get(usize::from(id.0)).map_or(names::OTHER, |value| value)
    }
}

/// Everything that runs.
pub struct Plan {
    /// Counts up by one with each plan that a process publishes.
    pub version: u64,
    /// Bounds on a caller's head.
    pub head_limits: HeadLimits,
    /// Bounds on a caller's JSON.
    pub fact_limits: FactLimits,
    /// Bytes of a caller's body at most.
    pub body_bytes_max: u64,
    /// A caller's head and body must have arrived within this time.
    pub read_timeout: Duration,
    /// A caller must take something of its answer within this time.
    pub write_timeout: Duration,
    /// Running requests may finish for so long when the process is to end.
    pub drain_timeout: Duration,
    /// Connections at once over all shards.
    pub connections_max: usize,
    /// In the order of the file.
    pub providers: Vec<Arc<Provider>>,
    /// Label values as of this plan.
    pub labels: Labels,
    /// How providers are spoken to over TLS; absent when none is.
    pub tls: Option<Arc<ClientConfig>>,
    origins: Labels,
    exact: HashMap<Box<str>, Route>,
    /// Longest prefix first, then the order of the file.
    patterns: Vec<(Box<str>, Route)>,
    models: Models,
}

/// Who answers for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index into [`Plan::providers`].
    pub provider: usize,
    /// The model's label.
    pub model: LabelId,
}

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
    /// By [`Endpoint`]: request line, Host, Authorization, what never changes.
    heads: [Zeroizing<Vec<u8>>; Endpoint::ALL.len()],
}

impl Provider {
    /// The request's head as far as it is the same for all requests; ends after a complete line.
    pub fn head(&self, endpoint: Endpoint) -> &[u8] {
        &self.heads[endpoint as usize]
    }
}

/// `/v1/models`, written once.
struct Models {
    list: Box<[u8]>,
    each: HashMap<Box<str>, Box<[u8]>>,
}

impl Plan {
    /// Lays a checked configuration out, as the successor of the plan before. `created_s` is the time that the model list
    /// shows, in seconds since the epoch.
    ///
    /// # Errors
    /// A provider needs TLS and the cryptography for it cannot be set up.
    pub fn new(config: &Config, before: Option<&Plan>, created_s: u64) -> Result<Plan, rustls::Error> {
        let (mut labels, mut origins) = before.map_or_else(Default::default, |p| (p.labels.clone(), p.origins.clone()));
        let mut exact: HashMap<Box<str>, Route> = HashMap::new();
        let mut patterns: Vec<(Box<str>, Route)> = Vec::new();
        let mut providers = Vec::with_capacity(config.providers.len());
        for (index, provider) in config.providers.iter().enumerate() {
            providers.push(Arc::new(Provider::new(provider, &mut labels, &mut origins)));
            for model in &provider.models {
                match model.strip_suffix('*') {
                    Some(prefix) => patterns.push((prefix.into(), Route { provider: index, model: LabelId::OTHER })),
                    None => {
                        let route = Route { provider: index, model: labels.intern(model) };
                        exact.entry(model.as_str().into()).or_insert(route);
                    }
                }
            }
        }
        // Stable, so that the order of the file decides between patterns of one length.
        patterns.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
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
            read_timeout: config.server.read_timeout,
            write_timeout: config.server.write_timeout,
            drain_timeout: config.server.drain_timeout,
            connections_max: limits.connections as usize,
            models: Models::new(config, created_s),
            providers,
            labels,
            tls,
            origins,
            exact,
            patterns,
        })
    }

    /// Who answers for `model`: an exact name wins, then the longest pattern, then the order of the file.
    pub fn route(&self, model: &str) -> Option<Route> {
        let by_pattern =
            || self.patterns.iter().find(|(prefix, _)| model.starts_with(&**prefix)).map(|(_, route)| *route);
        self.exact.get(model).copied().or_else(by_pattern)
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

impl Models {
    fn new(config: &Config, created_s: u64) -> Models {
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

impl Provider {
    fn new(provider: &config::Provider, labels: &mut Labels, origins: &mut Labels) -> Provider {
        let base = &provider.base_url;
        let tls_name = || ServerName::try_from(base.host.clone());
        Provider {
            name: provider.name.as_str().into(),
            label: labels.intern(&provider.name),
            host: base.host.as_str().into(),
            port: base.port,
            literal: base.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, base.port)),
            origin: OriginId(origins.intern(&format!("{} {}", base.tls, base.authority())).0),
            server_name: base.tls.then(|| tls_name().expect("the configuration's check lets no other host through")),
            timeout: provider.timeout,
            connect_timeout: provider.connect_timeout,
            stream_idle_timeout: provider.stream_idle_timeout,
            retries: provider.retries,
            heads: Endpoint::ALL.map(|endpoint| head_for(provider, endpoint)),
        }
    }
}

fn head_for(provider: &config::Provider, endpoint: Endpoint) -> Zeroizing<Vec<u8>> {
    let base = &provider.base_url;
    let path = format!("{}{}", base.api_root(), endpoint.path().trim_start_matches("/v1"));
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

mod tls {
    //! How providers are verified: by the system's roots, and by bundled ones where the system has none.

    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::{ClientConfig, RootCertStore};

    pub(super) fn client() -> Result<Arc<ClientConfig>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

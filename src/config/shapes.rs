//! The configuration's shapes: field names, types, defaults and bounds, and the single source of the
//! JSON Schema, of the checks and of what `/api/config` shows. Comments on fields become the schema's
//! descriptions. Never holds a rule that spans two keys: those are in `rules.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::{BaseUrl, Listen};
use super::base_path::BasePath;
use super::leaf_schema;
use super::outline::Outline;
use super::problem::Problem;
use crate::units::Secret;

/// The configuration of luner, an AI gateway. Any value may be written as ${NAME} or ${NAME:-default}.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this file's format.
    pub version: FormatVersion,
    /// Where luner listens, how patient it is, who may manage it.
    #[serde(default)]
    pub server: ServerConfig,
    /// The LLM providers behind the gateway. With several for one model: exact names win, then the longer pattern, then file order.
    #[schemars(length(min = 1))]
    pub providers: Vec<ProviderConfig>,
    /// The cache of complete answers to requests with temperature 0.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Limits that protect the providers. A cache hit is never refused for them.
    #[serde(default)]
    pub rate_limit: RateLimitConfig,
    /// What a token costs.
    #[serde(default)]
    pub pricing: PricingConfig,
    /// Where accounting, traces and policies are kept.
    #[serde(default)]
    pub storage: StorageConfig,
    /// What luner tells about itself.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// What loads but is worth a second look. To be logged once, at load.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
    /// What the file says.
    #[serde(skip)]
    pub outline: Outline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FormatVersion {
    #[serde(rename = "v1")]
    V1,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port; ":8080" is all interfaces. Needs a restart.
    #[schemars(schema_with = "leaf_schema::listen")]
    pub listen: Listen,
    /// The path under which the console is found from outside, behind a proxy that serves other things too: /luner/. Requests that still carry it are understood as well.
    #[schemars(schema_with = "leaf_schema::base_path")]
    pub base_path: BasePath,
    /// A request's head and body must have arrived within this time. Needs a restart.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub read_timeout: Duration,
    /// No progress to the client for so long ends the connection. Needs a restart.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub write_timeout: Duration,
    /// On SIGTERM, what runs may take so long to finish.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub drain_timeout: Duration,
    /// Threads that serve requests; 0 = one per core that the process may use. Needs a restart.
    #[schemars(range(min = 0, max = 1024))]
    pub workers: u32,
    /// Who may use the console and the REST API.
    pub admin: AdminConfig,
    /// Bounds on what a client may send.
    pub limits: ClientLimits,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            listen: Listen { host: None, port: 8080 },
            base_path: BasePath::default(),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            workers: 0,
            admin: AdminConfig::default(),
            limits: ClientLimits::default(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The bearer token for management, 16 bytes or more. Empty = only loopback peers may manage.
    #[schemars(schema_with = "leaf_schema::token")]
    pub token: Secret,
    /// true lets anyone who reaches the port manage luner without a token. For closed networks only.
    pub open: bool,
    /// Host names, besides the loopback ones, under which the console may be opened.
    #[schemars(schema_with = "leaf_schema::hosts")]
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// The largest request head, request line and headers together.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::head_bytes")]
    pub head_bytes: u64,
    /// The most header fields in a request.
    #[schemars(range(min = 8, max = 1000))]
    pub headers: u32,
    /// The largest request body.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::body_bytes")]
    pub body_bytes: u64,
    /// The most bytes of requests over 64 KiB that are held at a time, over all cores; each core may hold two of the largest.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::held_bytes")]
    pub held_bytes: u64,
    /// The deepest nesting of a request's JSON.
    #[schemars(range(min = 8, max = 512))]
    pub json_depth: u32,
    /// The most client connections at a time, over all cores.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            head_bytes: 32 << 10,
            headers: 100,
            body_bytes: 10 << 20,
            held_bytes: 512 << 20,
            json_depth: 128,
            connections: 20_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// A name of your own, unique in this file; it labels metrics and traces.
    #[schemars(schema_with = "leaf_schema::name")]
    pub name: String,
    /// The address of the provider's OpenAI-compatible API, with or without a trailing /v1.
    #[schemars(schema_with = "leaf_schema::base_url")]
    pub base_url: BaseUrl,
    /// The provider's key. Empty = no Authorization header is sent, as local models want it.
    #[serde(default)]
    #[schemars(schema_with = "leaf_schema::api_key")]
    pub api_key: Secret,
    /// The models it serves: exact names, "gpt-4o-*" for a prefix, "*" for all.
    #[schemars(schema_with = "leaf_schema::models")]
    pub models: Vec<String>,
    /// How long the first byte of an answer may take.
    #[serde(default = "default_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub timeout: Duration,
    /// How long connecting, TLS included, may take.
    #[serde(default = "default_connect_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub connect_timeout: Duration,
    /// How long a stream may be silent between two bytes.
    #[serde(default = "default_stream_idle_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub stream_idle_timeout: Duration,
    /// Further attempts after a refused connection, or a 5xx before any byte of the answer.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// The share of traffic among providers that serve a model equally well. 0 = none while one with a share can take it;
    /// all 0 = the first of the file takes it, the next when that one cannot.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,
    /// From model to model: where a downgrade policy that names no target goes.
    #[serde(default)]
    #[schemars(schema_with = "leaf_schema::downgrade")]
    pub downgrade: BTreeMap<String, String>,
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(5)
}

fn default_stream_idle_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_retries() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// false turns the cache off.
    pub enabled: bool,
    /// The most answers kept, over all cores.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_items: u64,
    /// The most memory for answers, over all cores.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::cache_bytes")]
    pub max_bytes: u64,
    /// How long an answer may be served again.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::ttl")]
    pub default_ttl: Duration,
    /// tenant = an answer is shared within a tenant; global = among all callers.
    pub scope: CacheScope,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig {
            enabled: true,
            max_items: 5000,
            max_bytes: 256 << 20,
            default_ttl: Duration::from_secs(2 * 3600),
            scope: CacheScope::Tenant,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheScope {
    #[default]
    Tenant,
    Global,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// false turns all limits off.
    pub enabled: bool,
    /// One entry for each provider that has a limit.
    pub providers: Vec<ProviderLimit>,
}

impl Default for RateLimitConfig {
    fn default() -> RateLimitConfig {
        RateLimitConfig { enabled: true, providers: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderLimit {
    /// The name of a provider above.
    #[schemars(schema_with = "leaf_schema::name")]
    pub name: String,
    /// Requests per second on the long run, over all cores.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub qps: f64,
    /// Requests that may come at once beyond that.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

fn default_burst() -> u32 {
    10
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PricingConfig {
    /// A price table in LiteLLM's shape, USD per token. Empty = the built-in one.
    #[schemars(schema_with = "leaf_schema::path")]
    pub file: PathBuf,
    /// A model without a price: allow = it runs at cost 0 and is flagged; block = it is refused.
    pub unknown: UnknownPrice,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPrice {
    #[default]
    Allow,
    Block,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// sqlite = one file; none = luner runs without a memory.
    pub backend: StorageBackend,
    /// Settings of the sqlite backend.
    pub sqlite: SqliteConfig,
    /// How much history is kept. Whatever is reached first is pruned.
    pub retention: RetentionConfig,
    /// Whether each request leaves a trace. Sums of tokens and dollars are kept either way.
    pub traces: bool,
    /// Whose prompts and answers are stored: none, errors (failed and refused requests), all.
    pub capture: Capture,
}

impl Default for StorageConfig {
    fn default() -> StorageConfig {
        StorageConfig {
            backend: StorageBackend::default(),
            sqlite: SqliteConfig::default(),
            retention: RetentionConfig::default(),
            traces: true,
            capture: Capture::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StorageBackend {
    #[default]
    Sqlite,
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// The database file; missing folders are made. Relative to the working directory.
    #[schemars(schema_with = "leaf_schema::path")]
    pub path: PathBuf,
}

impl Default for SqliteConfig {
    fn default() -> SqliteConfig {
        SqliteConfig { path: PathBuf::from("data/luner.db") }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// Traces older than so many days are deleted.
    #[schemars(range(min = 1, max = 3650))]
    pub days: u32,
    /// The largest database file.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::database_bytes")]
    pub max_bytes: u64,
}

impl Default for RetentionConfig {
    fn default() -> RetentionConfig {
        RetentionConfig { days: 7, max_bytes: 2 << 30 }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capture {
    #[default]
    None,
    Errors,
    All,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// The least important lines that are logged: error, warn, info, debug or trace.
    pub log: LogLevel,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

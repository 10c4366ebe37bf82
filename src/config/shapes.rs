//! The types of the configuration: field names, types, defaults and bounds. They are the single source of the JSON Schema,
//! of the checks, and of the output of `/api/config`. Comments on fields become the schema's descriptions.
//! Plain values, loaded on the coordinator.
//! Never holds a rule that spans two keys: those are in `rules.rs`.

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

/// Configuration of luner, an AI gateway. Any value may be written as ${NAME} or ${NAME:-default}.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the file format.
    pub version: FormatVersion,
    /// The listener, its timeouts and limits, and who may manage luner.
    #[serde(default)]
    pub server: ServerConfig,
    /// The LLM providers behind the gateway. If several serve a model, an exact name takes precedence, then the longest pattern, then the order of the file.
    #[schemars(length(min = 1))]
    pub providers: Vec<ProviderConfig>,
    /// Cache of complete answers to requests with temperature 0.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Rate limits that protect the providers. They never refuse a cache hit.
    #[serde(default)]
    pub rate_limit: RateLimitConfig,
    /// Prices of tokens.
    #[serde(default)]
    pub pricing: PricingConfig,
    /// Storage of accounting, traces and policies.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Logging.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// Settings that are valid but probably a mistake. Logged once, when the file is loaded.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
    /// The values of the file, for comparison with another file.
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
    /// Address and port to listen on; ":8080" means all interfaces. A change needs a restart.
    #[schemars(schema_with = "leaf_schema::listen")]
    pub listen: Listen,
    /// Path under which users find the console, such as /luner/ behind a proxy that also serves other applications. Requests are accepted with and without it.
    #[schemars(schema_with = "leaf_schema::base_path")]
    pub base_path: BasePath,
    /// Longest time for a request's head and body to arrive. A change needs a restart.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub read_timeout: Duration,
    /// A connection is closed if its client accepts no data for this long. A change needs a restart.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub write_timeout: Duration,
    /// Longest time for requests in flight to finish after SIGTERM.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub drain_timeout: Duration,
    /// Number of threads that serve requests; 0 = one per core that the process may use. A change needs a restart.
    #[schemars(range(min = 0, max = 1024))]
    pub workers: u32,
    /// Access to the console and the REST API.
    pub admin: AdminConfig,
    /// Limits on clients and their requests.
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
    /// Bearer token for the console and the REST API, at least 16 bytes. Empty = only loopback clients have access.
    #[schemars(schema_with = "leaf_schema::token")]
    pub token: Secret,
    /// true = anyone who can reach the port may manage luner without a token. For closed networks only.
    pub open: bool,
    /// Host names under which the console may be opened, in addition to the loopback names.
    #[schemars(schema_with = "leaf_schema::hosts")]
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientLimits {
    /// Largest request head: request line and headers together.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::head_bytes")]
    pub head_bytes: u64,
    /// Largest number of headers in a request.
    #[schemars(range(min = 8, max = 1000))]
    pub headers: u32,
    /// Largest request body.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::body_bytes")]
    pub body_bytes: u64,
    /// Memory for requests over 64 KiB, over all cores. Each core may always hold two requests of the largest size.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::held_bytes")]
    pub held_bytes: u64,
    /// Deepest nesting of a request's JSON.
    #[schemars(range(min = 8, max = 512))]
    pub json_depth: u32,
    /// Largest number of client connections at a time, over all cores.
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
    /// Name of your choice, unique in this file. Labels metrics and traces.
    #[schemars(schema_with = "leaf_schema::name")]
    pub name: String,
    /// Address of the provider's OpenAI-compatible API, with or without a trailing /v1.
    #[schemars(schema_with = "leaf_schema::base_url")]
    pub base_url: BaseUrl,
    /// The provider's API key. Empty = luner sends no Authorization header, which suits local models.
    #[serde(default)]
    #[schemars(schema_with = "leaf_schema::api_key")]
    pub api_key: Secret,
    /// Models that the provider serves: exact names, "gpt-4o-*" for a prefix, "*" for all.
    #[schemars(schema_with = "leaf_schema::models")]
    pub models: Vec<String>,
    /// Longest time until the first byte of an answer.
    #[serde(default = "default_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub timeout: Duration,
    /// Longest time to connect, including TLS.
    #[serde(default = "default_connect_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub connect_timeout: Duration,
    /// Longest silence between two bytes of a stream.
    #[serde(default = "default_stream_idle_timeout", with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::timeout")]
    pub stream_idle_timeout: Duration,
    /// Number of retries after a refused connection, or after a 5xx status before the first byte of an answer.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// Share of the traffic among providers that match a model equally well. 0 = none while a provider with a share is available. If all are 0, the first in the file gets all traffic, and the next ones are its failover.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,
    /// Maps a model to a cheaper one, for downgrade policies that name no target.
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
    /// false = the cache is off.
    pub enabled: bool,
    /// Largest number of cached answers, over all cores.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_items: u64,
    /// Memory for cached answers, over all cores.
    #[serde(with = "crate::units::bytes")]
    #[schemars(schema_with = "leaf_schema::cache_bytes")]
    pub max_bytes: u64,
    /// How long a cached answer may be served.
    #[serde(with = "crate::units::duration")]
    #[schemars(schema_with = "leaf_schema::ttl")]
    pub default_ttl: Duration,
    /// tenant = answers are shared within a tenant; global = among all callers.
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
    /// false = all rate limits are off.
    pub enabled: bool,
    /// One entry for each provider with a limit.
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
    /// Name of a provider in this file.
    #[schemars(schema_with = "leaf_schema::name")]
    pub name: String,
    /// Requests per second in the long run, over all cores.
    #[schemars(range(min = 0.001, max = 1_000_000.0))]
    pub qps: f64,
    /// Number of requests that may exceed the rate at once.
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
    /// Price file in LiteLLM's format, in USD per token. Empty = the built-in prices.
    #[schemars(schema_with = "leaf_schema::path")]
    pub file: PathBuf,
    /// Requests for a model without a price: allow = they cost 0 and are flagged; block = they are refused.
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
    /// sqlite = one database file; none = nothing is stored.
    pub backend: StorageBackend,
    /// Settings of the sqlite backend.
    pub sqlite: SqliteConfig,
    /// How much history is kept. Old traces are deleted when either limit is reached.
    pub retention: RetentionConfig,
    /// true = each request leaves a trace. Totals of tokens and dollars are stored in any case.
    pub traces: bool,
    /// Which prompts and answers are stored: none, errors (of failed and refused requests), all.
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
    /// Database file, relative to the working directory. Missing folders are created.
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
    /// Traces older than this number of days are deleted.
    #[schemars(range(min = 1, max = 3650))]
    pub days: u32,
    /// Largest database file.
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
    /// Lowest level that is logged: error, warn, info, debug or trace.
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

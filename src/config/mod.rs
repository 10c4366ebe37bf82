//! What the operator wrote: one YAML file becomes a `Config`, or a list of everything wrong with it.
//! Runs on the coordinator at start and on a reload, and in `luner check`.
//! Never stops at the first mistake, never prints a secret, and never opens any file but the one it is given.

// The two kinds of address: base_url and listen.
mod address;

// The path under which the console is found.
mod base_path;

// The values of a file as a flat list, to compare two files.
mod outline;

// What is wrong with a file, and where.
mod problem;

// A single value of the file.
mod scalar;

// YAML text as a tree in which every value knows its line.
mod tree;

// Expands ${NAME} in the values.
mod env;

// The JSON Schema of single values.
mod leaf_schema;

// The types of the configuration, with their defaults.
mod shapes;

// The types as JSON Schema.
mod schema;

// Makes the outline of a file.
mod outliner;

// Checks every value against the schema.
mod check;

// Checks the rules that a schema cannot express.
mod rules;

// From a file to a `Config`.
mod load;

#[cfg(test)]
mod tests;

pub use address::{AddressError, BaseUrl, Listen};
pub use base_path::BasePath;
pub use env::Env;
pub use load::{load, parse};
pub use outline::{Difference, Outline};
pub use problem::{Problem, Problems};
pub use schema::schema;
pub use shapes::{
    AdminConfig, CacheConfig, CacheScope, Capture, ClientLimits, Config, FormatVersion, LogLevel, PricingConfig,
    ProviderConfig, ProviderLimit, RateLimitConfig, RetentionConfig, ServerConfig, SqliteConfig, StorageBackend,
    StorageConfig, TelemetryConfig, UnknownPrice,
};

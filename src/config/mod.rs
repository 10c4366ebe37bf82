//! Loads the configuration: turns one YAML file into a `Config`, or into a list of everything that is wrong with it.
//! Runs on the coordinator at start and on a reload, and in `luner check`.
//! Never stops at the first mistake, never prints a secret, and never opens a file other than the one it is given.

// The two kinds of address: `base_url` and `listen`.
mod address;

// The path under which the console is mounted.
mod base_path;

// A flat list of a file's values, for comparing two files.
mod outline;

// The problems of a file, with their places.
mod problem;

// A single value of a file.
mod scalar;

// Parses YAML into a tree in which every value knows its line.
mod tree;

// Expands `${NAME}` in the values.
mod env;

// The JSON Schema of single values, such as durations and names.
mod leaf_schema;

// The types of the configuration, with their defaults.
mod shapes;

// Generates the JSON Schema from the types.
mod schema;

// Builds the outline of a file.
mod outliner;

// Checks every value against the schema.
mod check;

// Checks the rules that span several keys.
mod rules;

// Loads a file: reads, expands and checks it.
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

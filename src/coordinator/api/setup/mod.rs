//! The process and its setup: health, live numbers, configuration, providers, audit. It changes nothing.

// `GET /api/health`.
pub(crate) mod health;

// `GET /api/metrics/live`.
pub(crate) mod live;

// `GET /api/config`.
pub(crate) mod config;

// `GET /api/providers`.
pub(crate) mod providers;

// `GET /api/audit`.
pub(crate) mod audit;

//! What runs and how it came to be.

// `GET /api/health`.
pub(super) mod health;

// `GET /api/metrics/live`.
pub(super) mod live;

// `GET /api/config`.
pub(super) mod config;

// `GET /api/providers`.
pub(super) mod providers;

// `GET /api/audit`.
pub(super) mod audit;

//! The shapes that every resource of the REST API shares: parameters, bodies, answers, errors, the document.

// Media types.
pub(super) mod media;

// How the API says no.
pub(super) mod error;

// How it answers.
pub(super) mod answer;

// Bodies, read strictly.
pub(super) mod body;

// Queries, read strictly.
pub(super) mod parameter;

// Parameters of lists of traces.
pub(super) mod filters;

// The OpenAPI document.
pub(super) mod openapi;

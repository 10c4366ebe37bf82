//! The shapes that the operations of the REST API share: parameters, bodies, answers, errors, and the document.

// Media types.
pub(super) mod media;

// Refusals.
pub(super) mod error;

// Answers.
pub(super) mod answer;

// Request bodies, read strictly.
pub(super) mod body;

// Query parameters, read strictly.
pub(super) mod parameter;

// The names and parameters of an identity.
pub(super) mod identity;

// The parameters of lists of traces.
pub(super) mod filters;

// An operation as a value.
pub(super) mod operation;

// The OpenAPI document.
pub(super) mod openapi;

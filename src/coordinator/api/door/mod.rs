//! The way into the REST API.

// `/api/session`.
pub(super) mod sign_in;

//! `/api/policies` and below.

// A policy in an answer, and the answers that list policies.
pub(crate) mod list;

// The body of a new policy.
pub(crate) mod draft;

// Creates, replaces, deletes and reloads policies.
pub(crate) mod change;

// `GET /api/policies/language`.
pub(crate) mod language;

// `POST /api/policies/test`.
pub(crate) mod test_policy;

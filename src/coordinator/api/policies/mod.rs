//! `/api/policies` and below.

// The body of a new policy.
mod draft;

// Lists policies and changes them.
pub(super) mod stored;

// `GET /api/policies/language`.
pub(super) mod language;

// `POST /api/policies/test`.
pub(super) mod test_policy;

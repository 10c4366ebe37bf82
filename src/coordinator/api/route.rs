//! What a path of the REST API means, and which methods it has. A pure table; paths are compared byte for byte, so that no
//! two readings of one exist. It never looks at who asks.

use super::error::ApiError;
use crate::http::head::Method;
use crate::link::ApiRequest;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Health,
    Metrics,
    LiveMetrics,
    Policies,
    TestPolicy,
    ReloadPolicies,
    Policy { id: String },
    Audit,
    Config,
}

impl Resource {
    /// The path's resource, if it has the request's method.
    pub(super) fn of(request: &ApiRequest) -> Result<Resource, ApiError> {
        let resource = match request.path.as_str() {
            "/metrics" => Resource::Metrics,
            "/api/health" => Resource::Health,
            "/api/metrics/live" => Resource::LiveMetrics,
            "/api/policies" => Resource::Policies,
            "/api/policies/test" => Resource::TestPolicy,
            "/api/policies/reload" => Resource::ReloadPolicies,
            "/api/audit" => Resource::Audit,
            "/api/config" => Resource::Config,
            path => match path.strip_prefix("/api/policies/").filter(|id| !id.is_empty() && !id.contains('/')) {
                Some(id) => Resource::Policy { id: id.to_owned() },
                None => return Err(ApiError::not_found("There is no such path.")),
            },
        };
        if resource.methods().contains(&request.method) {
            return Ok(resource);
        }
        let allowed: Vec<&str> = resource.methods().iter().map(|method| name(*method)).collect();
        Err(ApiError::wrong_method(&allowed.join(", ")))
    }

    fn methods(&self) -> &'static [Method] {
        use Method::{Delete, Get, Head, Post, Put};
        match self {
            Resource::Policies => &[Get, Head, Post],
            Resource::Policy { .. } => &[Get, Head, Put, Delete],
            Resource::TestPolicy | Resource::ReloadPolicies => &[Post],
            _ => &[Get, Head],
        }
    }

    /// Whether everyone may read it: it says nothing of callers, keys or policies' texts.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Resource::Health | Resource::Metrics | Resource::LiveMetrics)
    }

    /// Whether the answer must show what the shards counted until now.
    pub(super) fn needs_fresh_counts(&self, method: Method) -> bool {
        match self {
            Resource::Metrics | Resource::LiveMetrics => true,
            Resource::Policies | Resource::Policy { .. } => matches!(method, Method::Get | Method::Head),
            _ => false,
        }
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        _ => "DELETE",
    }
}

//! The REST API: a file per resource. Runs on the coordinator, between two events. It never answers what is not open to
//! everyone before the access rules have said who calls.

mod route; // from a path to a resource

mod access; // who may call

mod input; // queries and bodies, read strictly

mod error; // how it says no

mod health; // GET /api/health

mod live; // GET /api/metrics/live

mod policies; // /api/policies, and below

mod draft; // the body of a new policy

mod audit; // GET /api/audit

mod config; // GET /api/config

use serde::Serialize;

use super::{Coordinator, metrics};
use crate::http::head::Method;
use crate::link::{ApiAnswer, ApiCall};
pub(super) use access::Throttle;
use access::{Actor, Asked};
use error::ApiError;
use route::Resource;

/// A call that may be answered. Only [`admit`] makes one.
pub(super) struct Admitted {
    resource: Resource,
    /// Absent on paths that are open to everyone.
    actor: Option<Actor>,
    pub(super) needs_fresh_counts: bool,
}

/// Finds out what is asked and whether this caller may.
///
/// # Errors
/// The answer that says no.
pub(super) fn admit(coordinator: &mut Coordinator, call: &ApiCall) -> Result<Admitted, ApiAnswer> {
    let request = &call.request;
    let resource = Resource::of(request)?;
    let needs_fresh_counts = resource.needs_fresh_counts(request.method);
    if resource.is_open() {
        return Ok(Admitted { resource, actor: None, needs_fresh_counts });
    }
    let asked = Asked {
        method: request.method,
        headers: &request.headers,
        has_body: !request.body.is_empty(),
        peer: call.peer.ip(),
    };
    let now = coordinator.clock.now();
    let admin = &coordinator.running.config().server.admin;
    let actor = access::decide(admin, &asked, &mut coordinator.throttle, now).map_err(ApiError::from)?;
    Ok(Admitted { resource, actor: Some(actor), needs_fresh_counts })
}

/// Answers an admitted call.
pub(super) fn answer(coordinator: &mut Coordinator, admitted: Admitted, call: &ApiCall) -> ApiAnswer {
    let actor = admitted.actor.map(|actor| actor.to_string()).unwrap_or_default();
    let (method, query, body) = (call.request.method, call.request.query.as_deref(), call.request.body.as_slice());
    let checked = match admitted.resource {
        // Probes and scrapers bring parameters of their own.
        Resource::Health | Resource::Metrics | Resource::Audit => Ok(()),
        _ => input::no_query(query),
    };
    let answered = checked.and_then(|()| match (admitted.resource, method) {
        (Resource::Health, _) => Ok(health::answer(coordinator)),
        (Resource::Metrics, _) => Ok(metrics::answer(coordinator)),
        (Resource::LiveMetrics, _) => Ok(live::answer(coordinator)),
        (Resource::Policies, Method::Post) => policies::create(coordinator, body, &actor),
        (Resource::Policies, _) => policies::list(coordinator),
        (Resource::TestPolicy, _) => policies::test(coordinator, body),
        (Resource::ReloadPolicies, _) => policies::reload(coordinator, body),
        (Resource::Policy { id }, Method::Put) => policies::replace(coordinator, &id, body, &actor),
        (Resource::Policy { id }, Method::Delete) => policies::delete(coordinator, &id, body, &actor),
        (Resource::Policy { id }, _) => policies::one(coordinator, &id),
        (Resource::Config, _) => Ok(config::answer(coordinator)),
        (Resource::Audit, _) => audit::answer(coordinator, query),
    });
    answered.unwrap_or_else(Into::into)
}

/// 200, 201, …, with a value as JSON.
fn json(status: u16, value: &impl Serialize) -> ApiAnswer {
    let body = serde_json::to_vec(value).expect("numbers, texts and maps with texts as keys serialise");
    ApiAnswer { status, content_type: JSON, headers: Vec::new(), body, stream: None }
}

/// The media type of the API.
pub(super) const JSON: &str = "application/json";

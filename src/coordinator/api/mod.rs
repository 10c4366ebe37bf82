//! The REST API: a file per resource. Runs on the coordinator, between two events; what takes long is handed to the reader's
//! thread. It never answers what is not open to everyone before the access rules have said who calls.

// Shapes that every resource shares.
mod shape;

// The way in.
mod door;

// What happened.
mod traces;

// Policies.
mod policies;

// What runs.
mod setup;

// Every operation there is.
mod operations;

// From a path and a method to an operation.
mod route;

use super::access::{self, Actor, Asked};
use super::{Coordinator, metrics};
use crate::link::trace::Trace;
use crate::link::{ApiAnswer, ApiCall};
use door::sign_in;
use operations::Does;
use policies::{language, stored, test_policy};
use route::{Access, Found, Query};
use setup::{audit, config, health, live, providers};
pub(super) use shape::answer::Reply;
use shape::answer::whole;
use shape::error::ApiError;
use shape::media::EVENTS;
use shape::parameter::Values;
use shape::{filters, openapi};
pub(super) use traces::export::Exports;
use traces::trace_item::TraceItem;
use traces::{dashboard, export, list};

/// A call that may be answered. Only [`admit`] makes one.
pub(super) struct Admitted {
    found: Found,
    /// Absent on paths that are open to everyone.
    actor: Option<Actor>,
    pub(super) needs_fresh_counts: bool,
}

/// Finds out what is asked and whether this caller may.
///
/// # Errors
/// The answer that says no.
pub(super) fn admit(coordinator: &mut Coordinator, call: &ApiCall) -> Result<Admitted, ApiAnswer> {
    let found = route::find(&call.request)?;
    let needs_fresh_counts = found.operation.does.needs_fresh_counts();
    if found.operation.access != Access::Guarded {
        return Ok(Admitted { found, actor: None, needs_fresh_counts });
    }
    let now = coordinator.clock.now();
    let admin = &coordinator.running.config().server.admin;
    let actor = access::decide(admin, &Asked::from(call), &mut coordinator.doors, now).map_err(ApiError::from)?;
    Ok(Admitted { found, actor: Some(actor), needs_fresh_counts })
}

/// Answers an admitted call.
pub(super) fn answer(coordinator: &mut Coordinator, admitted: Admitted, call: &ApiCall) -> Reply {
    carry_out(coordinator, admitted, call).unwrap_or_else(|error| Reply::Now(error.into()))
}

fn carry_out(coordinator: &mut Coordinator, admitted: Admitted, call: &ApiCall) -> Result<Reply, ApiError> {
    let Admitted { found: Found { operation, id }, actor, .. } = admitted;
    if operation.does.changes() && coordinator.life.is_closed_to_changes() {
        return Err(ApiError::replaced());
    }
    let actor = actor.map(|actor| actor.to_string()).unwrap_or_default();
    let (values, body, now) = (values(&operation.query, call)?, call.request.body.as_slice(), coordinator.clock.now());
    Ok(match operation.does {
        Does::TellHealth => health::answer(coordinator).into(),
        Does::TellMetrics => metrics::answer(coordinator).into(),
        Does::TellLiveMetrics => live::answer(coordinator).into(),
        Does::TellDocument => whole(200, openapi::TEXT.clone().into_bytes()).into(),
        Does::TellSignInState => sign_in::state(coordinator, call).into(),
        Does::SignIn => sign_in::sign_in(coordinator, call)?.into(),
        Does::SignOut => sign_in::sign_out(coordinator, call)?.into(),
        Does::Summarise => dashboard::summary(&values, now)?,
        Does::Attribute => dashboard::cost(&values, now)?,
        Does::Chart => dashboard::series(&values, now)?,
        Does::ListTraces => list::list(&values)?,
        Does::CountFacets => list::facets(&values)?,
        Does::FollowTraces => follow(coordinator, &values, &call.request.headers.last_event_id)?.into(),
        Does::ExportTraces => export::start(coordinator, &values, call)?,
        Does::ShowTrace => list::one(&id, &values)?,
        Does::ListPolicies => stored::list(coordinator)?,
        Does::ShowPolicy => stored::one(coordinator, &id)?,
        Does::CreatePolicy => stored::create(coordinator, body, &actor)?.into(),
        Does::TestPolicy => test_policy::answer(coordinator, body)?,
        Does::ShowLanguage => language::answer().into(),
        Does::ReloadPolicies => stored::reload(coordinator, body)?.into(),
        Does::ReplacePolicy => stored::replace(coordinator, &id, body, &actor)?.into(),
        Does::DeletePolicy => stored::delete(coordinator, &id, body, &actor)?.into(),
        Does::ListAudit => audit::answer(coordinator, &values)?.into(),
        Does::ShowConfig => config::answer(coordinator).into(),
        Does::ListProviders => providers::answer(coordinator).into(),
    })
}

fn values(query: &Query, call: &ApiCall) -> Result<Values, ApiError> {
    match query {
        Query::Any => Ok(Values::default()),
        Query::Known(known) => Values::read(call.request.query.as_deref(), known),
    }
}

/// `GET /api/traces/stream`. `last` is the `Last-Event-ID`, empty where there is none.
fn follow(coordinator: &mut Coordinator, values: &Values, last: &str) -> Result<ApiAnswer, ApiError> {
    let filter = filters::filter(values)?;
    coordinator.governance.store().ok_or_else(ApiError::storage_off)?;
    let pieces = coordinator.followers.follow(filter, last, coordinator.clock.now(), item);
    let pieces = pieces.ok_or_else(|| ApiError::unavailable("overloaded", "Too many follow the traces already."))?;
    let mut answer = whole(200, b": following\n\n".to_vec());
    answer.content_type = EVENTS;
    // nginx would collect events into a buffer otherwise.
    answer.headers.push(("X-Accel-Buffering", "no".into()));
    answer.stream = Some(pieces);
    Ok(answer)
}

/// A request as the live stream shows it.
pub(super) fn item(trace: &Trace) -> String {
    serde_json::to_string(&TraceItem::from(trace)).expect("numbers and texts serialise")
}

/// The OpenAPI document of the REST API, as it is sent.
pub fn document() -> &'static str {
    &openapi::TEXT
}

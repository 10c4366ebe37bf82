//! The REST API: a file per resource. Runs on the coordinator, between two events; what takes long is handed to the reader's
//! thread. It never answers what is not open to everyone before the access rules have said who calls.

mod operations; // every operation there is

mod route; // from a path and a method to an operation

mod access; // who may call

mod parameter; // queries, read strictly

mod filters; // those of lists of traces

mod input; // bodies, read strictly

mod error; // how it says no

mod openapi; // the document

mod health; // GET /api/health

mod live; // GET /api/metrics/live

mod session; // /api/session

mod dashboard; // /api/dashboard/*

mod trace_item; // a trace in a list

mod traces; // /api/traces, and below

mod spans; // the tree of a trace

mod export; // GET /api/traces/export

mod policies; // /api/policies, and below

mod draft; // the body of a new policy

mod language; // GET /api/policies/language

mod test_policy; // POST /api/policies/test

mod audit; // GET /api/audit

mod config; // GET /api/config

mod providers; // GET /api/providers

use serde::Serialize;

use super::reading::{NoReader, Question};
use super::store::reader::Reader;
use super::{Coordinator, metrics};
use crate::link::trace::Trace;
use crate::link::{ApiAnswer, ApiCall};
pub(super) use access::Doors;
use access::{Actor, Asked};
use error::ApiError;
pub(super) use export::Exports;
use operations::{Does, EVENTS};
use parameter::Values;
use route::{Access, Found, Query};
use trace_item::TraceItem;

/// A call that may be answered. Only [`admit`] makes one.
pub(super) struct Admitted {
    found: Found,
    /// Absent on paths that are open to everyone.
    actor: Option<Actor>,
    pub(super) needs_fresh_counts: bool,
}

/// What is to become of a call.
pub(super) enum Reply {
    Now(ApiAnswer),
    /// The store is to be asked.
    Read(Question),
    /// Somebody else answers.
    Later,
}

impl Reply {
    /// An answer that the store is needed for.
    fn read(work: impl FnOnce(&Reader) -> Result<ApiAnswer, ApiError> + Send + 'static) -> Reply {
        Reply::Read(Box::new(move |reader: Result<&Reader, NoReader>| {
            reader.map_err(ApiError::from).and_then(work).unwrap_or_else(Into::into)
        }))
    }
}

impl From<ApiAnswer> for Reply {
    fn from(answer: ApiAnswer) -> Reply {
        Reply::Now(answer)
    }
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
    let actor = access::decide(admin, &asked_by(call), &mut coordinator.doors, now).map_err(ApiError::from)?;
    Ok(Admitted { found, actor: Some(actor), needs_fresh_counts })
}

/// What the access rules look at.
fn asked_by(call: &ApiCall) -> Asked<'_> {
    let request = &call.request;
    let (headers, has_body) = (&request.headers, !request.body.is_empty());
    Asked { method: request.method, headers, has_body, peer: call.peer.ip() }
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
        Does::TellSignInState => session::state(coordinator, call).into(),
        Does::SignIn => session::sign_in(coordinator, call)?.into(),
        Does::SignOut => session::sign_out(coordinator, call)?.into(),
        Does::Summarise => dashboard::summary(&values, now)?,
        Does::Attribute => dashboard::cost(&values, now)?,
        Does::Chart => dashboard::series(&values, now)?,
        Does::ListTraces => traces::list(&values)?,
        Does::CountFacets => traces::facets(&values)?,
        Does::FollowTraces => follow(coordinator, &values, &call.request.headers.last_event_id)?.into(),
        Does::ExportTraces => export::start(coordinator, &values, call)?,
        Does::ShowTrace => traces::one(&id, &values)?,
        Does::ListPolicies => policies::list(coordinator)?,
        Does::ShowPolicy => policies::one(coordinator, &id)?,
        Does::CreatePolicy => policies::create(coordinator, body, &actor)?.into(),
        Does::TestPolicy => test_policy::answer(coordinator, body)?,
        Does::ShowLanguage => language::answer().into(),
        Does::ReloadPolicies => policies::reload(coordinator, body)?.into(),
        Does::ReplacePolicy => policies::replace(coordinator, &id, body, &actor)?.into(),
        Does::DeletePolicy => policies::delete(coordinator, &id, body, &actor)?.into(),
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

/// 200, 201, …, with a value as JSON.
fn json(status: u16, value: &impl Serialize) -> ApiAnswer {
    whole(status, serde_json::to_vec(value).expect("numbers, texts and maps with texts as keys serialise"))
}

fn whole(status: u16, body: Vec<u8>) -> ApiAnswer {
    ApiAnswer { status, content_type: JSON, headers: Vec::new(), body, stream: None }
}

/// 204, with these headers.
fn nothing(headers: Vec<(&'static str, String)>) -> ApiAnswer {
    ApiAnswer { headers, ..whole(204, Vec::new()) }
}

/// The media type of the API.
pub(super) const JSON: &str = "application/json";

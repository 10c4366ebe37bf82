//! Every operation of the REST API, in one table: the router finds its way by it, parameters are read by it, and the OpenAPI
//! document is made of it, so that none of them can differ. Constants alone. What an operation does stands in the resource's
//! own file.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::door::sign_in as session;
use super::policies::{language, stored as policies, test_policy};
use super::route::{Access, Content, Operation, Query, Shape};
use super::setup::{audit, config, health, live, providers};
use super::shape::filters::{
    AGENT, FROM, MIN_COST, MIN_MS, MODEL, PAGE, POLICY, PROVIDER, Q, SIZE, STATUS, TENANT, TO, UNNAMED, USER,
};
use super::shape::media::{EVENTS, PROMETHEUS};
use super::shape::parameter::Parameter;
use super::traces::{dashboard, export, list as traces, trace_item};
use crate::coordinator::replay::Replay;
use crate::coordinator::store::ListPage;
use crate::coordinator::try_expression::TrialOutcome;
use crate::http::head::Method::{self, Delete, Get, Post, Put};
use crate::policy::Draft;

/// What there is to do; the dispatcher knows how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    TellHealth,
    TellMetrics,
    TellLiveMetrics,
    TellDocument,
    TellSignInState,
    SignIn,
    SignOut,
    Summarise,
    Attribute,
    Chart,
    ListTraces,
    CountFacets,
    FollowTraces,
    ExportTraces,
    ShowTrace,
    ListPolicies,
    CreatePolicy,
    TestPolicy,
    ReloadPolicies,
    ShowLanguage,
    ShowPolicy,
    ReplacePolicy,
    DeletePolicy,
    ListAudit,
    ShowConfig,
    ListProviders,
}

impl Does {
    /// Whether it changes what another process that takes over would not know of.
    pub(super) fn changes(self) -> bool {
        matches!(
            self,
            Does::CreatePolicy | Does::ReplacePolicy | Does::DeletePolicy | Does::ReloadPolicies | Does::SignIn
        )
    }

    /// Whether the answer must show what the shards counted until now.
    pub(super) fn needs_fresh_counts(self) -> bool {
        matches!(
            self,
            Does::TellMetrics | Does::TellLiveMetrics | Does::ListPolicies | Does::ShowPolicy | Does::ListProviders
        )
    }
}

const NONE: Query = Query::Known(&[]);
const PERIOD: Query = Query::Known(&[&FROM, &TO]);
/// Of everything that is about a list of traces.
const FILTERS: &[&Parameter] =
    &[&AGENT, &USER, &TENANT, &MODEL, &PROVIDER, &STATUS, &POLICY, &UNNAMED, &Q, &FROM, &TO, &MIN_COST, &MIN_MS];
#[rustfmt::skip]
const PAGED: &[&Parameter] =
    &[&PAGE, &SIZE, &AGENT, &USER, &TENANT, &MODEL, &PROVIDER, &STATUS, &POLICY, &UNNAMED, &Q, &FROM, &TO, &MIN_COST, &MIN_MS];
#[rustfmt::skip]
const EXPORTED: &[&Parameter] =
    &[&export::FORMAT, &AGENT, &USER, &TENANT, &MODEL, &PROVIDER, &STATUS, &POLICY, &UNNAMED, &Q, &FROM, &TO, &MIN_COST, &MIN_MS];

/// In the order of the document.
pub(super) static OPERATIONS: [Operation; 26] = [
    open("/api/health", Does::TellHealth, "Whether the gateway serves, and on what", Query::Any)
        .answers(&[(200, Content::Json(of::<health::Health>)), (503, Content::Json(of::<health::Health>))]),
    open("/metrics", Does::TellMetrics, "Metrics for Prometheus", Query::Any)
        .answers(&[(200, Content::Text(PROMETHEUS))]),
    open("/api/metrics/live", Does::TellLiveMetrics, "The few numbers that a console draws", NONE)
        .answers(&[(200, Content::Json(of::<live::Live>))]),
    open("/api/openapi.json", Does::TellDocument, "This document", NONE)
        .answers(&[(200, Content::Json(of::<serde_json::Map<String, serde_json::Value>>))]),
    sign_in(Get, Does::TellSignInState, "Whether one has to sign in, and has")
        .answers(&[(200, Content::Json(of::<session::SignInState>))]),
    sign_in(Post, Does::SignIn, "Sign in, for a cookie").takes(of::<session::SignIn>).refuses(&[401, 403, 429]),
    sign_in(Delete, Does::SignOut, "Sign out").refuses(&[403, 415]),
    guarded(Get, "/api/dashboard/summary", Does::Summarise, "Sums of a period and of the one before", PERIOD)
        .answers(&[(200, Content::Json(of::<dashboard::Shown>))]),
    guarded(Get, "/api/dashboard/cost", Does::Attribute, "Who spent it", Query::Known(&[&dashboard::BY, &FROM, &TO]))
        .answers(&[(200, Content::Json(of::<dashboard::Cost>))]),
    guarded(
        Get,
        "/api/dashboard/series",
        Does::Chart,
        "Sums over time",
        Query::Known(&[&dashboard::METRIC, &dashboard::STEP, &FROM, &TO]),
    )
    .answers(&[(200, Content::Json(of::<dashboard::Series>))]),
    guarded(Get, "/api/traces", Does::ListTraces, "Traces, newest first", Query::Known(PAGED))
        .answers(&[(200, Content::Json(of::<ListPage<trace_item::TraceItem>>))]),
    guarded(
        Get,
        "/api/traces/facets",
        Does::CountFacets,
        "The most frequent values to filter by",
        Query::Known(FILTERS),
    )
    .answers(&[(200, Content::Json(of::<traces::Facets>))]),
    guarded(
        Get,
        "/api/traces/stream",
        Does::FollowTraces,
        "Requests as they end: events `trace` with an item of the list, `dropped` with the count of what was lost; with \
         Last-Event-ID what was missed among the newest 200 comes first, after `gap` if more is gone",
        Query::Known(FILTERS),
    )
    .answers(&[(200, Content::Text(EVENTS))]),
    guarded(Get, "/api/traces/export", Does::ExportTraces, "Up to 100,000 traces as a file", Query::Known(EXPORTED))
        .answers(&[(200, Content::Rows(of::<Vec<trace_item::TraceItem>>))]),
    guarded(Get, "/api/traces/{trace_id}", Does::ShowTrace, "One trace", Query::Known(FILTERS))
        .answers(&[(200, Content::Json(of::<traces::Whole>))]),
    guarded(Get, "/api/policies", Does::ListPolicies, "All policies, in the order of their evaluation", NONE)
        .answers(&[(200, Content::Json(of::<policies::List>))]),
    guarded(Post, "/api/policies", Does::CreatePolicy, "A new policy", NONE)
        .takes(of::<Draft>)
        .answers(&[(201, Content::Json(of::<policies::Shown>))])
        .refuses(&[409]),
    guarded(Post, "/api/policies/test", Does::TestPolicy, "Try an expression on one request, or on stored ones", NONE)
        .takes(of::<test_policy::Test>)
        .answers(&[(200, Content::Json(either::<TrialOutcome, Replay>))]),
    guarded(Post, "/api/policies/reload", Does::ReloadPolicies, "Read all policies again", NONE)
        .takes(of::<policies::Nothing>)
        .answers(&[(200, Content::Json(of::<policies::Reloaded>))]),
    guarded(
        Get,
        "/api/policies/language",
        Does::ShowLanguage,
        "The variables and methods that an expression may use",
        NONE,
    )
    .answers(&[(200, Content::Json(of::<language::PolicyLanguage>))]),
    guarded(Get, "/api/policies/{id}", Does::ShowPolicy, "One policy", NONE)
        .answers(&[(200, Content::Json(of::<policies::Shown>))]),
    guarded(Put, "/api/policies/{id}", Does::ReplacePolicy, "A policy in the place of that one", NONE)
        .takes(of::<Draft>)
        .answers(&[(200, Content::Json(of::<policies::Shown>))])
        .refuses(&[409]),
    guarded(Delete, "/api/policies/{id}", Does::DeletePolicy, "No such policy any more", NONE).refuses(&[415]),
    guarded(Get, "/api/audit", Does::ListAudit, "Who changed what, newest first", Query::Known(&[&PAGE, &SIZE]))
        .answers(&[(200, Content::Json(of::<ListPage<audit::Shown>>))]),
    guarded(Get, "/api/config", Does::ShowConfig, "The configuration that runs, secrets masked", NONE)
        .answers(&[(200, Content::Json(of::<config::Shown<'static>>))]),
    guarded(Get, "/api/providers", Does::ListProviders, "The providers and how they stand", NONE)
        .answers(&[(200, Content::Json(of::<providers::Providers>))]),
];

const fn open(path: &'static str, does: Does, about: &'static str, query: Query) -> Operation {
    operation(Get, path, does, about, query, Access::Open)
}

const fn guarded(method: Method, path: &'static str, does: Does, about: &'static str, query: Query) -> Operation {
    operation(method, path, does, about, query, Access::Guarded)
}

const fn sign_in(method: Method, does: Does, about: &'static str) -> Operation {
    operation(method, "/api/session", does, about, NONE, Access::SignIn)
}

const fn operation(
    method: Method,
    path: &'static str,
    does: Does,
    about: &'static str,
    query: Query,
    access: Access,
) -> Operation {
    let answers = &[(204, Content::Nothing)];
    Operation { method, path, does, about, access, query, body: None, answers, refusals: &[] }
}

impl Operation {
    const fn answers(self, answers: &'static [(u16, Content)]) -> Operation {
        Operation { answers, ..self }
    }

    const fn takes(self, body: Shape) -> Operation {
        Operation { body: Some(body), ..self }
    }

    const fn refuses(self, refusals: &'static [u16]) -> Operation {
        Operation { refusals, ..self }
    }
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

fn either<A: JsonSchema, B: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    let (a, b) = (of::<A>(schemas), of::<B>(schemas));
    schemars::json_schema!({ "anyOf": [a, b] })
}

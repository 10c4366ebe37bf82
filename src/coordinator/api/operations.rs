//! Every operation of the REST API, in one table: the router finds its way by it, parameters are read by it, and the OpenAPI
//! document is made of it, so that none of them can differ. To add an operation, add its row and its handler.

use std::sync::LazyLock;

use super::door::sign_in;
use super::policies::{change, language, list as policies, test_policy};
use super::setup::{audit, config, health, live, providers};
use super::shape::answer::{Reply, json_text};
use super::shape::body;
use super::shape::error::ApiError;
use super::shape::filters::{FILTERS, PAGING, PERIOD};
use super::shape::media::{EVENTS, PROMETHEUS};
use super::shape::openapi;
use super::shape::operation::{Access, ApiOperation, Arguments, Content, Handler, either, of};
use super::shape::parameter::Query;
use super::traces::{dashboard, export, facets, list as traces, stream, trace_item, view};
use crate::coordinator::metrics;
use crate::coordinator::replay::Replay;
use crate::coordinator::state::State;
use crate::coordinator::store::ListPage;
use crate::coordinator::try_expression::TrialOutcome;
use crate::http::head::Method::{Delete, Get, Post, Put};
use crate::policy::Draft;

/// All operations, in the order of the document.
pub(super) static OPERATIONS: [ApiOperation; 26] = [
    get("/api/health", "TellHealth", health::answer, "Whether the gateway serves, and on what")
        .open_to(Access::Open)
        .query(Query::Any)
        .answers(&[(200, Content::Json(of::<health::HealthAnswer>)), (503, Content::Json(of::<health::HealthAnswer>))]),
    get("/metrics", "TellMetrics", answer_metrics, "Metrics for Prometheus")
        .open_to(Access::Open)
        .query(Query::Any)
        .needs_fresh_counts()
        .answers(&[(200, Content::Text(PROMETHEUS))]),
    get("/api/metrics/live", "TellLiveMetrics", live::answer, "A few numbers for an open console")
        .open_to(Access::Open)
        .needs_fresh_counts()
        .answers(&[(200, Content::Json(of::<live::LiveMetrics>))]),
    get("/api/openapi.json", "TellDocument", answer_document, "This document")
        .open_to(Access::Open)
        .answers(&[(200, Content::Json(of::<serde_json::Map<String, serde_json::Value>>))]),
    get("/api/session", "TellSignInState", sign_in::state, "Whether the caller has to sign in, and has")
        .open_to(Access::SignIn)
        .answers(&[(200, Content::Json(of::<sign_in::SignInState>))]),
    post("/api/session", "SignIn", sign_in::sign_in, "Sign in and receive a session cookie")
        .open_to(Access::SignIn)
        .takes(of::<sign_in::SignIn>)
        .changes_state()
        .refuses(&[401, 403, 429]),
    delete("/api/session", "SignOut", sign_in::sign_out, "Sign out").open_to(Access::SignIn).refuses(&[403, 415]),
    get("/api/dashboard/summary", "Summarise", dashboard::summary, "Sums over a period and over the period before it")
        .query(Query::Known(&[PERIOD]))
        .answers(&[(200, Content::Json(of::<dashboard::SummaryAnswer>))]),
    get("/api/dashboard/cost", "Attribute", dashboard::cost, "Costs by identity, model or provider")
        .query(Query::Known(&[&[&dashboard::BY], PERIOD]))
        .answers(&[(200, Content::Json(of::<dashboard::CostAnswer>))]),
    get("/api/dashboard/series", "Chart", dashboard::series, "Sums over time")
        .query(Query::Known(&[&[&dashboard::METRIC, &dashboard::STEP], PERIOD]))
        .answers(&[(200, Content::Json(of::<dashboard::SeriesAnswer>))]),
    get("/api/traces", "ListTraces", traces::answer, "Traces, newest first")
        .query(Query::Known(&[PAGING, FILTERS]))
        .answers(&[(200, Content::Json(of::<ListPage<trace_item::TraceItem>>))]),
    get("/api/traces/facets", "CountFacets", facets::answer, "The most frequent values, to filter by")
        .query(Query::Known(&[FILTERS]))
        .answers(&[(200, Content::Json(of::<facets::FacetsAnswer>))]),
    get("/api/traces/stream", "FollowTraces", stream::answer, stream::SUMMARY)
        .query(Query::Known(&[FILTERS]))
        .answers(&[(200, Content::Text(EVENTS))]),
    get("/api/traces/export", "ExportTraces", export::start, "Up to 100,000 traces as a file")
        .query(Query::Known(&[&[&export::FORMAT], FILTERS]))
        .answers(&[(200, Content::Rows(of::<Vec<trace_item::TraceItem>>))]),
    get("/api/traces/{trace_id}", "ShowTrace", view::answer, "One trace")
        .query(Query::Known(&[FILTERS]))
        .answers(&[(200, Content::Json(of::<view::TraceView>))]),
    get("/api/policies", "ListPolicies", policies::all, "All policies, in the order of evaluation")
        .needs_fresh_counts()
        .answers(&[(200, Content::Json(of::<policies::PolicyList>))]),
    post("/api/policies", "CreatePolicy", change::create, "Create a policy")
        .takes(of::<Draft>)
        .changes_state()
        .answers(&[(201, Content::Json(of::<policies::PolicyItem>))])
        .refuses(&[409]),
    post(
        "/api/policies/test",
        "TestPolicy",
        test_policy::answer,
        "Try an expression on a made-up request or on stored ones",
    )
    .takes(of::<test_policy::PolicyTrial>)
    .answers(&[(200, Content::Json(either::<TrialOutcome, Replay>))]),
    post("/api/policies/reload", "ReloadPolicies", change::reload, "Read all policies again")
        .takes(of::<body::EmptyBody>)
        .changes_state()
        .answers(&[(200, Content::Json(of::<change::ReloadAnswer>))]),
    get(
        "/api/policies/language",
        "ShowLanguage",
        language::answer,
        "The variables and methods that an expression may use",
    )
    .answers(&[(200, Content::Json(of::<language::PolicyLanguage>))]),
    get("/api/policies/{id}", "ShowPolicy", policies::one, "One policy")
        .needs_fresh_counts()
        .answers(&[(200, Content::Json(of::<policies::PolicyItem>))]),
    put("/api/policies/{id}", "ReplacePolicy", change::replace, "Replace a policy")
        .takes(of::<Draft>)
        .changes_state()
        .answers(&[(200, Content::Json(of::<policies::PolicyItem>))])
        .refuses(&[409]),
    delete("/api/policies/{id}", "DeletePolicy", change::delete, "Delete a policy").changes_state().refuses(&[415]),
    get("/api/audit", "ListAudit", audit::answer, "Who changed what, newest first")
        .query(Query::Known(&[PAGING]))
        .answers(&[(200, Content::Json(of::<ListPage<audit::AuditItem>>))]),
    get("/api/config", "ShowConfig", config::answer, "The configuration in force, with secrets masked")
        .answers(&[(200, Content::Json(of::<config::ConfigAnswer<'static>>))]),
    get("/api/providers", "ListProviders", providers::answer, "The providers and their state")
        .needs_fresh_counts()
        .answers(&[(200, Content::Json(of::<providers::ProviderList>))]),
];

const fn get(path: &'static str, name: &'static str, handler: Handler, summary: &'static str) -> ApiOperation {
    ApiOperation::new(Get, path, name, handler, summary)
}

const fn post(path: &'static str, name: &'static str, handler: Handler, summary: &'static str) -> ApiOperation {
    ApiOperation::new(Post, path, name, handler, summary)
}

const fn put(path: &'static str, name: &'static str, handler: Handler, summary: &'static str) -> ApiOperation {
    ApiOperation::new(Put, path, name, handler, summary)
}

const fn delete(path: &'static str, name: &'static str, handler: Handler, summary: &'static str) -> ApiOperation {
    ApiOperation::new(Delete, path, name, handler, summary)
}

/// `GET /metrics`.
fn answer_metrics(state: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    Ok(metrics::answer(state).into())
}

/// `GET /api/openapi.json`.
fn answer_document(_: &mut State, _: Arguments<'_>) -> Result<Reply, ApiError> {
    Ok(json_text(200, document().as_bytes().to_vec()).into())
}

/// The OpenAPI document of the REST API, as it is sent.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi::document(&OPERATIONS));
    &DOCUMENT
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_reference_in_the_document_resolves() {
        let document: Value = serde_json::from_str(document()).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut open = vec![&document];
        let mut references = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        references += 1;
                        let name = target.strip_prefix("#/components/schemas/").unwrap();
                        assert!(schemas.contains_key(name), "{target}");
                    }
                    open.extend(map.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
        assert!(references > 50, "{references}");
    }

    #[test]
    fn the_tree_holds_the_current_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == document(), "run `make openapi`");
    }

    #[test]
    fn no_two_operations_share_a_path_and_a_method() {
        for (at, operation) in OPERATIONS.iter().enumerate() {
            let same = |other: &&ApiOperation| other.path == operation.path && other.method == operation.method;
            assert_eq!(OPERATIONS.iter().skip(at + 1).find(same).map(|other| other.path), None);
            assert!(!operation.summary.is_empty() && !operation.answers.is_empty(), "{}", operation.path);
        }
    }
}

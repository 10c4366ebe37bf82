//! `/api/traces` and below: pages, facets, one trace. Read on the reader's thread. Texts of callers go out as they came in,
//! as JSON: who shows them treats them as text.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::spans::{self, Moment, Span, ms};
use super::trace_item::{Refusal, Tokens, TraceItem, hex};
use crate::clock::rfc3339;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::parameter::Values;
use crate::coordinator::store::reader::{ListedTrace, Neighbours, Reader, RequestRow, TraceDetail, TraceFacets};
use crate::coordinator::store::{ListPage, StoreError};
use crate::link::ApiAnswer;
use crate::link::trace::{CacheOutcome, Captured, Marks, PolicyFailure, PolicyMatch};
use crate::policy::{Action, Mode};

/// Requests of one trace that its page shows. Arbitrary: `summary.requests` says how many there are.
const REQUESTS_SHOWN_MAX: usize = 500;
/// Bodies of one trace that its page shows, in bytes. Arbitrary: those beyond are shown as cut off entirely.
const BODIES_BYTES_MAX: usize = 4 << 20;
/// Values of one facet.
const FACET_VALUES_MAX: usize = 20;

/// The most frequent values among the traces that pass, most frequent first, to choose a filter from.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Facets {
    agent_name: Vec<Facet>,
    user_id: Vec<Facet>,
    tenant_id: Vec<Facet>,
    /// The one that was used.
    model: Vec<Facet>,
    provider: Vec<Facet>,
    /// HTTP.
    status: Vec<Facet>,
}

/// A value, and how many traces have it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Facet {
    value: String,
    count: u64,
}

/// One trace with all that is known of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceDetail")]
pub(crate) struct Whole {
    summary: TraceItem,
    /// A tree.
    spans: Vec<Span>,
    timeline: Vec<Moment>,
    /// In the order in which they started, at most 500.
    requests: Vec<TraceRequest>,
    neighbours: Beside,
}

/// What the list, filtered by the same parameters, shows beside the trace.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Neighbours")]
pub(crate) struct Beside {
    /// The next newer one.
    previous: Option<String>,
    /// The next older one.
    next: Option<String>,
}

/// One call.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TraceRequest {
    span_id: String,
    request_id: String,
    #[schemars(extend("format" = "date-time"))]
    started_at: String,
    duration_ms: f64,
    first_byte_ms: Option<f64>,
    endpoint: String,
    provider: String,
    model: String,
    model_asked: String,
    stream: bool,
    status: u16,
    refusal: Option<Refusal>,
    /// Why the answer ended other than it should.
    cut: Option<String>,
    cache: CacheOutcome,
    tokens: Tokens,
    cost_usd: f64,
    saved_usd: f64,
    /// Before it was sent.
    est_cost_usd: f64,
    /// Whether the price table knows the model.
    priced: bool,
    policies: Vec<PolicyVerdict>,
    failures: Vec<PolicyFailed>,
    /// What the policies judged by, beside what stands above.
    inputs: Map<String, Value>,
    /// `null` where it was not recorded.
    request: Option<Body>,
    /// Likewise.
    answer: Option<Body>,
}

/// What a policy that matched said.
#[derive(Serialize, JsonSchema)]
struct PolicyVerdict {
    id: String,
    name: String,
    action: Action,
    mode: Mode,
    effective: bool,
    /// Why it had an effect, or none.
    note: String,
    /// Where a downgrade leads or would have led.
    target: Option<String>,
}

/// A policy that failed at run time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyFailure")]
struct PolicyFailed {
    id: String,
    name: String,
    kind: String,
}

/// A recorded body.
#[derive(Serialize, JsonSchema)]
struct Body {
    text: String,
    /// Whether this is not all of it.
    cut: bool,
}

/// `GET /api/traces`.
pub(crate) fn list(values: &Values) -> Result<Reply, ApiError> {
    let (filter, paging) = (filters::filter(values)?, filters::paging(values));
    Ok(Reply::read(move |reader| {
        let ListPage { items, total, page, page_size } = reader.listed_traces(&filter, paging)?;
        let items: Vec<TraceItem> = items.into_iter().map(TraceItem::from).collect();
        Ok(json(200, &ListPage { items, total, page, page_size }))
    }))
}

/// `GET /api/traces/facets`.
pub(crate) fn facets(values: &Values) -> Result<Reply, ApiError> {
    let filter = filters::filter(values)?;
    Ok(Reply::read(move |reader| {
        let TraceFacets { who, provider, model, status } = reader.trace_facets(&filter, FACET_VALUES_MAX)?;
        let of = |values: Vec<(String, u64)>| values.into_iter().map(|(value, count)| Facet { value, count }).collect();
        let status = status.into_iter().map(|(status, count)| (status.to_string(), count)).collect();
        let facets = Facets {
            agent_name: of(who.agent),
            user_id: of(who.user),
            tenant_id: of(who.tenant),
            model: of(model),
            provider: of(provider),
            status: of(status),
        };
        Ok(json(200, &facets))
    }))
}

/// `GET /api/traces/{trace_id}`.
pub(crate) fn one(id: &str, values: &Values) -> Result<Reply, ApiError> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let trace_id = u128::from_str_radix(id, 16).ok().filter(|_| id.len() == 32 && id.bytes().all(lower));
    let trace_id = trace_id.ok_or_else(|| {
        ApiError::parameter("invalid_value", "trace_id", "must be 32 hexadecimal digits, in lower case")
    })?;
    let filter = filters::filter(values)?;
    Ok(Reply::read(move |reader| {
        let Some(detail) = reader.trace(trace_id)? else {
            return Err(ApiError::not_found("There is no such trace: it never was, or it was deleted for its age."));
        };
        let neighbours = reader.neighbours(&filter, trace_id)?;
        whole(reader, detail, neighbours)
    }))
}

fn whole(reader: &Reader, detail: TraceDetail, neighbours: Neighbours) -> Result<ApiAnswer, ApiError> {
    let TraceDetail { summary: row, mut requests } = detail;
    let started_ms = row.started_ms;
    let summary = TraceItem::from(ListedTrace { row, requests: requests.clone() });
    requests.truncate(REQUESTS_SHOWN_MAX);
    let mut left = BODIES_BYTES_MAX;
    Ok(json(
        200,
        &Whole {
            summary,
            spans: spans::tree(&requests, started_ms),
            timeline: spans::timeline(&requests, started_ms),
            requests: requests.into_iter().map(|row| shown(reader, row, &mut left)).collect::<Result<_, _>>()?,
            neighbours: Beside { previous: neighbours.newer.map(hex), next: neighbours.older.map(hex) },
        },
    ))
}

fn shown(reader: &Reader, row: RequestRow, left: &mut usize) -> Result<TraceRequest, StoreError> {
    let captured = match row.marks.has(Marks::CAPTURED) {
        true => reader.captured(row.trace_id, row.span_id)?,
        false => None,
    };
    let [request, answer] = captured.map_or([None, None], |captured| bodies(captured, left).map(Some));
    let refusal = Refusal::of(&row);
    let inputs = inputs(&row);
    let RequestRow { detail, usage, marks, .. } = row;
    Ok(TraceRequest {
        span_id: spans::id(row.span_id),
        request_id: row.request_id,
        started_at: rfc3339(row.started_ms),
        duration_ms: ms(row.duration_ns),
        first_byte_ms: row.first_byte_ns.map(ms),
        endpoint: row.endpoint,
        provider: row.provider,
        model: row.model,
        model_asked: row.model_asked,
        stream: marks.has(Marks::STREAM),
        status: row.status,
        refusal,
        cut: row.cut,
        cache: row.cache,
        tokens: Tokens::from(&usage),
        cost_usd: row.cost.usd(),
        saved_usd: row.saved.usd(),
        est_cost_usd: detail.inputs.est_cost_micro as f64 / 1e6,
        priced: !marks.has(Marks::UNPRICED),
        policies: detail.matches.into_iter().map(verdict).collect(),
        failures: detail.faults.into_iter().map(failure).collect(),
        inputs,
        request,
        answer,
    })
}

fn inputs(row: &RequestRow) -> Map<String, Value> {
    let inputs = &row.detail.inputs;
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| _ = shown.insert(name.to_owned(), value);
    put("temperature", inputs.temperature.into());
    put("max_tokens", inputs.max_tokens.into());
    put("est_input_tokens", inputs.est_input_tokens.into());
    // Where nobody asked for them, nobody looked.
    if let Some(window) = inputs.window {
        put("request_count", window.request_count.into());
        put("cost_usd", (window.cost_micro as f64 / 1e6).into());
        put("tokens_used", window.tokens_used.into());
    }
    shown
}

fn bodies(captured: Captured, left: &mut usize) -> [Body; 2] {
    let Captured { request, answer, cut } = captured;
    [request, answer].map(|bytes| match left.checked_sub(bytes.len()) {
        Some(rest) => {
            *left = rest;
            Body { text: String::from_utf8_lossy(&bytes).into_owned(), cut }
        }
        None => Body { text: String::new(), cut: true },
    })
}

fn verdict(found: PolicyMatch) -> PolicyVerdict {
    let PolicyMatch { id, name, action, mode, effective, note, target } = found;
    let (id, name, target) = (id.into(), name.into(), target.map(Into::into));
    PolicyVerdict { id, name, action, mode, effective, note: note.into_owned(), target }
}

fn failure(failed: PolicyFailure) -> PolicyFailed {
    PolicyFailed { id: failed.id.into(), name: failed.name.into(), kind: failed.kind.into_owned() }
}

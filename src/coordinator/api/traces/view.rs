//! `GET /api/traces/{trace_id}`: one trace with everything that is stored of it. Read on the reader's thread. Texts of callers
//! go out as they came in, as JSON: whoever displays them must treat them as text.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::trace_item::{TokenCounts, TraceItem, TraceRefusal, hex};
use super::tree::{self, Moment, SpanNode, ms};
use crate::clock::rfc3339;
use crate::coordinator::api::shape::answer::{Reply, json};
use crate::coordinator::api::shape::error::ApiError;
use crate::coordinator::api::shape::filters;
use crate::coordinator::api::shape::operation::Arguments;
use crate::coordinator::state::State;
use crate::coordinator::store::StoreError;
use crate::coordinator::store::reader::{ListedTrace, Neighbours, Reader, RequestRow, TraceDetail};
use crate::link::ApiAnswer;
use crate::link::trace::{CAPTURED_BODY_BYTES_MAX, CacheOutcome, Captured, Marks, PolicyFailure, PolicyMatch};
use crate::policy::{Action, Mode};

/// Most requests of one trace that the answer shows. Arbitrary: `summary.requests` has the total.
const REQUESTS_SHOWN_MAX: usize = 500;
/// Most bytes of bodies of one trace that the answer shows. Arbitrary: further bodies are shown as cut off entirely.
const BODIES_BYTES_MAX: usize = 4 << 20;
const _: () = assert!(2 * CAPTURED_BODY_BYTES_MAX <= BODIES_BYTES_MAX, "one request is shown whole");

/// One trace with everything that is known about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceDetail")]
pub(crate) struct TraceView {
    summary: TraceItem,
    /// The spans as a tree.
    spans: Vec<SpanNode>,
    timeline: Vec<Moment>,
    /// In the order in which they started, at most 500.
    requests: Vec<TraceRequest>,
    neighbours: NeighbourIds,
}

/// The traces before and after this one in the list with the same filter.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Neighbours")]
struct NeighbourIds {
    /// The next newer one.
    previous: Option<String>,
    /// The next older one.
    next: Option<String>,
}

/// One request of a trace.
#[derive(Serialize, JsonSchema)]
struct TraceRequest {
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
    refusal: Option<TraceRefusal>,
    /// Why the answer ended early.
    cut: Option<String>,
    cache: CacheOutcome,
    tokens: TokenCounts,
    cost_usd: f64,
    saved_usd: f64,
    /// The estimate before the request was sent.
    est_cost_usd: f64,
    /// Whether the price table knows the model.
    priced: bool,
    policies: Vec<PolicyVerdict>,
    failures: Vec<PolicyFailed>,
    /// Variables that the policies read, besides the fields above.
    inputs: Map<String, Value>,
    /// `null` if it was not captured.
    request: Option<Body>,
    /// `null` if it was not captured.
    answer: Option<Body>,
}

/// The verdict of a policy that matched.
#[derive(Serialize, JsonSchema)]
struct PolicyVerdict {
    id: String,
    name: String,
    action: Action,
    mode: Mode,
    effective: bool,
    /// Why it had an effect or no effect.
    note: String,
    /// The model that a downgrade leads to or would have led to.
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

/// A captured body.
#[derive(Serialize, JsonSchema)]
struct Body {
    text: String,
    /// Whether a part is missing.
    cut: bool,
}

/// `GET /api/traces/{trace_id}`.
pub(crate) fn answer(_: &mut State, Arguments { id, values, .. }: Arguments<'_>) -> Result<Reply, ApiError> {
    let is_lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let trace_id = u128::from_str_radix(&id, 16).ok().filter(|_| id.len() == 32 && id.bytes().all(is_lower_hex));
    let trace_id = trace_id
        .ok_or_else(|| ApiError::parameter("invalid_value", "trace_id", "must be 32 lower-case hexadecimal digits"))?;
    let filter = filters::filter(&values)?;
    Ok(Reply::read(move |reader| {
        let Some(detail) = reader.trace(trace_id)? else {
            return Err(ApiError::not_found("There is no such trace: it never existed, or retention has deleted it."));
        };
        let neighbours = reader.neighbours(&filter, trace_id)?;
        view(reader, detail, neighbours)
    }))
}

fn view(reader: &Reader, detail: TraceDetail, neighbours: Neighbours) -> Result<ApiAnswer, ApiError> {
    let TraceDetail { summary: row, mut requests } = detail;
    let started_ms = row.started_ms;
    let summary = TraceItem::from(ListedTrace { row, requests: requests.clone() });
    requests.truncate(REQUESTS_SHOWN_MAX);
    let mut left = BODIES_BYTES_MAX;
    Ok(json(
        200,
        &TraceView {
            summary,
            spans: tree::tree(&requests, started_ms),
            timeline: tree::timeline(&requests, started_ms),
            requests: requests.into_iter().map(|row| request(reader, row, &mut left)).collect::<Result<_, _>>()?,
            neighbours: NeighbourIds { previous: neighbours.newer.map(hex), next: neighbours.older.map(hex) },
        },
    ))
}

/// One request. `left` is the number of bytes of bodies that may still be shown.
fn request(reader: &Reader, row: RequestRow, left: &mut usize) -> Result<TraceRequest, StoreError> {
    let captured = match row.marks.has(Marks::CAPTURED) {
        true => reader.captured(row.trace_id, row.span_id)?,
        false => None,
    };
    let [request, answer] = captured.map_or([None, None], |captured| bodies(captured, left).map(Some));
    let refusal = TraceRefusal::of(&row);
    let inputs = inputs(&row);
    let RequestRow { detail, usage, marks, .. } = row;
    Ok(TraceRequest {
        span_id: tree::span_id(row.span_id),
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
        tokens: TokenCounts::from(&usage),
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
    // `None` if no policy read the window.
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

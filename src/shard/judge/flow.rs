//! The path of a request, on one screen. Judging is synchronous: from the bytes of a whole request to a decision, without
//! an await, so that nothing borrowed crosses one and a simulator can run the same code.
//!
//! ```text
//! head and body → identify → route → policies → cache → rate limit → upstream → account
//! ```

use std::borrow::Cow;

use crate::clock::Now;
use crate::dialect::openai::path;
use crate::http::head::{KnownHeader, Method, RequestHead};
use crate::link::{API_BODY_BYTES_MAX, ApiHeaders, ApiRequest};
use crate::llm::Operation;
use crate::plan::Plan;
use crate::shard::answer::console::{self, Page};
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond::{self, Date, Frame};
use crate::shard::judge::admit::{Governor, admit};
use crate::shard::judge::cache::{Cache, Found};
use crate::shard::judge::identify::identify;
use crate::shard::judge::record::Record;
use crate::shard::judge::route::route;
use crate::shard::upstream::Forward;
use crate::units::Secret;

/// What is to be done with a request.
pub(crate) enum Decision<'p> {
    /// Send it to a provider.
    Forward(Box<Forward<'p>>),
    /// Hand it to the coordinator.
    Api(Box<ApiRequest>),
    /// A file of the console was appended: no request that is accounted for.
    Page,
    /// A whole answer was appended.
    Answered { status: u16 },
    /// Say no.
    Refuse(Refusal),
}

/// What judging reads and changes besides the request: the plan, the shard's own state, the time.
pub(crate) struct Judging<'s, 'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) governor: &'s mut Governor,
    pub(crate) cache: &'s mut Cache,
    pub(crate) now: Now,
    /// Random: it shares the load among several providers of one model.
    pub(crate) draw: u32,
}

/// Decides about a whole request. Answers that the shard gives itself are appended to `out`; `spare` is an empty buffer for
/// the request to the provider.
pub(crate) fn decide<'p>(
    judging: Judging<'_, 'p>,
    head: &RequestHead<'_>,
    body: &[u8],
    frame: &Frame,
    date: &Date,
    record: &mut Record<'p>,
    (out, spare): (&mut Vec<u8>, &mut Vec<u8>),
) -> Decision<'p> {
    let plan = judging.plan;
    let decided = match Target::of(head, plan) {
        Target::Model(operation) => govern(judging, head, operation, body, record, (frame, date), (out, spare)),
        Target::ModelList => Ok(answer(plan.model_list(), frame, date, out)),
        Target::OneModel(id) => match plan.model(&id) {
            Some(model) => Ok(answer(model, frame, date, out)),
            None => Err(Refusal::ModelNotFound { model: id.into() }),
        },
        Target::Api(path) => api_request(head, path, body).map(Decision::Api),
        Target::Page(page) => {
            console::answer(&page, frame, date, out);
            Ok(Decision::Page)
        }
        Target::WrongMethod { allowed } => Err(Refusal::Method { allowed }),
        Target::Nothing => Err(Refusal::NotFound),
    };
    decided.unwrap_or_else(Decision::Refuse)
}

/// A request for a model: read, routed, judged, answered from the cache or ready to be sent.
fn govern<'p>(
    Judging { plan, governor, cache, now, draw }: Judging<'_, 'p>,
    head: &RequestHead<'_>,
    operation: Operation,
    body: &[u8],
    record: &mut Record<'p>,
    (frame, date): (&Frame, &Date),
    (out, spare): (&mut Vec<u8>, &mut Vec<u8>),
) -> Result<Decision<'p>, Refusal> {
    let known = identify(head, operation, body, &plan.fact_limits)?;
    record.identified(&known, plan);
    let routed = route(known, plan, draw)?;
    record.routed(&routed);
    let admitted = admit(routed, plan, governor, (now, draw), record)?;
    let asking = match cache.find(&admitted, head, plan, now) {
        Found::Hit(entry) => {
            respond::hit(entry, &admitted.labels(), frame, date, out);
            record.admitted(&admitted.routed, admitted.entry);
            record.hit(entry);
            return Ok(Decision::Answered { status: 200 });
        }
        Found::Miss(asking) => Some(asking),
        Found::Bypass => None,
    };
    let forward = Forward::new(admitted, asking, head, record, std::mem::take(spare));
    Ok(Decision::Forward(Box::new(forward)))
}

/// A request for the coordinator, as far as it needs it.
fn api_request(head: &RequestHead<'_>, path: &str, body: &[u8]) -> Result<Box<ApiRequest>, Refusal> {
    if body.len() > API_BODY_BYTES_MAX {
        return Err(Refusal::BodyTooLarge { max: API_BODY_BYTES_MAX as u64 });
    }
    let joined = |known: KnownHeader| {
        let values = head.headers().filter(|header| header.known == known);
        values.map(|header| String::from_utf8_lossy(header.value)).collect::<Vec<_>>().join(", ")
    };
    let headers = ApiHeaders {
        host: joined(KnownHeader::Host),
        origin: joined(KnownHeader::Origin),
        authorization: Secret::new(joined(KnownHeader::Authorization)),
        content_type: joined(KnownHeader::ContentType),
        cookie: Secret::new(joined(KnownHeader::Cookie)),
        forwarded: head.headers().any(|header| FORWARDED.contains(&header.known)),
        last_event_id: joined(KnownHeader::LastEventId),
    };
    Ok(Box::new(ApiRequest {
        method: head.method,
        path: path.into(),
        query: head.query().map(Into::into),
        headers,
        body: body.into(),
    }))
}

/// What a proxy adds for whom it asks: RFC 7239, and what was usual before it.
const FORWARDED: [KnownHeader; 5] = [
    KnownHeader::Forwarded,
    KnownHeader::XForwardedFor,
    KnownHeader::XForwardedHost,
    KnownHeader::XForwardedProto,
    KnownHeader::XRealIp,
];

fn answer(body: &[u8], frame: &Frame, date: &Date, out: &mut Vec<u8>) -> Decision<'static> {
    respond::answer(200, respond::JSON, body, frame, date, out);
    Decision::Answered { status: 200 }
}

/// What a path and a method mean. Paths are compared as they came, byte for byte: nothing is decoded or normalised, so
/// that no two readings of one path exist. A model's name in the path is no path but a value, and decoded as one.
enum Target<'b> {
    Model(Operation),
    ModelList,
    OneModel(Cow<'b, str>),
    /// With the path as luner's own, without what something before it may have left on it.
    Api(&'b str),
    Page(Page),
    WrongMethod {
        allowed: &'static str,
    },
    Nothing,
}

impl<'b> Target<'b> {
    fn of(head: &RequestHead<'b>, plan: &Plan) -> Target<'b> {
        let path: &'b str = head.path();
        if let Some(known) = Target::known(head, path) {
            return known;
        }
        // What a proxy before luner has left on the path is looked for where nothing else fits: not on the way of a model's
        // request.
        let (path, known) = match plan.console.strip_base(path) {
            Some(below) => (below, Target::known(head, below)),
            None => (path, None),
        };
        known.unwrap_or_else(|| {
            let reads = matches!(head.method, Method::Get | Method::Head);
            let page = if reads { console::find(head, path, &plan.console) } else { None };
            page.map_or(Target::Nothing, Target::Page)
        })
    }

    /// All but the console's own paths.
    fn known(head: &RequestHead<'b>, path: &'b str) -> Option<Target<'b>> {
        let reads = matches!(head.method, Method::Get | Method::Head);
        if let Some(operation) = path::operation(path) {
            return Some(match head.method {
                Method::Post => Target::Model(operation),
                _ => Target::WrongMethod { allowed: "POST" },
            });
        }
        let one = path.strip_prefix("/v1/models/").filter(|id| !id.is_empty());
        if path == "/v1/models" || one.is_some() {
            return Some(match one {
                _ if !reads => Target::WrongMethod { allowed: "GET, HEAD" },
                Some(id) => Target::OneModel(percent_decoded(id)),
                None => Target::ModelList,
            });
        }
        (path == "/metrics" || path.starts_with("/api/")).then_some(Target::Api(path))
    }
}

/// A path segment's value (RFC 3986 section 2.1); as it came where it is no valid encoding of UTF-8.
fn percent_decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => decoded.extend(u8::try_from(high * 16 + low)),
                _ => return segment.into(),
            },
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map_or(segment.into(), Cow::Owned)
}

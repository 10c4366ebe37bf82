//! What a path and a method ask for. Pure. Paths are compared byte for byte as they arrived: nothing is decoded or
//! normalised, so that a path has exactly one reading. The name of a model in a path is a value, and is decoded as one.

use std::borrow::Cow;

use crate::dialect::openai::path;
use crate::http::head::{KnownHeader, Method, RequestHead};
use crate::link::{API_BODY_BYTES_MAX, ApiHeaders, ApiRequest};
use crate::llm::Operation;
use crate::plan::Plan;
use crate::shard::answer::console::{self, Page};
use crate::shard::answer::refusal::Refusal;
use crate::units::Secret;

/// What a request is addressed to.
pub(crate) enum Target<'b> {
    /// A model, for this operation.
    Model(Operation),
    ModelList,
    /// The description of one model.
    OneModel(Cow<'b, str>),
    /// The coordinator, at this path. A base path that a proxy left in front was removed.
    Api(&'b str),
    /// A file of the console.
    Page(Page),
    /// A path that exists, but not for this method.
    WrongMethod {
        allowed: &'static str,
    },
    /// A path that does not exist.
    Nothing,
}

impl<'b> Target<'b> {
    pub(crate) fn of(head: &RequestHead<'b>, plan: &Plan) -> Target<'b> {
        let path: &'b str = head.path();
        if let Some(target) = Target::of_known_path(head, path) {
            return target;
        }
        // A base path is removed only where nothing else matches, so that requests to a model do not pay for it.
        let (path, target) = match plan.console.strip_base(path) {
            Some(below) => (below, Target::of_known_path(head, below)),
            None => (path, None),
        };
        target.unwrap_or_else(|| {
            let reads = matches!(head.method, Method::Get | Method::Head);
            let page = if reads { console::find(head, path, &plan.console) } else { None };
            page.map_or(Target::Nothing, Target::Page)
        })
    }

    /// Every path except the console's own.
    fn of_known_path(head: &RequestHead<'b>, path: &'b str) -> Option<Target<'b>> {
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

/// Copies the parts of a request that the coordinator needs.
pub(crate) fn api_request(head: &RequestHead<'_>, path: &str, body: &[u8]) -> Result<Box<ApiRequest>, Refusal> {
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

/// Headers by which a proxy names the caller it acts for: RFC 7239, and the customary ones before it.
const FORWARDED: [KnownHeader; 5] = [
    KnownHeader::Forwarded,
    KnownHeader::XForwardedFor,
    KnownHeader::XForwardedHost,
    KnownHeader::XForwardedProto,
    KnownHeader::XRealIp,
];

/// Decodes a path segment (RFC 3986 section 2.1). Returns it unchanged if it is not a valid encoding of UTF-8.
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

//! Reads who asks and what for: headers and body of a proxied request, once. Pure; the result borrows the connection's
//! buffer. It judges nothing.

use crate::dialect::openai::request::{self, Layout, Request};
use crate::http::head::{KnownHeader, RequestHead};
use crate::llm::{FactLimits, Facts, Operation};
use crate::names;
use crate::shard::answer::refusal::Refusal;
use crate::who::{Who, WhoPart};

/// Longest part of an identity, in bytes. Arbitrary: more than any name or address.
const IDENTITY_BYTES_MAX: usize = 256;

/// Evidence that a request was read: only [`identify`] makes one.
pub(crate) struct Identified<'b> {
    /// From `X-Luner-User` or `X-User-ID`, `X-Luner-Tenant` or `X-Tenant-ID`, and `X-Luner-Agent`.
    pub(crate) who: Who<&'b str>,
    pub(crate) operation: Operation,
    /// Where in the body the facts are written.
    pub(crate) layout: Layout,
    /// What the body asks for.
    pub(crate) facts: Facts<'b>,
    /// The body as it arrived.
    pub(crate) body: &'b [u8],
    _evidence: (),
}

/// Reads a request for a model.
pub(crate) fn identify<'b>(
    head: &RequestHead<'b>,
    operation: Operation,
    body: &'b [u8],
    limits: &FactLimits,
) -> Result<Identified<'b>, Refusal> {
    if !content_type_is_json(head) {
        return Err(Refusal::MediaType { header: "content-type" });
    }
    let mut codings = head.headers().filter(|header| header.known == KnownHeader::ContentEncoding);
    if codings.any(|coding| !coding.value.eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::MediaType { header: "content-encoding" });
    }
    let who = Who::try_from_fn(|part| match part {
        WhoPart::Tenant => {
            identity(head, [(KnownHeader::LunerTenant, names::LUNER_TENANT), (KnownHeader::TenantId, names::TENANT_ID)])
        }
        WhoPart::User => {
            identity(head, [(KnownHeader::LunerUser, names::LUNER_USER), (KnownHeader::UserId, names::USER_ID)])
        }
        WhoPart::Agent => identity(head, [(KnownHeader::LunerAgent, names::LUNER_AGENT)]),
    })?;
    let Request { facts, layout } = request::read(body, operation, limits).map_err(Refusal::Facts)?;
    Ok(Identified { who, operation, facts, layout, body, _evidence: () })
}

/// The first of these headers that is present wins. It must be valid even if it is empty.
fn identity<'b, const N: usize>(
    head: &RequestHead<'b>,
    headers: [(KnownHeader, &'static str); N],
) -> Result<&'b str, Refusal> {
    for (known, name) in headers {
        if let Some(value) = head.first(known) {
            let valid = value.len() <= IDENTITY_BYTES_MAX && value.iter().all(|byte| (0x20..0x7f).contains(byte));
            let text = std::str::from_utf8(value).ok().filter(|_| valid);
            return text.map(str::trim).ok_or(Refusal::Identity { header: name });
        }
    }
    Ok("")
}

/// JSON in UTF-8, or no header at all: some clients leave it out. If the header occurs twice, both must be JSON.
fn content_type_is_json(head: &RequestHead<'_>) -> bool {
    let mut types = head.headers().filter(|header| header.known == KnownHeader::ContentType);
    types.all(|header| is_json(header.value))
}

fn is_json(value: &[u8]) -> bool {
    if value == b"application/json" {
        return true;
    }
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = value.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    utf8 && media.eq_ignore_ascii_case("application/json")
}

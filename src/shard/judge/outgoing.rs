//! The request to a provider: its bytes, and what handling the answer needs to know about it. Pure. Made only of a request
//! that was admitted. The body is copied once, and changed only by splices.

use super::admit::Admitted;
use super::cache::CacheMiss;
use super::record::Record;
use super::route::Targets;
use crate::dialect::openai::splice::{self, Splices};
use crate::http::head::{KnownHeader, RequestHead};
use crate::llm::Operation;
use crate::plan::Provider;
use crate::shard::answer::head::{self, Labels};
use crate::shard::answer::ids::{self, TraceContext};
use crate::shard::answer::traceparent;

/// A request ready to be sent.
pub(crate) struct Outgoing<'p> {
    pub(crate) provider: &'p Provider,
    pub(crate) targets: Targets,
    pub(crate) operation: Operation,
    /// Head and body as they go over the wire.
    pub(crate) bytes: Vec<u8>,
    /// Length of the part of the head that belongs to the provider: request line, Host, key.
    provider_head_bytes: usize,
    /// Offset of the attempt's span id, counted from the end of that part.
    span_at: usize,
    /// The effective model, for the answer's head.
    model: Box<str>,
    /// The policy that changed the model, for the answer's head.
    downgraded_by: Option<Box<str>>,
    /// Usage was requested on the caller's behalf, and must be removed from the stream again.
    pub(crate) usage_injected: bool,
    /// Length of the caller's body, from which the prompt's tokens are estimated if the provider does not report them.
    pub(crate) body_bytes: usize,
    /// Set if the answer may come from the cache and go into it.
    pub(crate) cache_miss: Option<CacheMiss>,
}

impl<'p> Outgoing<'p> {
    /// Lays the request out in `bytes`, an empty buffer that is reused.
    pub(crate) fn new(
        admitted: Admitted<'_, 'p>,
        cache_miss: Option<CacheMiss>,
        head: &RequestHead<'_>,
        record: &mut Record<'p>,
        mut bytes: Vec<u8>,
    ) -> Outgoing<'p> {
        let Admitted { routed, window_entry, downgraded_by, .. } = admitted;
        record.set_admitted(&routed, window_entry);
        let (request, provider) = (&routed.request, routed.provider);
        let mut splices = Splices::default();
        if let Some(model) = routed.replacement() {
            splice::replace_model(&request.layout, model, &mut splices);
        }
        let usage_injected =
            request.facts.stream && splice::include_usage(request.operation, &request.layout, &mut splices);
        let body_len = splices.len_after(request.body.len());
        let provider_head = provider.head(request.operation);
        bytes.clear();
        bytes.reserve(provider_head.len() + HEADERS_BYTES + body_len);
        bytes.extend_from_slice(provider_head);
        let lists_hops = head.first(KnownHeader::Connection).is_some();
        for header in head.headers().filter(|header| goes_to_provider(header.known, header.name)) {
            if !(lists_hops && head.headers.connection_lists(header.name)) {
                head::header(header.name, header.value, &mut bytes);
            }
        }
        let provider_head_bytes = provider_head.len();
        let span_at = bytes.len() - provider_head_bytes + traceparent::SPAN_AT;
        let TraceContext { trace, span, flags, .. } = record.context;
        traceparent::write(trace, span, flags, &mut bytes);
        head::length(body_len, &mut bytes);
        splices.write(request.body, &mut bytes);
        Outgoing {
            operation: request.operation,
            model: routed.model_name().into(),
            downgraded_by,
            usage_injected,
            body_bytes: request.body.len(),
            provider_head_bytes,
            span_at,
            targets: routed.targets,
            provider,
            bytes,
            cache_miss,
        }
    }

    /// Readdresses the request to another provider of the model.
    pub(crate) fn set_provider(&mut self, provider: &'p Provider, record: &mut Record<'p>) {
        if std::ptr::eq(provider, self.provider) {
            return;
        }
        let head = provider.head(self.operation);
        self.bytes.splice(..self.provider_head_bytes, head.iter().copied());
        self.provider_head_bytes = head.len();
        self.provider = provider;
        record.set_provider(provider);
    }

    /// Writes the attempt's span id into `traceparent`.
    pub(crate) fn set_span(&mut self, span: u64) {
        let at = self.provider_head_bytes + self.span_at;
        // The span is the lower half of the sixteen bytes.
        let hex = ids::hex(u128::from(span));
        if let (Some(place), Some(digits)) = (self.bytes.get_mut(at..at + 16), hex.get(16..)) {
            place.copy_from_slice(digits);
        }
    }

    /// Provider and model, for the answer's head.
    pub(crate) fn labels(&self) -> Labels<'_> {
        Labels { provider: &self.provider.name, model: &self.model, policy: self.downgraded_by.as_deref() }
    }
}

/// Whether the provider sees this header of the caller's. Only headers of the API and of tracing are forwarded, by name.
/// Everything else stays here: credentials and identities above all, but also what a network in between has added.
fn goes_to_provider(known: KnownHeader, name: &str) -> bool {
    const NAMES: [&str; 5] = ["openai-beta", "anthropic-beta", "idempotency-key", "http-referer", "x-title"];
    match known {
        KnownHeader::Accept | KnownHeader::UserAgent | KnownHeader::Tracestate => true,
        KnownHeader::Other => {
            NAMES.iter().any(|forwarded| name.eq_ignore_ascii_case(forwarded))
                || name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("x-stainless-"))
        }
        _ => false,
    }
}

/// Size of the forwarded headers of the official SDKs. More only costs a reallocation.
const HEADERS_BYTES: usize = 768;

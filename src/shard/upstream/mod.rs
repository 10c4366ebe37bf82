//! The provider's side of a request: connections, attempts, answers, streams. Runs in the task of the caller's connection;
//! takes only requests that were routed, and ends each in exactly one accounted outcome.

mod attempt; // one try: send, and read the answer's head
mod connect; // new ones: addresses, TCP, TLS
mod flight; // what others fetch, and what others may have
mod incoming; // an answer's body on its way in
mod open; // attempt after attempt
mod pool; // connections that wait for the next request
mod relay; // an answer that is no stream
mod retry; // whether another try is allowed
mod stream; // server-sent events, one by one

use std::time::Duration;

pub(crate) use pool::Pools;

use attempt::{Answer, Opened};
use open::Unopened;

use crate::breaker::Verdict;
use crate::dialect::openai::splice::{self, Splices};
use crate::dialect::openai::usage::Usage;
use crate::http::head::{KnownHeader, RequestHead};
use crate::link::AttemptOutcome;
use crate::llm::Operation;
use crate::plan::{Plan, Provider};
use crate::shard::account::{self, CALLER_LEFT};
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond::{Frame, Labels};
use crate::shard::answer::traceparent;
use crate::shard::conn::{Conn, Turn};
use crate::shard::judge::admit::Admitted;
use crate::shard::judge::cache::{Asking, Lead};
use crate::shard::judge::record::Record;
use crate::shard::judge::route::Targets;

/// A request ready to be sent: its bytes, and what the answer's handling needs to know of it.
pub(crate) struct Forward<'p> {
    provider: &'p Provider,
    targets: Targets,
    operation: Operation,
    /// Head and body as they go over the wire.
    request: Vec<u8>,
    /// So many bytes of it are the provider's own: request line, Host, key.
    own_bytes: usize,
    /// And so many bytes behind those stands the span that the provider's join.
    span_at: usize,
    /// The effective model, for the answer's header.
    model: Box<str>,
    /// The policy that changed the model, for the answer's header.
    downgraded_by: Option<Box<str>>,
    /// Usage was asked for on the caller's behalf and must be taken out again.
    usage_injected: bool,
    /// Bytes of the body, to estimate the prompt's tokens from when the provider does not say.
    body_bytes: usize,
    /// Set when the answer may come from the cache and go there.
    asking: Option<Asking>,
    /// Set when others wait for the answer.
    lead: Option<Lead>,
}

impl<'p> Forward<'p> {
    /// Puts the request together in `request`, which is empty. The one copy of the body between the two sockets.
    pub(crate) fn new(
        admitted: Admitted<'_, 'p>,
        asking: Option<Asking>,
        head: &RequestHead<'_>,
        record: &mut Record<'p>,
        mut request: Vec<u8>,
    ) -> Forward<'p> {
        let Admitted { routed, entry, downgraded_by, .. } = admitted;
        record.admitted(&routed, entry);
        let (known, provider) = (&routed.known, routed.provider);
        let mut splices = Splices::default();
        if let Some(model) = routed.instead() {
            splice::replace_model(&known.layout, model, &mut splices);
        }
        let usage_injected = known.facts.stream && splice::include_usage(known.operation, &known.layout, &mut splices);
        let body_len = splices.len_after(known.body.len());
        request.clear();
        request.reserve(provider.head(known.operation).len() + HEADERS_BYTES + body_len);
        request.extend_from_slice(provider.head(known.operation));
        let hops = head.first(KnownHeader::Connection).is_some();
        for header in head.headers().filter(|header| travels(header.known, header.name)) {
            if !(hops && head.headers.connection_lists(header.name)) {
                crate::shard::answer::respond::header(header.name, header.value, &mut request);
            }
        }
        let own_bytes = provider.head(known.operation).len();
        let span_at = request.len() - own_bytes + traceparent::SPAN_AT;
        traceparent::write(&record.ids, record.ids.span, &mut request);
        crate::shard::answer::respond::length(body_len, &mut request);
        splices.write(known.body, &mut request);
        Forward {
            operation: known.operation,
            model: routed.model_name().into(),
            downgraded_by,
            usage_injected,
            body_bytes: known.body.len(),
            own_bytes,
            span_at,
            targets: routed.targets,
            provider,
            request,
            asking,
            lead: None,
        }
    }

    /// Makes it a request to this provider of its model.
    fn send_to(&mut self, provider: &'p Provider, record: &mut Record<'p>) {
        if std::ptr::eq(provider, self.provider) {
            return;
        }
        let own = provider.head(self.operation);
        self.request.splice(..self.own_bytes, own.iter().copied());
        self.own_bytes = own.len();
        self.provider = provider;
        record.sent_to(provider);
    }

    /// Tells the provider which attempt it is.
    fn name_span(&mut self, span: u64) {
        let at = self.own_bytes + self.span_at;
        // The lower half of the sixteen bytes.
        let hex = crate::shard::answer::respond::hex(u128::from(span));
        if let (Some(place), Some(digits)) = (self.request.get_mut(at..at + 16), hex.get(16..)) {
            place.copy_from_slice(digits);
        }
    }

    /// Who answers, for the answer's head.
    fn labels(&self) -> Labels<'_> {
        Labels { provider: &self.provider.name, model: &self.model, policy: self.downgraded_by.as_deref() }
    }

    /// There is one, but not for those who wait for it.
    fn unshared(&mut self) {
        if let Some(lead) = self.lead.take() {
            lead.unshared();
        }
    }

    /// There is no answer; whoever waits for it may try.
    fn failed(&mut self) {
        if let Some(lead) = self.lead.take() {
            lead.failed();
        }
    }
}

#[cfg(test)]
impl Forward<'_> {
    /// What would be sent.
    pub(crate) fn sent_text(&self) -> String {
        String::from_utf8_lossy(&self.request).into_owned()
    }
}

/// Which of the caller's headers the provider sees: those of the API and of tracing, by name. Everything else stays here:
/// credentials and identities above all, but also whatever a network in between has added.
fn travels(known: KnownHeader, name: &str) -> bool {
    const NAMES: [&str; 5] = ["openai-beta", "anthropic-beta", "idempotency-key", "http-referer", "x-title"];
    match known {
        KnownHeader::Accept | KnownHeader::UserAgent | KnownHeader::Tracestate => true,
        KnownHeader::Other => {
            NAMES.iter().any(|travelling| name.eq_ignore_ascii_case(travelling))
                || name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("x-stainless-"))
        }
        _ => false,
    }
}

/// Why an attempt gave no answer to pass on.
#[derive(Debug)]
enum Failure {
    /// No connection.
    Unreachable(String),
    /// No connection in time: the provider has not seen the request.
    ConnectTimedOut,
    /// No first byte, or nothing more, in time.
    TimedOut,
    /// The connection broke, or what came is no valid answer.
    Broken(String),
    /// A kept connection turned out to be closed before it gave a byte.
    Stale,
    /// An error status.
    Status { status: u16, retry_after_s: Option<u32> },
    /// The caller left.
    Abandoned,
}

impl Failure {
    fn outcome(&self) -> AttemptOutcome {
        match self {
            Failure::Unreachable(_) => AttemptOutcome::Unreachable,
            Failure::ConnectTimedOut | Failure::TimedOut => AttemptOutcome::TimedOut,
            Failure::Broken(_) => AttemptOutcome::Broken,
            Failure::Stale => AttemptOutcome::Stale,
            Failure::Status { .. } => AttemptOutcome::ServerError,
            Failure::Abandoned => AttemptOutcome::Abandoned,
        }
    }

    /// What it says about the provider.
    fn verdict(&self) -> Verdict {
        match self {
            Failure::Unreachable(_) | Failure::ConnectTimedOut | Failure::TimedOut | Failure::Broken(_) => {
                Verdict::Failed
            }
            Failure::Status { status, .. } => Verdict::of_status(*status),
            Failure::Stale | Failure::Abandoned => Verdict::Nothing,
        }
    }

    /// What the caller is told; `None` when there is no caller any more.
    fn refusal(self, provider: &Provider) -> Option<Refusal> {
        let provider = provider.name.clone();
        match self {
            Failure::Unreachable(reason) => Some(Refusal::Unreachable { provider, reason: reason.into() }),
            Failure::ConnectTimedOut | Failure::TimedOut => Some(Refusal::UpstreamTimeout { provider }),
            Failure::Broken(reason) => Some(Refusal::Broken { provider, reason: reason.into() }),
            Failure::Stale => {
                Some(Refusal::Broken { provider, reason: "it closed the connection without an answer".into() })
            }
            Failure::Status { status, retry_after_s } => {
                Some(Refusal::ProviderStatus { provider, status, retry_after_s })
            }
            Failure::Abandoned => None,
        }
    }
}

/// Sends a request to its provider, as often as the rules allow, and passes the answer on.
pub(crate) async fn forward<'p>(
    conn: &mut Conn,
    mut forward: Forward<'p>,
    frame: Frame,
    record: Record<'p>,
    plan: &'p Plan,
) -> Turn {
    let shard = conn.shard.clone();
    let _in_flight = account::InFlight::new(&shard);
    let mut record = match flight::answer_of_another(conn, &mut forward, &frame, record, plan).await {
        Ok(record) => record,
        Err(turn) => return turn,
    };
    let turn = match open::open(conn, &mut forward, &frame, &mut record, plan).await {
        Ok(opened) if opened.answer.is_stream => stream::relay(conn, opened, &forward, record, plan).await,
        Ok(opened) => relay::relay(conn, opened, &mut forward, record, plan).await,
        Err(Unopened::Refused(refusal)) => {
            forward.failed();
            conn.refuse(&refusal, &frame, record, plan).await
        }
        Err(Unopened::Left) => left(conn, record, &forward, plan),
    };
    forward.request.clear();
    if forward.request.capacity() <= SPARE_BYTES_MAX {
        conn.spare = forward.request;
    }
    turn
}

/// The caller left before its answer came. The provider had the request by then, so its prompt is taken for used.
fn left(conn: &Conn, mut record: Record<'_>, forward: &Forward<'_>, plan: &Plan) -> Turn {
    record.cut = Some("caller left before the answer");
    record.used(Usage::estimated(forward.body_bytes, 0), plan);
    record.settle(&conn.shard, CALLER_LEFT, None);
    Turn::Close
}

/// What the travelling headers of the official SDKs take together; more only costs a reallocation.
const HEADERS_BYTES: usize = 768;

/// A connection keeps a request buffer up to this size for its next request. Arbitrary.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Room for one read from a provider: one or a few events, or a short answer with its head.
const READ_BYTES: usize = 8 * 1024;

/// Longest head of a provider's answer, in bytes, and how many lines it may have. Arbitrary: twice what large clouds send.
const ANSWER_HEAD: crate::http::head::HeadLimits =
    crate::http::head::HeadLimits { head_bytes: 64 * 1024, headers: 200 };

/// How long the caller's side may stall while an answer is passed on.
fn stall(plan: &Plan) -> Duration {
    plan.write_timeout
}

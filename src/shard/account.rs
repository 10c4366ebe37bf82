//! What a request took, into the shard's tally and one log line. Called exactly once for each request that was read, when
//! it is over, however it ended.

use super::Shard;
use super::identify::Known;
use super::refusal::Refusal;
use super::respond::Token;
use super::route::Routed;
use crate::clock::Now;
use crate::link::AttemptOutcome;
use crate::openai::usage::Usage;
use crate::plan::LabelId;

/// A request, from when it was read until it is accounted for.
pub(super) struct Record {
    pub(super) started: Now,
    pub(super) request_id: Option<Token>,
    pub(super) user: Box<str>,
    pub(super) tenant: Box<str>,
    pub(super) agent: Box<str>,
    pub(super) model: Box<str>,
    pub(super) provider: Box<str>,
    pub(super) provider_label: LabelId,
    pub(super) model_label: LabelId,
    /// As the provider counted, or as estimated.
    pub(super) usage: Usage,
    /// Set when the answer ended other than it should: a cut stream, a caller who left.
    pub(super) cut: Option<&'static str>,
}

/// The status recorded for a caller who left before the answer began. nginx's convention.
pub(super) const CALLER_LEFT: u16 = 499;

impl Record {
    /// A request of which nothing but its time is known yet.
    pub(super) fn new(started: Now, request_id: Option<Token>) -> Record {
        Record {
            started,
            request_id,
            user: Box::default(),
            tenant: Box::default(),
            agent: Box::default(),
            model: Box::default(),
            provider: Box::default(),
            provider_label: LabelId::NONE,
            model_label: LabelId::OTHER,
            usage: Usage::default(),
            cut: None,
        }
    }

    /// Takes over who asks, and for what.
    pub(super) fn identified(&mut self, known: &Known<'_>) {
        self.user = known.user.into();
        self.tenant = known.tenant.into();
        self.agent = known.agent.into();
        self.model = known.facts.model.as_ref().into();
    }

    /// Takes over who answers.
    pub(super) fn routed(&mut self, routed: &Routed<'_>) {
        self.provider = routed.provider.name.clone();
        self.provider_label = routed.provider.label;
        self.model_label = routed.model;
    }

    /// Accounts for it. `status` is what the caller saw, or [`CALLER_LEFT`].
    pub(super) fn settle(self, shard: &Shard, status: u16, refusal: Option<&Refusal>) {
        let now = shard.now();
        let took_ns = now.mono_ns.saturating_sub(self.started.mono_ns);
        let labels = (self.provider_label, self.model_label);
        {
            let mut tally = shard.tally.borrow_mut();
            *tally.requests.entry((labels.0, labels.1, status)).or_default() += 1;
            let cell = tally.cells.entry(labels).or_default();
            cell.duration.observe(took_ns);
            cell.usage.add(&self.usage);
            if let Some(refusal) = refusal {
                let row = refusal.row();
                *tally.refusals.entry((row.fault.label(), row.code.unwrap_or("bad_request"))).or_default() += 1;
            }
        }
        self.log(status, took_ns, refusal);
    }

    fn log(&self, status: u16, took_ns: u64, refusal: Option<&Refusal>) {
        let well = refusal.is_none() && self.cut.is_none() && status < 400;
        if well && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let id = self.request_id.as_ref().map_or("", |id| std::str::from_utf8(id.as_bytes()).unwrap_or_default());
        let code = refusal.map(|refusal| refusal.row().code.unwrap_or("bad_request"));
        let Record { user, tenant, agent, model, provider, usage, cut, .. } = self;
        let (prompt, completion, ms) = (usage.prompt, usage.completion, took_ns as f64 / 1e6);
        if well {
            tracing::debug!(
                id,
                user,
                tenant,
                agent,
                model,
                provider,
                status,
                prompt_tokens = prompt,
                completion_tokens = completion,
                ms,
                "request"
            );
        } else {
            tracing::warn!(
                id,
                user,
                tenant,
                agent,
                model,
                provider,
                status,
                refusal = code,
                cut,
                prompt_tokens = prompt,
                completion_tokens = completion,
                ms,
                "request"
            );
        }
    }
}

/// Counts one attempt at a provider.
pub(super) fn attempt(shard: &Shard, provider: LabelId, outcome: AttemptOutcome) {
    *shard.tally.borrow_mut().attempts.entry((provider, outcome)).or_default() += 1;
}

/// Counts a request as under way while it lives.
pub(super) struct InFlight<'s>(&'s Shard);

impl<'s> InFlight<'s> {
    pub(super) fn new(shard: &'s Shard) -> InFlight<'s> {
        shard.in_flight.set(shard.in_flight.get() + 1);
        InFlight(shard)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

//! A request from its first byte until it is accounted for: who asked for what, what was decided, who was asked and what
//! came of it. Owned by the task of its connection; stages add what they find out. It never holds a key or a header.

use super::capture::Kept;
use super::identify::Known;
use super::respond::Token;
use super::route::Routed;
use super::traceparent::Parent;
use crate::cache;
use crate::clock::Now;
use crate::dialect::openai::facts::Endpoint;
use crate::dialect::openai::usage::Usage;
use crate::link::AttemptOutcome;
use crate::link::trace::PolicyInputs;
use crate::plan::{LabelId, Plan, Provider};
use crate::policy::Verdict;
use crate::pricing::PriceId;
use crate::units::MicroUsd;
use crate::usage::Entry;

/// A request, from when it was read until it is accounted for.
pub(super) struct Record<'p> {
    pub(super) started: Now,
    /// When all of it had come and it was decided.
    pub(super) decided: Option<Now>,
    pub(super) request_id: Option<Token>,
    pub(super) ids: Ids,
    /// The one that it is judged by, once it was judged.
    pub(super) plan: Option<&'p Plan>,
    pub(super) who: Who,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) stream: bool,
    /// The model that is used instead of the one that was asked for.
    instead: Option<Box<str>>,
    pub(super) provider: &'p str,
    pub(super) provider_label: LabelId,
    pub(super) model_label: LabelId,
    /// Bytes of the caller's body, for what answers teach about their prompts.
    pub(super) body_bytes: usize,
    /// Of the effective model; absent if it is not known.
    pub(super) price: Option<PriceId>,
    /// The request's place in its user's window, once it was let through.
    pub(super) entry: Option<Entry>,
    /// What the policies judged by, and what they said.
    pub(super) inputs: PolicyInputs,
    pub(super) verdict: Verdict,
    /// Tries at providers, in order.
    pub(super) tried: Vec<Tried<'p>>,
    /// As the provider counted, or as estimated.
    pub(super) usage: Usage,
    /// What that cost.
    pub(super) cost: MicroUsd,
    /// What the cache had to do with it.
    pub(super) cached: Cached,
    /// Prompt and answer, where they are wanted.
    pub(super) kept: Kept,
    /// Set when the answer ended other than it should: a cut stream, a caller who left.
    pub(super) cut: Option<&'static str>,
}

/// The request's place in its trace.
#[derive(Clone, Copy, Default)]
pub(super) struct Ids {
    /// 0 until the head was read.
    pub(super) trace: u128,
    /// Of the request's own span.
    pub(super) span: u64,
    pub(super) parent: Option<u64>,
    /// As in `traceparent`: whether the caller samples the trace.
    pub(super) flags: u8,
}

impl Ids {
    /// A request that joins its caller's trace, or makes one. `random` is 128 bits of it. An id of luner's own begins with the
    /// time, so that rows of one time lie together in an index.
    pub(super) fn new(parent: Option<Parent>, now: Now, random: u128) -> Ids {
        let made = u128::from(now.wall_ms) << 80 | random >> 48;
        // Never 0, which names no span.
        let span = (random as u64) | 1;
        match parent {
            Some(Parent { trace_id, span_id, flags }) => Ids { trace: trace_id, span, parent: Some(span_id), flags },
            None => Ids { trace: made, span, parent: None, flags: 1 },
        }
    }
}

/// One try at a provider. Times are absent for what did not happen.
pub(super) struct Tried<'p> {
    pub(super) provider: &'p str,
    pub(super) started: Now,
    pub(super) connect_ns: Option<u64>,
    pub(super) tls_ns: Option<u64>,
    /// When its answer began.
    pub(super) first_byte: Option<Now>,
    pub(super) outcome: AttemptOutcome,
    pub(super) status: Option<u16>,
}

impl<'p> Tried<'p> {
    /// One that begins, of which nothing better is known yet.
    pub(super) fn new(provider: &'p Provider, started: Now) -> Tried<'p> {
        Tried {
            provider: &provider.name,
            started,
            connect_ns: None,
            tls_ns: None,
            first_byte: None,
            outcome: AttemptOutcome::Broken,
            status: None,
        }
    }
}

/// What the cache had to do with a request.
#[derive(Clone, Copy)]
pub(super) enum Cached {
    Bypass,
    Miss,
    Hit { saved: MicroUsd },
}

impl<'p> Record<'p> {
    /// A request of which nothing but its time is known yet.
    pub(super) fn new(started: Now, request_id: Option<Token>) -> Record<'p> {
        Record {
            started,
            decided: None,
            request_id,
            ids: Ids::default(),
            plan: None,
            who: Who::default(),
            endpoint: None,
            stream: false,
            instead: None,
            provider: "",
            provider_label: LabelId::NONE,
            model_label: LabelId::OTHER,
            body_bytes: 0,
            price: None,
            entry: None,
            inputs: PolicyInputs::default(),
            verdict: Verdict::default(),
            tried: Vec::new(),
            usage: Usage::default(),
            cost: MicroUsd(0),
            cached: Cached::Bypass,
            kept: Kept::default(),
            cut: None,
        }
    }

    /// Takes over who asks, and for what.
    pub(super) fn identified(&mut self, known: &Known<'_>, plan: &Plan) {
        self.kept = Kept::new(plan.capture, known.body);
        self.who = Who::new([known.user, known.tenant, known.agent, &known.facts.model]);
        self.endpoint = Some(known.endpoint);
        self.stream = known.facts.stream;
        self.body_bytes = known.body.len();
    }

    /// Takes over who answers.
    pub(super) fn routed(&mut self, routed: &Routed<'_, 'p>) {
        self.sent_to(routed.provider);
        self.model_label = routed.model;
        self.price = routed.price;
        if let Some(model) = routed.instead() {
            self.instead = Some(model.into());
        }
    }

    /// Takes over that another provider is asked.
    pub(super) fn sent_to(&mut self, provider: &'p Provider) {
        self.provider = &provider.name;
        self.provider_label = provider.label;
    }

    /// Takes over what the policies judged by, and what they said.
    pub(super) fn judged(&mut self, inputs: PolicyInputs, verdict: Verdict, plan: &'p Plan) {
        self.inputs = inputs;
        self.verdict = verdict;
        self.plan = Some(plan);
    }

    /// Takes over where it goes after all, and its place in its user's window, which it keeps until it is settled.
    pub(super) fn admitted(&mut self, routed: &Routed<'_, 'p>, entry: Entry) {
        if routed.instead().is_some() {
            self.routed(routed);
        }
        self.entry = Some(entry);
    }

    /// Takes over that its answer could have come from the cache.
    pub(super) fn missed(&mut self) {
        self.cached = Cached::Miss;
    }

    /// Takes over that its answer came from the cache: it used nothing, and saved what the first one cost.
    pub(super) fn hit(&mut self, entry: &cache::Entry) {
        self.cached = Cached::Hit { saved: entry.cost };
        self.kept.answer(&entry.body);
    }

    /// Takes the request out of its user's window: it was refused after all.
    pub(super) fn refused(&mut self) {
        self.entry = None;
    }

    /// Takes over what the answer used, and what that cost. `plan` is the one that the request began with.
    pub(super) fn used(&mut self, usage: Usage, plan: &Plan) {
        let price = self.price.and_then(|id| plan.price(id));
        self.cost = price.map_or(MicroUsd(0), |price| price.cost(&usage));
        self.usage = usage;
    }

    /// The effective model's name.
    pub(super) fn model(&self) -> &str {
        self.instead.as_deref().unwrap_or(self.who.model_asked())
    }

    /// From its first byte until now.
    pub(super) fn took_ns(&self, now: Now) -> u64 {
        now.mono_ns.saturating_sub(self.started.mono_ns)
    }
}

/// User, tenant, agent and the model that was asked for, in one piece of memory.
#[derive(Default)]
pub(super) struct Who {
    text: Box<str>,
    /// Where each but the last ends.
    ends: [u16; 3],
}

impl Who {
    /// Each is bounded to 256 bytes where it is read; of a longer one nothing is kept.
    fn new(parts: [&str; 4]) -> Who {
        let parts = parts.map(|part| if part.len() <= usize::from(u8::MAX) + 1 { part } else { "" });
        let (mut ends, mut end) = ([0; 3], 0);
        for (at, part) in ends.iter_mut().zip(parts) {
            end += part.len() as u16;
            *at = end;
        }
        Who { text: parts.concat().into(), ends }
    }

    fn part(&self, from: Option<usize>, to: Option<usize>) -> &str {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| usize::from(*end));
        self.text.get(from.map_or(0, end)..to.map_or(self.text.len(), end)).unwrap_or_default()
    }

    pub(super) fn user(&self) -> &str {
        self.part(None, Some(0))
    }

    pub(super) fn tenant(&self) -> &str {
        self.part(Some(0), Some(1))
    }

    pub(super) fn agent(&self) -> &str {
        self.part(Some(1), Some(2))
    }

    pub(super) fn model_asked(&self) -> &str {
        self.part(Some(2), None)
    }
}

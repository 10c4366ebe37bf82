//! A request from its first byte until it is accounted for: who asked for what, what was decided, who was asked and what
//! came of it. Owned by the task of its connection; stages add what they find out. It never holds a key or a header.

use crate::cache;
use crate::clock::Now;
use crate::dialect::openai::usage::Usage;
use crate::link::AttemptOutcome;
use crate::link::trace::PolicyInputs;
use crate::llm::Operation;
use crate::plan::{LabelId, Plan, Provider};
use crate::policy::Verdict;
use crate::pricing::PriceId;
use crate::shard::answer::respond::Token;
use crate::shard::answer::traceparent::Parent;
use crate::shard::judge::capture::Kept;
use crate::shard::judge::identify::Known;
use crate::shard::judge::route::Routed;
use crate::units::MicroUsd;
use crate::usage::Entry;
use crate::who::Who;

/// A request, from when it was read until it is accounted for.
pub(crate) struct Record<'p> {
    pub(crate) started: Now,
    /// When all of it had come and it was decided.
    pub(crate) decided: Option<Now>,
    pub(crate) request_id: Option<Token>,
    pub(crate) ids: Ids,
    /// The one that it is judged by, once it was judged.
    pub(crate) plan: Option<&'p Plan>,
    pub(crate) names: Names,
    pub(crate) operation: Option<Operation>,
    pub(crate) stream: bool,
    /// The model that is used instead of the one that was asked for.
    instead: Option<Box<str>>,
    pub(crate) provider: &'p str,
    pub(crate) provider_label: LabelId,
    pub(crate) model_label: LabelId,
    /// Bytes of the caller's body, for what answers teach about their prompts.
    pub(crate) body_bytes: usize,
    /// Of the effective model; absent if it is not known.
    pub(crate) price: Option<PriceId>,
    /// The request's place in its user's window, once it was let through.
    pub(crate) entry: Option<Entry>,
    /// What the policies judged by, and what they said.
    pub(crate) inputs: PolicyInputs,
    pub(crate) verdict: Verdict,
    /// Tries at providers, in order.
    pub(crate) tried: Vec<Tried<'p>>,
    /// As the provider counted, or as estimated.
    pub(crate) usage: Usage,
    /// What that cost.
    pub(crate) cost: MicroUsd,
    /// What the cache had to do with it.
    pub(crate) cached: Cached,
    /// Prompt and answer, where they are wanted.
    pub(crate) kept: Kept,
    /// Set when the answer ended other than it should: a cut stream, a caller who left.
    pub(crate) cut: Option<&'static str>,
}

/// The request's place in its trace.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ids {
    /// 0 until the head was read.
    pub(crate) trace: u128,
    /// Of the request's own span.
    pub(crate) span: u64,
    pub(crate) parent: Option<u64>,
    /// As in `traceparent`: whether the caller samples the trace.
    pub(crate) flags: u8,
}

impl Ids {
    /// A request that joins its caller's trace, or makes one. `random` is 128 bits of it. An id of luner's own begins with the
    /// time, so that rows of one time lie together in an index.
    pub(crate) fn new(parent: Option<Parent>, now: Now, random: u128) -> Ids {
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
pub(crate) struct Tried<'p> {
    pub(crate) provider: &'p str,
    pub(crate) started: Now,
    pub(crate) connect_ns: Option<u64>,
    pub(crate) tls_ns: Option<u64>,
    /// When its answer began.
    pub(crate) first_byte: Option<Now>,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) status: Option<u16>,
}

impl<'p> Tried<'p> {
    /// One that begins, of which nothing better is known yet.
    pub(crate) fn new(provider: &'p Provider, started: Now) -> Tried<'p> {
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
pub(crate) enum Cached {
    Bypass,
    Miss,
    Hit { saved: MicroUsd },
}

impl<'p> Record<'p> {
    /// A request of which nothing but its time is known yet.
    pub(crate) fn new(started: Now, request_id: Option<Token>) -> Record<'p> {
        Record {
            started,
            decided: None,
            request_id,
            ids: Ids::default(),
            plan: None,
            names: Names::default(),
            operation: None,
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
    pub(crate) fn identified(&mut self, known: &Known<'_>, plan: &Plan) {
        self.kept = Kept::new(plan.capture, known.body);
        self.names = Names::new(known.who, &known.facts.model);
        self.operation = Some(known.operation);
        self.stream = known.facts.stream;
        self.body_bytes = known.body.len();
    }

    /// Takes over who answers.
    pub(crate) fn routed(&mut self, routed: &Routed<'_, 'p>) {
        self.sent_to(routed.provider);
        self.model_label = routed.model;
        self.price = routed.price;
        if let Some(model) = routed.instead() {
            self.instead = Some(model.into());
        }
    }

    /// Takes over that another provider is asked.
    pub(crate) fn sent_to(&mut self, provider: &'p Provider) {
        self.provider = &provider.name;
        self.provider_label = provider.label;
    }

    /// Takes over what the policies judged by, and what they said.
    pub(crate) fn judged(&mut self, inputs: PolicyInputs, verdict: Verdict, plan: &'p Plan) {
        self.inputs = inputs;
        self.verdict = verdict;
        self.plan = Some(plan);
    }

    /// Takes over where it goes after all, and its place in its user's window, which it keeps until it is settled.
    pub(crate) fn admitted(&mut self, routed: &Routed<'_, 'p>, entry: Entry) {
        if routed.instead().is_some() {
            self.routed(routed);
        }
        self.entry = Some(entry);
    }

    /// Takes over that its answer could have come from the cache.
    pub(crate) fn missed(&mut self) {
        self.cached = Cached::Miss;
    }

    /// Takes over that its answer came from the cache: it used nothing, and saved what the first one cost.
    pub(crate) fn hit(&mut self, entry: &cache::Entry) {
        self.cached = Cached::Hit { saved: entry.cost };
        self.kept.answer(&entry.body);
    }

    /// Takes the request out of its user's window: it was refused after all.
    pub(crate) fn refused(&mut self) {
        self.entry = None;
    }

    /// Takes over what the answer used, and what that cost. `plan` is the one that the request began with.
    pub(crate) fn used(&mut self, usage: Usage, plan: &Plan) {
        let price = self.price.and_then(|id| plan.price(id));
        self.cost = price.map_or(MicroUsd(0), |price| price.cost(&usage));
        self.usage = usage;
    }

    /// The effective model's name.
    pub(crate) fn model(&self) -> &str {
        self.instead.as_deref().unwrap_or(self.names.model_asked())
    }

    /// From its first byte until now.
    pub(crate) fn took_ns(&self, now: Now) -> u64 {
        now.mono_ns.saturating_sub(self.started.mono_ns)
    }
}

/// Who asked and for which model, in one allocation: most requests end without a trace that needs more.
#[derive(Default)]
pub(crate) struct Names {
    text: Box<str>,
    /// Where each part of the identity ends; the model is the rest.
    ends: Who<u16>,
}

impl Names {
    /// Identity headers and models are bounded to 256 bytes where they are read; nothing is kept of anything longer.
    fn new(who: Who<&str>, model: &str) -> Names {
        let bounded = |text| if str::len(text) <= usize::from(u8::MAX) + 1 { text } else { "" };
        let (mut text, mut ends) = (String::new(), Who::default());
        text.reserve_exact(who.parts().map(|(_, part)| part.len()).sum::<usize>() + model.len());
        for (part, name) in who.parts() {
            text.push_str(bounded(name));
            *ends.get_mut(part) = text.len() as u16;
        }
        text.push_str(bounded(model));
        Names { text: text.into(), ends }
    }

    pub(crate) fn who(&self) -> Who<&str> {
        let mut from = 0;
        Who::from_fn(|part| {
            let range = from..usize::from(*self.ends.get(part));
            from = range.end;
            self.text.get(range).unwrap_or_default()
        })
    }

    pub(crate) fn model_asked(&self) -> &str {
        self.text.get(usize::from(self.ends.agent)..).unwrap_or_default()
    }
}

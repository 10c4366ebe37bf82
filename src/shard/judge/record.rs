//! A request from its first byte until it is accounted for: who asked for what, what was decided, which providers were
//! asked, and how it ended. Owned by the task of its connection; each stage adds what it finds out. It never holds a key or
//! a header.

use super::capture::BodyCapture;
use super::identify::Identified;
use super::route::Routed;
use crate::cache;
use crate::clock::Now;
use crate::link::AttemptOutcome;
use crate::link::trace::PolicyInputs;
use crate::llm::Operation;
use crate::llm::Usage;
use crate::plan::{LabelId, Plan, Provider};
use crate::policy::Verdict;
use crate::pricing::PriceId;
use crate::shard::answer::ids::{RequestId, TraceContext};
use crate::shard::answer::refusal::Refusal;
use crate::units::MicroUsd;
use crate::usage::WindowEntry;
use crate::who::Who;

/// The status recorded for a caller who left before the answer began. nginx's convention.
pub(crate) const CALLER_LEFT: u16 = 499;

/// A request, from when it was read until it is accounted for.
pub(crate) struct Record<'p> {
    /// The plan that the request started with, and keeps.
    pub(crate) plan: &'p Plan,
    pub(crate) started: Now,
    /// When the whole request had arrived and was decided.
    pub(crate) decided: Option<Now>,
    /// `None` until the head was read.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) context: TraceContext,
    pub(crate) names: Names,
    /// `None` unless the request asks a model for something.
    pub(crate) operation: Option<Operation>,
    pub(crate) stream: bool,
    /// The model to use instead of the requested one.
    replacement: Option<Box<str>>,
    /// Empty if no provider was chosen.
    pub(crate) provider: &'p str,
    pub(crate) provider_label: LabelId,
    pub(crate) model_label: LabelId,
    /// Length of the caller's body, from which prompts are estimated.
    pub(crate) body_bytes: usize,
    /// Price of the effective model, if it is known.
    pub(crate) price: Option<PriceId>,
    /// The request's place in its user's window, once it was admitted.
    pub(crate) window_entry: Option<WindowEntry>,
    /// What the policies judged by.
    pub(crate) inputs: PolicyInputs,
    /// What the policies decided.
    pub(crate) verdict: Verdict,
    /// Attempts at providers, in order.
    pub(crate) attempts: Vec<AttemptRecord<'p>>,
    /// As the provider counted, or as estimated.
    pub(crate) usage: Usage,
    pub(crate) cost: MicroUsd,
    pub(crate) cache_status: CacheStatus,
    pub(crate) capture: BodyCapture,
    /// Why the answer did not end as it should: a broken stream, a caller who left.
    pub(crate) cut: Option<&'static str>,
}

/// One attempt at a provider. Times are absent for steps that did not happen.
pub(crate) struct AttemptRecord<'p> {
    pub(crate) provider: &'p str,
    pub(crate) started: Now,
    pub(crate) connect_ns: Option<u64>,
    pub(crate) tls_ns: Option<u64>,
    /// When the answer began.
    pub(crate) first_byte: Option<Now>,
    pub(crate) outcome: AttemptOutcome,
    pub(crate) status: Option<u16>,
}

impl<'p> AttemptRecord<'p> {
    /// An attempt that starts now. Its outcome is set when it ends.
    pub(crate) fn new(provider: &'p Provider, started: Now) -> AttemptRecord<'p> {
        AttemptRecord {
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

/// What the cache did for a request.
#[derive(Clone, Copy)]
pub(crate) enum CacheStatus {
    /// The request was not eligible for caching.
    Bypass,
    Miss,
    /// `saved` is what the original answer cost.
    Hit {
        saved: MicroUsd,
    },
}

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) struct End<'r> {
    pub(crate) now: Now,
    /// The status that the caller saw, or [`CALLER_LEFT`].
    pub(crate) status: u16,
    pub(crate) refusal: Option<&'r Refusal>,
}

impl<'p> Record<'p> {
    /// A request of which only its start is known.
    pub(crate) fn new(plan: &'p Plan, started: Now, random: u128) -> Record<'p> {
        Record {
            plan,
            started,
            decided: None,
            request_id: None,
            context: TraceContext::generate(started, random),
            names: Names::default(),
            operation: None,
            stream: false,
            replacement: None,
            provider: "",
            provider_label: LabelId::NONE,
            model_label: LabelId::OTHER,
            body_bytes: 0,
            price: None,
            window_entry: None,
            inputs: PolicyInputs::default(),
            verdict: Verdict::default(),
            attempts: Vec::new(),
            usage: Usage::default(),
            cost: MicroUsd(0),
            cache_status: CacheStatus::Bypass,
            capture: BodyCapture::default(),
            cut: None,
        }
    }

    /// Records who asks and what for.
    pub(crate) fn set_identified(&mut self, request: &Identified<'_>) {
        self.capture = BodyCapture::new(self.plan.capture, request.body);
        self.names = Names::new(request.who, &request.facts.model);
        self.operation = Some(request.operation);
        self.stream = request.facts.stream;
        self.body_bytes = request.body.len();
    }

    /// Records the provider and the effective model.
    pub(crate) fn set_routed(&mut self, routed: &Routed<'_, 'p>) {
        self.set_provider(routed.provider);
        self.model_label = routed.model;
        self.price = routed.price;
        if let Some(model) = routed.replacement() {
            self.replacement = Some(model.into());
        }
    }

    /// Records which provider is asked.
    pub(crate) fn set_provider(&mut self, provider: &'p Provider) {
        self.provider = &provider.name;
        self.provider_label = provider.label;
    }

    /// Records what the policies judged by and what they decided.
    pub(crate) fn set_judged(&mut self, inputs: PolicyInputs, verdict: Verdict) {
        self.inputs = inputs;
        self.verdict = verdict;
    }

    /// Records the route after the policies, and the place in the user's window, which is kept until the request is settled.
    pub(crate) fn set_admitted(&mut self, routed: &Routed<'_, 'p>, window_entry: WindowEntry) {
        if routed.replacement().is_some() {
            self.set_routed(routed);
        }
        self.window_entry = Some(window_entry);
    }

    /// Records that the answer was looked for in the cache and not found.
    pub(crate) fn set_cache_miss(&mut self) {
        self.cache_status = CacheStatus::Miss;
    }

    /// Records an answer from the cache: it used no tokens and saved what the original answer cost.
    pub(crate) fn set_cache_hit(&mut self, cached: &cache::CachedAnswer) {
        self.cache_status = CacheStatus::Hit { saved: cached.cost };
        self.capture.add_answer(&cached.body);
    }

    /// Takes the request out of its user's window again: no provider could be asked.
    pub(crate) fn leave_window(&mut self) {
        self.window_entry = None;
    }

    /// Records the answer's usage and what it cost.
    pub(crate) fn set_usage(&mut self, usage: Usage) {
        let price = self.price.and_then(|id| self.plan.price(id));
        self.cost = price.map_or(MicroUsd(0), |price| price.cost(&usage));
        self.usage = usage;
    }

    /// The effective model's name.
    pub(crate) fn model(&self) -> &str {
        self.replacement.as_deref().unwrap_or(self.names.model_asked())
    }

    /// Time since the request's first byte.
    pub(crate) fn duration_ns(&self, now: Now) -> u64 {
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

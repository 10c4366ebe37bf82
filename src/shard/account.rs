//! What a request took, into the shard's tally and one log line. Called exactly once for each request that was read, when
//! it is over, however it ended.

use super::Shard;
use super::identify::Known;
use super::refusal::Refusal;
use super::respond::Token;
use super::route::Routed;
use crate::cache;
use crate::clock::Now;
use crate::link::{AttemptOutcome, Tally};
use crate::openai::usage::Usage;
use crate::plan::{LabelId, Plan, Provider};
use crate::policy::{Action, Mode, Verdict};
use crate::pricing::{Learned, PriceId};
use crate::units::MicroUsd;
use crate::usage::Entry;

/// A request, from when it was read until it is accounted for.
pub(super) struct Record<'p> {
    pub(super) started: Now,
    pub(super) request_id: Option<Token>,
    who: Who,
    /// The model that is used instead of the one that was asked for.
    instead: Option<Box<str>>,
    provider: &'p str,
    pub(super) provider_label: LabelId,
    pub(super) model_label: LabelId,
    /// Bytes of the caller's body, for what answers teach about their prompts.
    body_bytes: usize,
    /// Of the effective model; absent if it is not known.
    price: Option<PriceId>,
    /// The request's place in its user's window, once it was let through.
    pub(super) entry: Option<Entry>,
    /// Policies that matched, by the label of their name.
    matched: Vec<(LabelId, Action, Mode)>,
    /// Policies that failed.
    failed: Vec<LabelId>,
    /// As the provider counted, or as estimated.
    pub(super) usage: Usage,
    /// What that cost.
    pub(super) cost: MicroUsd,
    /// What the cache had to do with it.
    cached: Cached,
    /// Set when the answer ended other than it should: a cut stream, a caller who left.
    pub(super) cut: Option<&'static str>,
}

/// The status recorded for a caller who left before the answer began. nginx's convention.
pub(super) const CALLER_LEFT: u16 = 499;

impl<'p> Record<'p> {
    /// A request of which nothing but its time is known yet.
    pub(super) fn new(started: Now, request_id: Option<Token>) -> Record<'p> {
        Record {
            started,
            request_id,
            who: Who::default(),
            instead: None,
            provider: "",
            provider_label: LabelId::NONE,
            model_label: LabelId::OTHER,
            body_bytes: 0,
            price: None,
            entry: None,
            matched: Vec::new(),
            failed: Vec::new(),
            usage: Usage::default(),
            cost: MicroUsd(0),
            cached: Cached::Bypass,
            cut: None,
        }
    }

    /// Takes over who asks, and for what.
    pub(super) fn identified(&mut self, known: &Known<'_>) {
        self.who = Who::new([known.user, known.tenant, known.agent, &known.facts.model]);
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

    /// Takes over what the policies said.
    pub(super) fn judged(&mut self, verdict: &Verdict, plan: &Plan) {
        let matched = verdict.matches.iter();
        self.matched.extend(matched.map(|it| (plan.policy_label(it.policy), it.action, it.mode)));
        self.failed.extend(verdict.errors.iter().map(|fault| plan.policy_label(fault.policy)));
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

    /// Accounts for it. `status` is what the caller saw, or [`CALLER_LEFT`].
    pub(super) fn settle(mut self, shard: &Shard, status: u16, refusal: Option<&Refusal>) {
        let now = shard.now();
        self.fold(now, status, refusal, &mut shard.tally.borrow_mut(), &mut shard.governor.borrow_mut().learned);
        self.log(status, self.took_ns(now), refusal);
    }

    /// Counts it, gives its place in its user's window up for what it used, and learns from its answer.
    pub(super) fn fold(
        &mut self,
        now: Now,
        status: u16,
        refusal: Option<&Refusal>,
        tally: &mut Tally,
        learned: &mut Learned,
    ) {
        let labels = (self.provider_label, self.model_label);
        *tally.requests.entry((labels.0, labels.1, status)).or_default() += 1;
        let cell = tally.cells.entry(labels).or_default();
        cell.duration.observe(self.took_ns(now));
        cell.usage.add(&self.usage);
        cell.cost = cell.cost.saturating_add(self.cost);
        match self.cached {
            Cached::Bypass => {}
            Cached::Miss => tally.cache_misses += 1,
            Cached::Hit { saved } => {
                tally.cache_hits += 1;
                tally.saved = tally.saved.saturating_add(saved);
            }
        }
        for key in &self.matched {
            *tally.policy_matches.entry(*key).or_default() += 1;
        }
        for policy in &self.failed {
            *tally.policy_errors.entry(*policy).or_default() += 1;
        }
        if let Some(refusal) = refusal {
            let row = refusal.row();
            *tally.refusals.entry((row.fault.label(), row.code.unwrap_or("bad_request"))).or_default() += 1;
        }
        if let Some(entry) = self.entry.take() {
            entry.settle(now, self.usage.total, self.cost);
            if self.cut.is_none() && status < 300 && !matches!(self.cached, Cached::Hit { .. }) {
                learned.learn(self.model(), self.body_bytes, &self.usage);
            }
        }
    }

    /// The effective model's name.
    fn model(&self) -> &str {
        let [_, _, _, asked] = self.who.all();
        self.instead.as_deref().unwrap_or(asked)
    }

    fn took_ns(&self, now: Now) -> u64 {
        now.mono_ns.saturating_sub(self.started.mono_ns)
    }

    fn log(&self, status: u16, took_ns: u64, refusal: Option<&Refusal>) {
        let well = refusal.is_none() && self.cut.is_none() && status < 400;
        if well && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let id = self.request_id.as_ref().map_or("", |id| std::str::from_utf8(id.as_bytes()).unwrap_or_default());
        let code = refusal.map(|refusal| refusal.row().code.unwrap_or("bad_request"));
        let policy = refusal.and_then(Refusal::policy);
        let ([user, tenant, agent, _], model) = (self.who.all(), self.model());
        let Record { provider, usage, cost, cut, .. } = self;
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
                cost_usd = %cost,
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
                policy,
                cut,
                prompt_tokens = prompt,
                completion_tokens = completion,
                cost_usd = %cost,
                ms,
                "request"
            );
        }
    }
}

/// What the cache had to do with a request.
enum Cached {
    Bypass,
    Miss,
    Hit { saved: MicroUsd },
}

/// User, tenant, agent and the model that was asked for, in one piece of memory.
#[derive(Default)]
struct Who {
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

    fn all(&self) -> [&str; 4] {
        let [user, tenant, agent] = self.ends.map(usize::from);
        let part = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default();
        [part(0, user), part(user, tenant), part(tenant, agent), part(agent, self.text.len())]
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

//! A request that is over, as a trace: what its record says, in values of its own. Pure; made only where somebody keeps it,
//! since it costs a dozen allocations.

use std::borrow::Cow;

use crate::clock::Now;
use crate::link::trace::{Attempt, CacheOutcome, Importance, PolicyFailure, PolicyMatch, Refused, Trace};
use crate::link::usage::UsageCount;
use crate::policy::{Action, Mode, Runnable, Verdict};
use crate::shard::answer::refusal::{Fault, Refusal};
use crate::shard::answer::traceparent::SAMPLED;
use crate::shard::judge::record::{Cached, Record, Tried};
use crate::units::MicroUsd;

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) struct End<'r> {
    pub(crate) now: Now,
    /// What the caller saw, or 499.
    pub(crate) status: u16,
    pub(crate) refusal: Option<&'r Refusal>,
}

impl End<'_> {
    fn is_blocked(&self) -> bool {
        self.refusal.is_some_and(|refusal| refusal.row().fault == Fault::Policy)
    }
}

impl Record<'_> {
    /// What it counts for; the same as [`UsageCount::of`] its trace.
    pub(crate) fn count(&self, end: End<'_>) -> UsageCount {
        let blocked = end.is_blocked();
        let (hit, miss, saved) = match self.cached {
            Cached::Hit { saved } => (1, 0, saved),
            Cached::Miss => (0, 1, MicroUsd(0)),
            Cached::Bypass => (0, 0, MicroUsd(0)),
        };
        let spans = 1 + hit + miss + (self.verdict.matches.len() + self.verdict.errors.len() + self.tried.len()) as u64;
        UsageCount {
            requests: 1,
            spans,
            prompt: self.usage.prompt,
            completion: self.usage.completion,
            total: self.usage.total,
            cached: self.usage.cached,
            reasoning: self.usage.reasoning,
            cost: self.cost,
            saved,
            hits: hit,
            misses: miss,
            blocked: u64::from(blocked),
            errors: u64::from(!blocked && (end.status >= 400 || self.cut.is_some())),
            duration_us: self.took_ns(end.now) / 1_000,
        }
    }

    /// How long its trace is held on to; the same as the trace's own [`Trace::importance`].
    pub(crate) fn importance(&self, end: End<'_>) -> Importance {
        let Verdict { matches, errors, .. } = &self.verdict;
        let notable = matches.iter().any(|it| {
            it.mode == Mode::Shadow || it.effective && matches!(it.action, Action::Alert | Action::Downgrade)
        });
        if notable || !errors.is_empty() || end.status >= 400 || self.cut.is_some() {
            Importance::Kept
        } else if matches!(self.cached, Cached::Hit { .. }) {
            Importance::Hit
        } else {
            Importance::Plain
        }
    }

    /// The whole of it.
    pub(crate) fn trace(&self, end: End<'_>) -> Trace {
        let policy = |index: usize| self.plan.and_then(|plan| plan.policies.policies().get(index));
        let Verdict { matches, errors, .. } = &self.verdict;
        let named = |policy: &Runnable| (Box::from(&*policy.id), Box::from(&*policy.name));
        let matches = matches.iter().filter_map(|it| {
            let (id, name) = named(policy(it.policy)?);
            let (note, target) = (Cow::Borrowed(it.note.name()), it.target.as_deref().map(Into::into));
            Some(PolicyMatch { id, name, action: it.action, mode: it.mode, effective: it.effective, note, target })
        });
        let faults = errors.iter().filter_map(|it| {
            let (id, name) = named(policy(it.policy)?);
            Some(PolicyFailure { id, name, kind: Cow::Borrowed(it.kind.name()) })
        });
        let since = |then: Now| then.mono_ns.saturating_sub(self.started.mono_ns);
        let count = self.count(end);
        Trace {
            trace_id: self.ids.trace,
            span_id: self.ids.span,
            parent_span_id: self.ids.parent,
            sampled: self.ids.flags & SAMPLED != 0,
            request_id: self.request_id.as_ref().map_or("", |id| id.as_str()).into(),
            started_ms: self.started.wall_ms,
            duration_ns: self.took_ns(end.now),
            first_byte_ns: self.tried.iter().rev().find_map(|it| it.first_byte).map(since),
            who: self.names.who().to_owned(),
            operation: self.operation,
            provider: self.provider.into(),
            model_asked: self.names.model_asked().into(),
            model: self.model().into(),
            stream: self.stream,
            status: end.status,
            refusal: end.refusal.map(refused),
            cache: match self.cached {
                Cached::Hit { .. } => CacheOutcome::Hit,
                Cached::Miss => CacheOutcome::Miss,
                Cached::Bypass => CacheOutcome::Bypass,
            },
            usage: self.usage,
            cost: self.cost,
            saved: count.saved,
            priced: self.price.is_some(),
            inputs: self.inputs.clone(),
            matches: matches.collect(),
            faults: faults.collect(),
            attempts: self.tried.iter().map(|it| attempt(it, self.started, end.now)).collect(),
            cut: self.cut.map(Cow::Borrowed),
            captured: self.kept.captured(end.status >= 400 || self.cut.is_some()),
        }
    }
}

fn refused(refusal: &Refusal) -> Refused {
    let row = refusal.row();
    Refused {
        code: row.code.unwrap_or("bad_request").into(),
        fault: row.fault.label().into(),
        message: refusal.message().into(),
    }
}

fn attempt(tried: &Tried<'_>, began: Now, ended: Now) -> Attempt {
    let between = |from: Now, to: Now| to.mono_ns.saturating_sub(from.mono_ns);
    Attempt {
        provider: tried.provider.into(),
        started_ns: between(began, tried.started),
        connect_ns: tried.connect_ns,
        tls_ns: tried.tls_ns,
        first_byte_ns: tried.first_byte.map(|first| between(tried.started, first)),
        // Only the last answer is passed on, and the request ends with it.
        stream_ns: tried.first_byte.map(|first| between(first, ended)),
        outcome: tried.outcome.label().into(),
        status: tried.status,
    }
}

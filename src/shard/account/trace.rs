//! Turns the record of a finished request into counts and, if somebody keeps it, into a trace. Pure. A trace owns its values
//! and costs a dozen allocations, so it is made only when it is wanted.

use std::borrow::Cow;

use crate::clock::Now;
use crate::link::trace::{Attempt, CacheOutcome, Importance, PolicyFailure, PolicyMatch, Refused, Trace};
use crate::link::usage::UsageCount;
use crate::policy::{Action, Mode, Runnable, Verdict};
use crate::shard::answer::refusal::{ErrorSource, Refusal};
use crate::shard::answer::traceparent::SAMPLED;
use crate::shard::judge::record::{AttemptRecord, CacheStatus, End, Record};
use crate::units::MicroUsd;

fn is_blocked(end: End<'_>) -> bool {
    end.refusal.is_some_and(|refusal| refusal.row().source == ErrorSource::Policy)
}

impl Record<'_> {
    /// What the request adds to the usage counts: equal to [`UsageCount::of`] its trace.
    pub(crate) fn count(&self, end: End<'_>) -> UsageCount {
        let blocked = is_blocked(end);
        let (hit, miss, saved) = match self.cache_status {
            CacheStatus::Hit { saved } => (1, 0, saved),
            CacheStatus::Miss => (0, 1, MicroUsd(0)),
            CacheStatus::Bypass => (0, 0, MicroUsd(0)),
        };
        let spans =
            1 + hit + miss + (self.verdict.matches.len() + self.verdict.errors.len() + self.attempts.len()) as u64;
        UsageCount {
            requests: 1,
            spans,
            input: self.usage.input,
            output: self.usage.output,
            total: self.usage.total,
            cache_read: self.usage.cache_read,
            cache_write: self.usage.cache_write,
            reasoning: self.usage.reasoning,
            cost: self.cost,
            saved,
            hits: hit,
            misses: miss,
            blocked: u64::from(blocked),
            errors: u64::from(!blocked && (end.status >= 400 || self.cut.is_some())),
            duration_us: self.duration_ns(end.now) / 1_000,
        }
    }

    /// How long its trace is kept when there are too many: equal to [`Trace::importance`] of its trace.
    pub(crate) fn importance(&self, end: End<'_>) -> Importance {
        let Verdict { matches, errors, .. } = &self.verdict;
        let notable = matches.iter().any(|it| {
            it.mode == Mode::Shadow || it.effective && matches!(it.action, Action::Alert | Action::Downgrade)
        });
        if notable || !errors.is_empty() || end.status >= 400 || self.cut.is_some() {
            Importance::Kept
        } else if matches!(self.cache_status, CacheStatus::Hit { .. }) {
            Importance::Hit
        } else {
            Importance::Plain
        }
    }

    /// The request as a trace.
    pub(crate) fn trace(&self, end: End<'_>) -> Trace {
        let policy = |index: usize| self.plan.policies.policies().get(index);
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
            trace_id: self.context.trace,
            span_id: self.context.span,
            parent_span_id: self.context.parent,
            sampled: self.context.flags & SAMPLED != 0,
            request_id: self.request_id.as_ref().map_or("", |id| id.as_str()).into(),
            started_ms: self.started.wall_ms,
            duration_ns: self.duration_ns(end.now),
            first_byte_ns: self.attempts.iter().rev().find_map(|it| it.first_byte).map(since),
            who: self.names.who().to_owned(),
            operation: self.operation,
            provider: self.provider.into(),
            model_asked: self.names.model_asked().into(),
            model: self.model().into(),
            stream: self.stream,
            status: end.status,
            refusal: end.refusal.map(refused),
            cache: match self.cache_status {
                CacheStatus::Hit { .. } => CacheOutcome::Hit,
                CacheStatus::Miss => CacheOutcome::Miss,
                CacheStatus::Bypass => CacheOutcome::Bypass,
            },
            usage: self.usage,
            cost: self.cost,
            saved: count.saved,
            priced: self.price.is_some(),
            inputs: self.inputs.clone(),
            matches: matches.collect(),
            faults: faults.collect(),
            attempts: self.attempts.iter().map(|it| attempt(it, self.started, end.now)).collect(),
            cut: self.cut.map(Cow::Borrowed),
            captured: self.capture.captured(end.status >= 400 || self.cut.is_some()),
        }
    }
}

fn refused(refusal: &Refusal) -> Refused {
    let row = refusal.row();
    Refused {
        code: row.code.unwrap_or("bad_request").into(),
        fault: row.source.label().into(),
        message: refusal.message().into(),
    }
}

fn attempt(record: &AttemptRecord<'_>, began: Now, ended: Now) -> Attempt {
    let between = |from: Now, to: Now| to.mono_ns.saturating_sub(from.mono_ns);
    Attempt {
        provider: record.provider.into(),
        started_ns: between(began, record.started),
        connect_ns: record.connect_ns,
        tls_ns: record.tls_ns,
        first_byte_ns: record.first_byte.map(|first| between(record.started, first)),
        // Only the last attempt's answer is passed on, and the request ends with it.
        stream_ns: record.first_byte.map(|first| between(first, ended)),
        outcome: record.outcome.label().into(),
        status: record.status,
    }
}

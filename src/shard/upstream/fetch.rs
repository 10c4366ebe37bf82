//! From a request to an answer that has begun: from somebody else's fetch, or attempt after attempt at the providers that may
//! be asked, by the rule in `retry`. Runs in the task of the caller's connection.

use super::attempt::Opened;
use super::exchange::{ProviderExchange, Substitute};
use super::failure::Failure;
use super::flight::FlightOutcome;
use super::retry::{Again, Tries};
use crate::breaker::CallResult;
use crate::link::trace::attempt_span_id;
use crate::llm::Usage;
use crate::plan::Provider;
use crate::shard::answer::refusal::Refusal;
use crate::shard::judge::charge::charge;
use crate::shard::judge::record::{AttemptRecord, Record};

/// An answer that has begun, or the reason why there is none.
#[allow(clippy::large_enum_variant, reason = "one per request, moved once; a box would cost an allocation")]
pub(crate) enum Fetched {
    /// A provider answers.
    Opened(Opened),
    /// No provider's answer is passed on.
    Substitute(Substitute),
}

impl<'p> ProviderExchange<'_, 'p> {
    /// Asks whoever holds or fetches the answer. Returns `None` if this request has to fetch it.
    pub(crate) async fn fetch_from_cache(&mut self, record: &mut Record<'p>) -> Option<Substitute> {
        let miss = self.outgoing.cache_miss?;
        record.set_cache_miss();
        let patience = self.outgoing.provider.timeout;
        match self.upstream.cache.ask(miss, &self.caller.wire, patience).await {
            FlightOutcome::Alone => None,
            FlightOutcome::Lead(lead) => {
                self.lead = Some(lead);
                None
            }
            FlightOutcome::Hit(entry) => Some(Substitute::Cached(entry)),
            FlightOutcome::TimedOut => {
                Some(Substitute::Refused(Refusal::UpstreamTimeout { provider: self.outgoing.provider.name.clone() }))
            }
            FlightOutcome::CallerLeft => Some(Substitute::CallerLeft),
        }
    }

    /// Sends the request to providers, as often as needed and allowed.
    pub(crate) async fn fetch_from_providers(&mut self, record: &mut Record<'p>) -> Fetched {
        let (targets, plan, upstream) = (self.outgoing.targets, self.plan, self.upstream);
        let retries = |step| targets.provider(step, plan).map_or(0, |provider| provider.retries);
        let mut tries = Tries::new(targets.len(plan));
        let (mut step, mut failed, mut denied) = (0, None, None);
        // A stale pooled connection is replaced on the same charge: the provider has not answered yet.
        let mut unspent = None;
        loop {
            let provider = targets.provider(step, plan).unwrap_or(self.outgoing.provider);
            let now = self.caller.ground.now();
            let charged = match unspent.take().map_or_else(|| charge(provider, &upstream.shared, now), Ok) {
                Ok(charged) => charged,
                Err(refusal) => {
                    denied = Some(more_helpful(denied, refusal));
                    match tries.pass_over() {
                        Some(next) => step = next,
                        None => break,
                    }
                    continue;
                }
            };
            self.outgoing.set_provider(provider, record);
            self.outgoing.set_span(attempt_span_id(record.context.span, record.attempts.len()));
            let mut attempt = AttemptRecord::new(provider, now);
            let result = self.attempt(&charged, &tries, &mut attempt).await;
            record.attempts.push(attempt);
            let failure = match result {
                Ok(opened) => {
                    charged.end(CallResult::Success, now, 0);
                    return Fetched::Opened(opened);
                }
                Err(failure) => failure,
            };
            self.caller.accounting.end_attempt(record, failure.outcome());
            let jitter = self.caller.ground.random() as u32;
            let again = tries.again(&failure, jitter, retries);
            match (&failure, again) {
                (Failure::Stale, Some(_)) => unspent = Some(charged.for_another_attempt()),
                _ if failure.is_unsent() => {
                    charged.end_unsent(failure.call_result(), self.caller.ground.now(), jitter);
                }
                _ => charged.end(failure.call_result(), self.caller.ground.now(), jitter),
            }
            failed = Some((failure, provider));
            let Some(Again { step: next, pause }) = again else { break };
            step = next;
            if !pause.is_zero() {
                monoio::time::sleep(pause).await;
            }
        }
        Fetched::Substitute(match (failed, denied) {
            (Some((failure, provider)), _) => self.substitute(failure, provider, record),
            (None, Some(refusal)) => {
                // No provider was asked, so the request does not count in its user's window.
                record.leave_window();
                Substitute::Refused(refusal)
            }
            (None, None) => Substitute::CallerLeft,
        })
    }

    /// What the caller gets after a failure that is not followed by another attempt.
    pub(crate) fn substitute(&self, failure: Failure, provider: &Provider, record: &mut Record<'_>) -> Substitute {
        match failure.refusal(provider) {
            Some(refusal) => Substitute::Refused(refusal),
            None => {
                // The provider had the request when the caller left, so its prompt counts as used.
                record.set_usage(Usage::estimated(self.outgoing.body_bytes, 0));
                Substitute::CallerLeft
            }
        }
    }
}

/// Picks the refusal to report when every provider was denied. A used-up limit wins over an open circuit breaker, because it
/// says when to come back.
fn more_helpful(before: Option<Refusal>, refusal: Refusal) -> Refusal {
    match (before, refusal) {
        (Some(before), Refusal::CircuitOpen { .. }) => before,
        (Some(before @ Refusal::RateLimited { .. }), _) => before,
        (_, refusal) => refusal,
    }
}

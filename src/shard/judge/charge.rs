//! Decides whether a provider may be asked now, by its circuit breaker and its rate limit. Synchronous: it reads and writes
//! one atomic word of each, which all shards share. It stands behind the cache, so that a hit is never refused for a
//! provider's sake.

use crate::breaker::{CallResult, Permit};
use crate::clock::Now;
use crate::limit::LimitCharge;
use crate::plan::Provider;
use crate::shard::answer::refusal::Refusal;
use crate::shared::Shared;

/// Evidence that a provider may be asked once: only [`charge`] makes one, and an attempt takes nothing else.
pub(crate) struct Charged<'p> {
    provider: &'p Provider,
    permit: Permit<'p>,
    /// Absent if the provider has no limit, or may have seen the request already.
    limit_charge: Option<LimitCharge<'p>>,
}

/// Charges one attempt to its provider's limit.
pub(crate) fn charge<'p>(provider: &'p Provider, shared: &'p Shared, now: Now) -> Result<Charged<'p>, Refusal> {
    // The breaker comes first: a token taken for a provider that is then not asked would be lost.
    let permit = shared
        .breaker(provider.breaker)
        .ask(&provider.breaker_rules, now)
        .map_err(|open| Refusal::CircuitOpen { provider: provider.name.clone(), retry_after: open.retry_after })?;
    let limit_charge = match provider.limit {
        // If the limit refuses, dropping the permit leaves a probe to the next request.
        Some(limit) => Some(
            shared
                .limit(limit.id)
                .charge(now)
                .map_err(|limited| Refusal::RateLimited { provider: provider.name.clone(), limited })?,
        ),
        None => None,
    };
    Ok(Charged { provider, permit, limit_charge })
}

impl<'p> Charged<'p> {
    pub(crate) fn provider(&self) -> &'p Provider {
        self.provider
    }

    /// Keeps the evidence for another attempt after one in which the provider may have seen the request. So the charge cannot be
    /// given back any more, whatever becomes of the other attempt.
    pub(crate) fn for_another_attempt(self) -> Charged<'p> {
        Charged { limit_charge: None, ..self }
    }

    /// Reports to the circuit breaker how the attempt ended. `jitter` is random.
    pub(crate) fn end(self, result: CallResult, now: Now, jitter: u32) {
        self.permit.end(result, now, jitter);
    }

    /// Like [`Charged::end`], and gives the charge back: for an attempt in which no byte of the request left luner. `now` must be
    /// a fresh reading of the clock.
    pub(crate) fn end_unsent(self, result: CallResult, now: Now, jitter: u32) {
        self.permit.end(result, now, jitter);
        if let Some(charge) = self.limit_charge {
            charge.give_back(now);
        }
    }
}

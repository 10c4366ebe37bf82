//! Decides whether a provider may be asked now, by its circuit breaker and its rate limit. Synchronous: it reads and writes
//! one atomic word of each, which all shards share. It stands behind the cache, so that a hit is never refused for a
//! provider's sake.

use crate::breaker::{Permit, Verdict};
use crate::clock::Now;
use crate::plan::Provider;
use crate::shard::answer::refusal::Refusal;

/// Evidence that a provider may be asked once: only [`charge`] makes one, and an attempt takes nothing else.
pub(crate) struct Charged<'p> {
    provider: &'p Provider,
    permit: Permit,
}

/// Charges one attempt to its provider's limit.
pub(crate) fn charge(provider: &Provider, now: Now) -> Result<Charged<'_>, Refusal> {
    let state = &provider.state;
    // The breaker comes first: a token taken for a provider that is then not asked would be lost.
    let permit = state.breaker.ask(now).map_err(|refused| Refusal::CircuitOpen {
        provider: provider.name.clone(),
        retry_after: refused.retry_after,
    })?;
    if let Some(limit) = &state.limit {
        // If the limit refuses, dropping the permit leaves a probe to the next request.
        let _: crate::limit::Charged =
            limit.try_take(now).map_err(|limited| Refusal::RateLimited { provider: provider.name.clone(), limited })?;
    }
    Ok(Charged { provider, permit })
}

impl<'p> Charged<'p> {
    pub(crate) fn provider(&self) -> &'p Provider {
        self.provider
    }

    /// Reports how the attempt ended to the circuit breaker. `jitter` is random.
    pub(crate) fn end(self, verdict: Verdict, now: Now, jitter: u32) {
        self.permit.end(&self.provider.state.breaker, verdict, now, jitter);
    }
}

//! The provider's side of a request: connections, attempts, answers. Runs in the task of the caller's connection. It takes
//! only requests that were admitted, and ends each in exactly one accounted outcome.

// Why an attempt failed.
mod failure;

// Whether and where to try again.
mod retry;

// Idle connections.
mod pool;

// New connections: addresses, TCP, TLS.
mod connect;

// Answers that somebody else fetches or waits for.
mod flight;

// One request on its way to a provider and back.
mod exchange;

// One attempt, up to the head of the answer.
mod attempt;

// The body of an answer while it arrives.
mod incoming;

// What becomes of the body on its way to the caller.
mod passage;

// Attempt after attempt, until an answer begins.
mod fetch;

// The one body pump.
mod body;

use super::caller::Turn;
use super::judge::flow::Exchange;
use super::judge::record::{End, Record};

pub(crate) use connect::Addresses;
use exchange::Passed;
pub(crate) use exchange::{ProviderExchange, Upstream};
use fetch::Fetched;
pub(crate) use flight::CacheNode;
pub(crate) use pool::Pools;

impl<'p> Exchange<'p> for ProviderExchange<'_, 'p> {
    type Fetched = Fetched;
    type Passed = Passed;
    type Turn = Turn;

    async fn fetch(&mut self, record: &mut Record<'p>) -> Fetched {
        match self.fetch_from_cache(record).await {
            Some(substitute) => Fetched::Substitute(substitute),
            None => self.fetch_from_providers(record).await,
        }
    }

    async fn pass_on(&mut self, fetched: Fetched, record: &mut Record<'p>) -> Passed {
        match fetched {
            Fetched::Opened(opened) => self.pass_body(opened, record).await,
            Fetched::Substitute(substitute) => self.lay_out(substitute, record),
        }
    }

    fn account(&mut self, record: Record<'p>, passed: &Passed) {
        let end = End { now: self.caller.ground.now(), status: passed.status, refusal: passed.refusal.as_ref() };
        self.caller.accounting.settle(record, end);
    }

    async fn finish(self, passed: Passed) -> Turn {
        let stall = self.plan.write_timeout;
        let sent = match self.caller.out.is_empty() {
            true => Ok(()),
            false => self.caller.flush_from(passed.from, stall).await,
        };
        let mut request = self.outgoing.bytes;
        request.clear();
        if request.capacity() <= SPARE_BYTES_MAX {
            self.caller.spare = request;
        }
        sent.map_or(Turn::Close, |()| passed.then)
    }
}

/// A connection keeps a request buffer up to this size for its next request. Arbitrary.
const SPARE_BYTES_MAX: usize = 64 * 1024;

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

use std::rc::Rc;

use super::answer::head::Frame;
use super::answer::refusal::Refusal;
use super::answer::respond;
use super::caller::{Caller, Turn};
use super::judge::flow::Exchange;
use super::judge::outgoing::Outgoing;
use super::judge::record::{CALLER_LEFT, End, Record};
use crate::plan::Plan;

pub(crate) use connect::Addresses;
use fetch::{Fetched, Substitute};
pub(crate) use flight::CacheNode;
use flight::Lead;
pub(crate) use pool::Pools;

/// What a shard needs to ask providers.
pub(crate) struct Upstream {
    pub(crate) pools: Pools,
    pub(crate) addresses: Addresses,
    pub(crate) cache: Rc<CacheNode>,
}

/// One request on its way to a provider and back.
pub(crate) struct ProviderExchange<'a, 'p> {
    upstream: &'a Upstream,
    caller: &'a mut Caller,
    outgoing: Box<Outgoing<'p>>,
    /// The frame that the request asks for.
    frame: Frame,
    plan: &'p Plan,
    /// Set while others wait for the answer.
    lead: Option<Lead>,
}

/// How a request ended. The last bytes of its answer are in `Caller::out`.
pub(crate) struct Passed {
    status: u16,
    refusal: Option<Refusal>,
    /// Offset in `Caller::out` from which to send.
    from: usize,
    /// What happens to the connection once they are sent.
    then: Turn,
}

impl<'a, 'p> ProviderExchange<'a, 'p> {
    pub(crate) fn new(
        upstream: &'a Upstream,
        caller: &'a mut Caller,
        outgoing: Box<Outgoing<'p>>,
        frame: Frame,
        plan: &'p Plan,
    ) -> ProviderExchange<'a, 'p> {
        ProviderExchange { upstream, caller, outgoing, frame, plan, lead: None }
    }

    /// Lays out what the caller gets instead of a provider's answer.
    fn lay_out(&mut self, substitute: Substitute, record: &mut Record<'p>) -> Passed {
        match substitute {
            Substitute::Cached(entry) => {
                let (date, out) = (self.caller.ground.date(), &mut self.caller.out);
                out.clear();
                respond::hit(&entry, &self.outgoing.labels(), &self.frame, &date, out);
                record.set_cache_hit(&entry);
                // The wait for somebody else's fetch is not the gateway's overhead.
                record.decided = None;
                let then = if self.frame.keep_alive { Turn::Next } else { Turn::Linger };
                Passed { status: 200, refusal: None, from: 0, then }
            }
            Substitute::Refused(refusal) => {
                if let Some(lead) = self.lead.take() {
                    lead.failed();
                }
                let frame = self.caller.lay_out_refusal(&refusal, &self.frame);
                let then = if frame.keep_alive { Turn::Next } else { Turn::Linger };
                Passed { status: refusal.row().status, refusal: Some(refusal), from: 0, then }
            }
            Substitute::CallerLeft => {
                self.caller.out.clear();
                record.cut = Some("caller left before the answer");
                Passed { status: CALLER_LEFT, refusal: None, from: 0, then: Turn::Close }
            }
        }
    }
}

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

//! One request on its way to a provider and back: what every step of it works on. Owned by the task of the caller's
//! connection.

use std::rc::Rc;
use std::sync::Arc;

use super::connect::Addresses;
use super::flight::{CacheNode, Lead};
use super::pool::Pools;
use crate::cache::CachedAnswer;
use crate::plan::Plan;
use crate::shard::answer::head::Frame;
use crate::shard::answer::refusal::Refusal;
use crate::shard::answer::respond;
use crate::shard::caller::{Caller, Turn};
use crate::shard::judge::outgoing::Outgoing;
use crate::shard::judge::record::{CALLER_LEFT, Record};
use crate::shared::Shared;

/// What a shard needs to ask providers.
pub(crate) struct Upstream {
    pub(crate) pools: Pools,
    pub(crate) addresses: Addresses,
    pub(crate) cache: Rc<CacheNode>,
    /// Has the providers' breakers and rate limits.
    pub(crate) shared: Arc<Shared>,
}

/// One request on its way to a provider and back.
pub(crate) struct ProviderExchange<'a, 'p> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) caller: &'a mut Caller,
    pub(crate) outgoing: Box<Outgoing<'p>>,
    /// The frame that the request asks for.
    pub(crate) frame: Frame,
    pub(crate) plan: &'p Plan,
    /// Set while others wait for the answer.
    pub(crate) lead: Option<Lead>,
}

/// What the caller gets instead of a provider's answer.
pub(crate) enum Substitute {
    /// Somebody else fetched the answer.
    Cached(Arc<CachedAnswer>),
    /// No provider could be asked, or none gave an answer.
    Refused(Refusal),
    /// The caller left.
    CallerLeft,
}

/// How a request ended. The last bytes of its answer are in `Caller::out`.
pub(crate) struct Passed {
    pub(crate) status: u16,
    pub(crate) refusal: Option<Refusal>,
    /// Offset in `Caller::out` from which to send.
    pub(crate) from: usize,
    /// What happens to the connection once they are sent.
    pub(crate) then: Turn,
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
    pub(crate) fn lay_out(&mut self, substitute: Substitute, record: &mut Record<'p>) -> Passed {
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

//! One shard's part of the cache: the keys that it owns, and its front of hot keys that other shards own. Synchronous and
//! pure: a hit is found here and never leaves the core. `upstream::flight` asks other shards and sends what they are told.

use std::num::NonZeroUsize;

use super::admit::Admitted;
use crate::cache::control::Directives;
use crate::cache::{
    After, Answer, Asked, CachedAnswer, Evictions, FRONT_LIMITS, Front, HashKey, Key, Keys, Owner, Role, Store, Ticket,
    is_cacheable,
};
use crate::clock::Now;
use crate::config::CacheScope;
use crate::http::head::{KnownHeader, RequestHead};
use crate::link::{CacheMessage, CacheReply};
use crate::plan::{CachePlan, Plan};

/// Where a shard that asked for a key waits for replies.
type Asker = flume::Sender<CacheReply>;

/// One shard's part of the cache.
pub(crate) struct Cache {
    /// This shard's index.
    pub(crate) shard: usize,
    pub(crate) shards: NonZeroUsize,
    keys: Keys,
    owner: Owner<Asker>,
    /// Copies of hot answers that other shards own.
    pub(crate) front: Front,
    /// The plan whose limits are in force.
    plan: CachePlan,
    evictions_reported: Evictions,
}

/// The cache key of a request that missed.
#[derive(Clone, Copy)]
pub(crate) struct CacheMiss {
    pub(crate) key: Key,
    /// The caller accepts an answer that was given before.
    pub(crate) accepts_cached: bool,
}

/// The result of a look-up on this shard.
pub(crate) enum Lookup<'c> {
    Hit(&'c CachedAnswer),
    Miss(CacheMiss),
    /// The request is not eligible for caching.
    Bypass,
}

impl Cache {
    /// The part of shard number `shard` of `shards`. All shards of a process need the same secret.
    pub(crate) fn new(shard: usize, shards: usize, secret: HashKey, plan: CachePlan) -> Cache {
        let shards = NonZeroUsize::new(shards).unwrap_or(NonZeroUsize::MIN);
        Cache {
            shard,
            shards,
            keys: Keys::new(secret),
            owner: Owner::new(Store::new(plan.limits.share(shard, shards))),
            front: Front::new(FRONT_LIMITS),
            plan,
            evictions_reported: Evictions::default(),
        }
    }

    /// Looks for the answer on this shard.
    pub(crate) fn look_up(
        &mut self,
        admitted: &Admitted<'_, '_>,
        head: &RequestHead<'_>,
        plan: &Plan,
        now: Now,
    ) -> Lookup<'_> {
        let request = &admitted.routed.request;
        if !plan.cache.enabled || !is_cacheable(&request.facts) {
            return Lookup::Bypass;
        }
        let mut directives = Directives::default();
        head.headers().filter(|it| it.known == KnownHeader::CacheControl).for_each(|it| directives.read(it.value));
        if !directives.may_store() {
            return Lookup::Bypass;
        }
        let asked = Asked {
            shared_within: match plan.cache.scope {
                CacheScope::Tenant => Some(request.who.tenant),
                CacheScope::Global => None,
            },
            operation: request.operation,
            model: admitted.routed.model_name(),
            body: request.body,
            depth_max: plan.fact_limits.depth,
        };
        let Some(key) = self.keys.key(&asked) else { return Lookup::Bypass };
        let miss = CacheMiss { key, accepts_cached: directives.may_answer() };
        if !miss.accepts_cached {
            return Lookup::Miss(miss);
        }
        let entry = match self.owner_of(key) == self.shard {
            true => self.owner.store.find(key, now),
            false => self.front.find(key, now),
        };
        entry.map_or(Lookup::Miss(miss), |entry| Lookup::Hit(entry))
    }

    /// The shard that owns a key.
    pub(crate) fn owner_of(&self, key: Key) -> usize {
        key.owner(self.shards)
    }

    /// Does what a message asks of this shard as the owner of a key.
    pub(crate) fn handle(&mut self, message: CacheMessage, now: Now) {
        match message {
            CacheMessage::Ask { key, reply } => {
                let told = match self.owner.ask(key, reply.clone(), now) {
                    Answer::Hit(entry) => CacheReply::Hit(entry.clone()),
                    Answer::Miss(Role::Lead(ticket)) => return self.appoint(Some((reply, ticket)), now),
                    Answer::Miss(Role::Wait(ticket)) => CacheReply::Wait(ticket),
                    Answer::Miss(Role::Alone) => CacheReply::Alone,
                };
                // An asker that has left does not read the reply; one that waits announces that itself.
                let _ = reply.try_send(told);
            }
            CacheMessage::Landed { ticket, entry } => {
                let waiting = self.owner.landed(ticket, &entry, now);
                waiting.iter().for_each(|asker| drop(asker.try_send(CacheReply::Hit(entry.clone()))));
            }
            CacheMessage::Unshared { ticket } => release(&self.owner.unshared(ticket)),
            CacheMessage::Failed { ticket } => match self.owner.failed(ticket, now) {
                After::Leads(asker, ticket) => self.appoint(Some((asker, ticket)), now),
                After::Released(waiting) => release(&waiting),
                After::Nobody => {}
            },
            CacheMessage::Gone { ticket } => {
                let next = self.owner.gone(ticket, now);
                self.appoint(next, now);
            }
            CacheMessage::Store { entry } => _ = self.owner.store.insert(&entry, now),
        }
    }

    /// Tells an asker that it leads the flight now. If it has left, the next one leads.
    fn appoint(&mut self, mut leader: Option<(Asker, Ticket)>, now: Now) {
        while let Some((asker, ticket)) = leader {
            if asker.try_send(CacheReply::Lead(ticket)).is_ok() {
                return;
            }
            leader = self.owner.gone(ticket, now);
        }
    }

    /// Called once per sweep of the shard: drops expired answers in small steps and applies the plan's limits.
    pub(crate) fn sweep(&mut self, plan: &Plan, now: Now) {
        if plan.cache != self.plan {
            self.plan = plan.cache;
            self.owner.store.set_limits(plan.cache.limits.share(self.shard, self.shards), now);
        }
        self.owner.store.sweep(now);
        self.front.sweep(now);
    }

    /// Evictions since the last call.
    pub(crate) fn take_evictions(&mut self) -> Evictions {
        let (now, reported) = (self.owner.store.evictions(), self.evictions_reported);
        self.evictions_reported = now;
        Evictions { ttl: now.ttl - reported.ttl, capacity: now.capacity - reported.capacity }
    }

    /// Answers that this shard owns.
    pub(crate) fn len(&self) -> usize {
        self.owner.store.len()
    }
}

/// Tells everyone who waits to fetch the answer on their own.
fn release(waiting: &[Asker]) {
    waiting.iter().for_each(|asker| drop(asker.try_send(CacheReply::Alone)));
}

//! A shard's part of the cache: the keys that it owns, its front to those of others, and the questions between shards. A
//! hit is found synchronously and never leaves its core; only a miss asks the owner, and its task alone waits for the word.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::control::Directives;
use crate::cache::{
    After, Answer, Asked, Entry, Evictions, FRONT_LIMITS, Front, HashKey, Key, Keys, Owner, Role, Scope, Store, Ticket,
    is_cacheable,
};
use crate::clock::Now;
use crate::config::CacheScope;
use crate::http::head::{KnownHeader, RequestHead};
use crate::link::{CacheMessage, CachePeers, Told};
use crate::plan::{CachePlan, Plan};
use crate::shard::Shard;
use crate::shard::conn::Conn;
use crate::shard::judge::admit::Admitted;

/// How often one who waits looks whether its caller is still there. Arbitrary.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where an asker waits.
type Asker = flume::Sender<Told>;

/// One shard's part of the cache.
pub(crate) struct Cache {
    shard: usize,
    shards: NonZeroUsize,
    keys: Keys,
    owner: Owner<Asker>,
    front: Front,
    peers: Arc<[flume::Sender<CacheMessage>]>,
    /// Whose limits are in force.
    plan: CachePlan,
    evictions_told: Evictions,
}

/// A request whose answer may be cached.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    key: Key,
    /// The caller takes an answer that was given before.
    may_answer: bool,
}

/// What the cache has for a request.
pub(crate) enum Found<'c> {
    Hit(&'c Entry),
    /// Nothing on this shard.
    Miss(Asking),
    /// The request has nothing to do with the cache.
    Bypass,
}

impl Cache {
    /// One of the process's `shards`; all of them need the same secret.
    pub(crate) fn new(shard: usize, shards: usize, key: HashKey, peers: &CachePeers, plan: CachePlan) -> Cache {
        let shards = NonZeroUsize::new(shards).unwrap_or(NonZeroUsize::MIN);
        Cache {
            shard,
            shards,
            keys: Keys::new(key),
            owner: Owner::new(Store::new(plan.limits.share(shard, shards))),
            front: Front::new(FRONT_LIMITS),
            peers: peers.senders.clone(),
            plan,
            evictions_told: Evictions::default(),
        }
    }

    /// Looks for the answer on this shard.
    pub(crate) fn find(
        &mut self,
        admitted: &Admitted<'_, '_>,
        head: &RequestHead<'_>,
        plan: &Plan,
        now: Now,
    ) -> Found<'_> {
        let known = &admitted.routed.known;
        if !plan.cache.enabled || !is_cacheable(&known.facts) {
            return Found::Bypass;
        }
        let mut directives = Directives::default();
        head.headers().filter(|it| it.known == KnownHeader::CacheControl).for_each(|it| directives.read(it.value));
        if !directives.may_store() {
            return Found::Bypass;
        }
        let asked = Asked {
            scope: match plan.cache.scope {
                CacheScope::Tenant => Scope::Tenant(known.who.tenant),
                CacheScope::Global => Scope::Global,
            },
            operation: known.operation,
            model: admitted.routed.model_name(),
            body: known.body,
            depth_max: plan.fact_limits.depth,
        };
        let Some(key) = self.keys.key(&asked) else { return Found::Bypass };
        let asking = Asking { key, may_answer: directives.may_answer() };
        if !asking.may_answer {
            return Found::Miss(asking);
        }
        let entry = match key.owner(self.shards) == self.shard {
            true => self.owner.store.find(key, now),
            false => self.front.find(key, now),
        };
        entry.map_or(Found::Miss(asking), |entry| Found::Hit(entry))
    }

    /// Does what a message asks of this shard as an owner.
    fn follow(&mut self, message: CacheMessage, now: Now) {
        match message {
            CacheMessage::Ask { key, reply } => {
                let told = match self.owner.ask(key, reply.clone(), now) {
                    Answer::Hit(entry) => Told::Hit(entry.clone()),
                    Answer::Miss(Role::Lead(ticket)) => return self.tell_leader(Some((reply, ticket)), now),
                    Answer::Miss(Role::Wait(ticket)) => Told::Wait(ticket),
                    Answer::Miss(Role::Alone) => Told::Alone,
                };
                // Who left does not read it; one that waits says so itself.
                let _ = reply.try_send(told);
            }
            CacheMessage::Landed { ticket, entry } => {
                let waiting = self.owner.landed(ticket, &entry, now);
                waiting.iter().for_each(|asker| drop(asker.try_send(Told::Hit(entry.clone()))));
            }
            CacheMessage::Unshared { ticket } => release(&self.owner.unshared(ticket)),
            CacheMessage::Failed { ticket } => match self.owner.failed(ticket, now) {
                After::Leads(asker, ticket) => self.tell_leader(Some((asker, ticket)), now),
                After::Released(waiting) => release(&waiting),
                After::Nobody => {}
            },
            CacheMessage::Gone { ticket } => {
                let next = self.owner.gone(ticket, now);
                self.tell_leader(next, now);
            }
            CacheMessage::Store { entry } => _ = self.owner.store.insert(&entry, now),
        }
    }

    /// Tells whoever leads now, or the next one where that one has left.
    fn tell_leader(&mut self, mut leader: Option<(Asker, Ticket)>, now: Now) {
        while let Some((asker, ticket)) = leader {
            if asker.try_send(Told::Lead(ticket)).is_ok() {
                return;
            }
            leader = self.owner.gone(ticket, now);
        }
    }

    /// For the shard's tick: forgets what is over, in small steps, and keeps to the plan's limits.
    pub(crate) fn sweep(&mut self, plan: &Plan, now: Now) {
        if plan.cache != self.plan {
            self.plan = plan.cache;
            self.owner.store.set_limits(plan.cache.limits.share(self.shard, self.shards), now);
        }
        self.owner.store.sweep(now);
        self.front.sweep(now);
    }

    /// Entries that left since this was last asked.
    pub(crate) fn evicted(&mut self) -> Evictions {
        let (now, told) = (self.owner.store.evictions(), self.evictions_told);
        self.evictions_told = now;
        Evictions { ttl: now.ttl - told.ttl, capacity: now.capacity - told.capacity }
    }

    /// Entries that this shard owns.
    pub(crate) fn len(&self) -> usize {
        self.owner.store.len()
    }
}

fn release(waiting: &[Asker]) {
    waiting.iter().for_each(|asker| drop(asker.try_send(Told::Alone)));
}

/// Follows what other shards ask, for as long as the process runs.
pub(crate) async fn serve(shard: Rc<Shard>, inbox: flume::Receiver<CacheMessage>) {
    while let Ok(message) = inbox.recv_async().await {
        let now = shard.now();
        shard.cache.borrow_mut().follow(message, now);
    }
}

/// What came of asking.
pub(crate) enum Outcome {
    Hit(Arc<Entry>),
    /// Fetch it, and say how that ended.
    Lead(Lead),
    /// Fetch it for this caller alone.
    Alone,
    /// The one who fetches takes longer than this caller's provider may.
    Late,
    /// The caller left.
    Left,
}

/// Asks the owner of a key that this shard missed, and waits while somebody else fetches the answer.
pub(crate) async fn ask(conn: &Conn, asking: Asking, patience: Duration) -> Outcome {
    if !asking.may_answer {
        return Outcome::Alone;
    }
    let shard = &conn.shard;
    let owner = asking.key.owner(shard.cache.borrow().shards);
    // At most two words come.
    let (reply, told) = flume::bounded(2);
    if !shard.try_tell(owner, CacheMessage::Ask { key: asking.key, reply }) {
        return Outcome::Alone;
    }
    let (asked_at, mut seat) = (shard.now(), None);
    loop {
        match monoio::time::timeout(LOOK_AGAIN, told.recv_async()).await {
            Ok(Ok(Told::Hit(entry))) => {
                let mut cache = shard.cache.borrow_mut();
                if owner != cache.shard {
                    cache.front.keep(entry.clone(), shard.now());
                }
                return Outcome::Hit(entry);
            }
            Ok(Ok(Told::Lead(ticket))) => {
                return Outcome::Lead(Lead { shard: shard.clone(), owner, ticket: Some(ticket) });
            }
            Ok(Ok(Told::Wait(ticket))) => seat = Some(ticket),
            Ok(Ok(Told::Alone) | Err(_)) => return Outcome::Alone,
            Err(_) => {}
        }
        let left = conn.wire.peer_has_closed();
        if left || shard.now().since(asked_at) > patience {
            give_up(shard, owner, seat, told);
            return if left { Outcome::Left } else { Outcome::Late };
        }
    }
}

/// Leaves the queue. Where the owner's first word has not come yet, somebody has to stay and hear it.
fn give_up(shard: &Rc<Shard>, owner: usize, seat: Option<Ticket>, told: flume::Receiver<Told>) {
    let shard = shard.clone();
    match seat {
        Some(ticket) => shard.tell(owner, CacheMessage::Gone { ticket }),
        None => {
            _ = monoio::spawn(async move {
                if let Ok(Told::Lead(ticket) | Told::Wait(ticket)) = told.recv_async().await {
                    shard.tell(owner, CacheMessage::Gone { ticket });
                }
            })
        }
    }
}

impl Shard {
    /// Sends a message that may be lost without harm; false where there is no room for it.
    fn try_tell(&self, owner: usize, message: CacheMessage) -> bool {
        let mut cache = self.cache.borrow_mut();
        if owner == cache.shard {
            cache.follow(message, self.now());
            return true;
        }
        cache.peers.get(owner).is_some_and(|peer| peer.try_send(message).is_ok())
    }

    /// Sends a message that others wait for. Where there is no room a task of its own waits for it.
    fn tell(&self, owner: usize, message: CacheMessage) {
        let mut cache = self.cache.borrow_mut();
        if owner == cache.shard {
            return cache.follow(message, self.now());
        }
        let Some(peer) = cache.peers.get(owner) else { return };
        if let Err(flume::TrySendError::Full(message)) = peer.try_send(message) {
            let peer = peer.clone();
            monoio::spawn(async move { drop(peer.send_async(message).await) });
        }
    }

    /// Hands over an answer that was fetched outside of any flight.
    pub(crate) fn store(&self, asking: Asking, entry: Arc<Entry>) {
        let owner = asking.key.owner(self.cache.borrow().shards);
        self.tell(owner, CacheMessage::Store { entry });
    }
}

impl Asking {
    /// What the answer is stored under.
    pub(crate) fn key(self) -> Key {
        self.key
    }
}

/// The right and the duty to fetch an answer that others wait for. Dropped, it says that its caller left, and the next one
/// fetches.
pub(crate) struct Lead {
    shard: Rc<Shard>,
    owner: usize,
    ticket: Option<Ticket>,
}

impl Lead {
    /// Here is the answer, for all who wait.
    pub(crate) fn landed(self, entry: Arc<Entry>) {
        self.end(|ticket| CacheMessage::Landed { ticket, entry });
    }

    /// There is one, but not for others.
    pub(crate) fn unshared(self) {
        self.end(|ticket| CacheMessage::Unshared { ticket });
    }

    /// There is none.
    pub(crate) fn failed(self) {
        self.end(|ticket| CacheMessage::Failed { ticket });
    }

    fn end(mut self, message: impl FnOnce(Ticket) -> CacheMessage) {
        if let Some(ticket) = self.ticket.take() {
            self.shard.tell(self.owner, message(ticket));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shard.tell(self.owner, CacheMessage::Gone { ticket });
        }
    }
}

//! Between a request that missed the cache and the answer that somebody else fetches or holds. Runs in the task of the
//! caller's connection; only that task waits. Other shards are asked through bounded channels.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{CachedAnswer, Ticket};
use crate::http::wire::Wire;
use crate::link::{CacheMessage, CachePeers, CacheReply};
use crate::shard::ground::Ground;
use crate::shard::judge::cache::{Cache, CacheMiss};

/// How often a waiting request checks whether its caller is still there. Arbitrary.
const CALLER_POLL: Duration = Duration::from_millis(50);

/// This shard's part of the cache, with the channels to the others.
pub(crate) struct CacheNode {
    pub(crate) cache: RefCell<Cache>,
    peers: Arc<[flume::Sender<CacheMessage>]>,
    ground: Rc<Ground>,
}

/// What came of asking the owner of a key.
pub(crate) enum FlightOutcome {
    Hit(Arc<CachedAnswer>),
    /// Fetch the answer, and say how that ended.
    Lead(Lead),
    /// Fetch the answer for this caller only.
    Alone,
    /// Somebody else's fetch takes longer than this caller's provider may.
    TimedOut,
    CallerLeft,
}

impl CacheNode {
    pub(crate) fn new(cache: Cache, peers: &CachePeers, ground: Rc<Ground>) -> CacheNode {
        CacheNode { cache: RefCell::new(cache), peers: peers.senders.clone(), ground }
    }

    /// Answers what other shards ask, for as long as the process runs.
    pub(crate) async fn serve(self: Rc<Self>, inbox: flume::Receiver<CacheMessage>) {
        while let Ok(message) = inbox.recv_async().await {
            self.cache.borrow_mut().handle(message, self.ground.now());
        }
    }

    /// Asks the owner of a key that this shard missed, and waits while somebody else fetches the answer.
    pub(crate) async fn ask(self: &Rc<Self>, miss: CacheMiss, caller: &Wire, patience: Duration) -> FlightOutcome {
        if !miss.accepts_cached {
            return FlightOutcome::Alone;
        }
        let owner = self.cache.borrow().owner_of(miss.key);
        // At most two replies come: one at once, and one when the wait is over.
        let (reply, replies) = flume::bounded(2);
        if !self.try_send(owner, CacheMessage::Ask { key: miss.key, reply }) {
            return FlightOutcome::Alone;
        }
        let (asked_at, mut ticket) = (self.ground.now(), None);
        loop {
            match monoio::time::timeout(CALLER_POLL, replies.recv_async()).await {
                Ok(Ok(CacheReply::Hit(entry))) => {
                    let mut cache = self.cache.borrow_mut();
                    if owner != cache.shard {
                        cache.front.keep(entry.clone(), self.ground.now());
                    }
                    return FlightOutcome::Hit(entry);
                }
                Ok(Ok(CacheReply::Lead(ticket))) => {
                    return FlightOutcome::Lead(Lead { node: self.clone(), owner, ticket: Some(ticket) });
                }
                Ok(Ok(CacheReply::Wait(waiting))) => ticket = Some(waiting),
                Ok(Ok(CacheReply::Alone) | Err(_)) => return FlightOutcome::Alone,
                Err(_) => {}
            }
            let left = caller.peer_has_closed();
            if left || self.ground.now().since(asked_at) > patience {
                self.give_up(owner, ticket, replies);
                return if left { FlightOutcome::CallerLeft } else { FlightOutcome::TimedOut };
            }
        }
    }

    /// Leaves the queue. Without a ticket the owner's first reply is still to come, and a task must stay to receive it.
    fn give_up(self: &Rc<Self>, owner: usize, ticket: Option<Ticket>, replies: flume::Receiver<CacheReply>) {
        match ticket {
            Some(ticket) => self.send(owner, CacheMessage::Gone { ticket }),
            None => {
                let node = self.clone();
                monoio::spawn(async move {
                    if let Ok(CacheReply::Lead(ticket) | CacheReply::Wait(ticket)) = replies.recv_async().await {
                        node.send(owner, CacheMessage::Gone { ticket });
                    }
                });
            }
        }
    }

    /// Sends a message that may be lost without harm. Returns false if the channel is full.
    fn try_send(&self, owner: usize, message: CacheMessage) -> bool {
        let mut cache = self.cache.borrow_mut();
        if owner == cache.shard {
            cache.handle(message, self.ground.now());
            return true;
        }
        self.peers.get(owner).is_some_and(|peer| peer.try_send(message).is_ok())
    }

    /// Sends a message that others wait for. If the channel is full, a task of its own waits for room.
    fn send(&self, owner: usize, message: CacheMessage) {
        let mut cache = self.cache.borrow_mut();
        if owner == cache.shard {
            return cache.handle(message, self.ground.now());
        }
        let Some(peer) = self.peers.get(owner) else { return };
        if let Err(flume::TrySendError::Full(message)) = peer.try_send(message) {
            let peer = peer.clone();
            monoio::spawn(async move { drop(peer.send_async(message).await) });
        }
    }

    /// Hands an answer that was fetched outside of any flight to the owner of its key.
    pub(crate) fn store(&self, miss: CacheMiss, entry: Arc<CachedAnswer>) {
        let owner = self.cache.borrow().owner_of(miss.key);
        self.send(owner, CacheMessage::Store { entry });
    }
}

/// The right and the duty to fetch an answer that others wait for. When dropped, it reports that its caller left, and the
/// next one in the queue fetches.
pub(crate) struct Lead {
    node: Rc<CacheNode>,
    owner: usize,
    ticket: Option<Ticket>,
}

impl Lead {
    /// Gives the answer to everyone who waits.
    pub(crate) fn landed(self, entry: Arc<CachedAnswer>) {
        self.end(|ticket| CacheMessage::Landed { ticket, entry });
    }

    /// Tells the waiters that this answer cannot be shared.
    pub(crate) fn unshared(self) {
        self.end(|ticket| CacheMessage::Unshared { ticket });
    }

    /// Tells the waiters that there is no answer.
    pub(crate) fn failed(self) {
        self.end(|ticket| CacheMessage::Failed { ticket });
    }

    fn end(mut self, message: impl FnOnce(Ticket) -> CacheMessage) {
        if let Some(ticket) = self.ticket.take() {
            self.node.send(self.owner, message(ticket));
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.node.send(self.owner, CacheMessage::Gone { ticket });
        }
    }
}

//! Questions about cached answers, which shards send to the shard that owns a key, and its replies. Shards send each other no
//! other messages. Sending never waits: a shard that finds the channel full goes without the cache.

use std::sync::Arc;

use crate::cache::{CachedAnswer, Key, Ticket};

/// Most messages that may wait for one shard. Arbitrary: an owner handles hundreds of thousands a second.
const MESSAGES_MAX: usize = 4096;

/// A message to the owner of a key.
#[derive(Debug)]
pub enum CacheMessage {
    /// Asks who holds or fetches this answer. The owner replies once, and once more after [`CacheReply::Wait`].
    Ask { key: Key, reply: flume::Sender<CacheReply> },
    /// The fetching shard has an answer that may be shared.
    Landed { ticket: Ticket, entry: Arc<CachedAnswer> },
    /// The fetching shard has an answer that may not be shared.
    Unshared { ticket: Ticket },
    /// The fetching shard has no answer.
    Failed { ticket: Ticket },
    /// A shard that was to wait or to fetch does so no longer.
    Gone { ticket: Ticket },
    /// Stores an answer that was fetched outside a flight.
    Store { entry: Arc<CachedAnswer> },
}

/// The owner's reply to [`CacheMessage::Ask`].
#[derive(Clone, Debug)]
pub enum CacheReply {
    /// The cached answer.
    Hit(Arc<CachedAnswer>),
    /// The asking shard fetches the answer, and reports how that ended.
    Lead(Ticket),
    /// Another request fetches the answer; a second reply will follow.
    Wait(Ticket),
    /// The asking shard fetches the answer for itself only.
    Alone,
}

/// A shard's channels to the other shards, and theirs to it.
pub struct CachePeers {
    /// Senders by shard, its own included.
    pub senders: Arc<[flume::Sender<CacheMessage>]>,
    /// Messages from the other shards.
    pub inbox: flume::Receiver<CacheMessage>,
}

/// Makes the channels between this number of shards.
pub fn cache_peers(shards: usize) -> Vec<CachePeers> {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| flume::bounded(MESSAGES_MAX)).unzip();
    let senders: Arc<[_]> = senders.into();
    inboxes.into_iter().map(|inbox| CachePeers { senders: senders.clone(), inbox }).collect()
}

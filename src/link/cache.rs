//! Between shards: asking the owner of a cached answer, and what it tells. The one kind of message that shards send each
//! other. Sending never waits: who finds a full channel goes without the cache.

use std::sync::Arc;

use crate::cache::{CachedAnswer, Key, Ticket};

/// Messages that may wait for one shard. Arbitrary: an owner takes hundreds of thousands a second.
const MESSAGES_MAX: usize = 4096;

/// To the owner of a key.
#[derive(Debug)]
pub enum CacheMessage {
    /// Who holds this, or who fetches it? The owner tells once, and after [`Told::Wait`] once more.
    Ask { key: Key, reply: flume::Sender<Told> },
    /// Whoever was to fetch has an answer that may be shared.
    Landed { ticket: Ticket, entry: Arc<CachedAnswer> },
    /// An answer that may not.
    Unshared { ticket: Ticket },
    /// None.
    Failed { ticket: Ticket },
    /// An asker does not wait, or does not fetch, any more.
    Gone { ticket: Ticket },
    /// An answer that was fetched outside of any flight.
    Store { entry: Arc<CachedAnswer> },
}

/// To an asker.
#[derive(Clone, Debug)]
pub enum Told {
    /// Here it is.
    Hit(Arc<CachedAnswer>),
    /// Fetch it, and say how that ended.
    Lead(Ticket),
    /// Somebody fetches it: there will be another word.
    Wait(Ticket),
    /// Fetch it for yourself.
    Alone,
}

/// A shard's way to the others, and theirs to it.
pub struct CachePeers {
    /// By shard; its own among them.
    pub senders: Arc<[flume::Sender<CacheMessage>]>,
    /// What the others send.
    pub inbox: flume::Receiver<CacheMessage>,
}

/// One for each of so many shards.
pub fn cache_peers(shards: usize) -> Vec<CachePeers> {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| flume::bounded(MESSAGES_MAX)).unzip();
    let senders: Arc<[_]> = senders.into();
    inboxes.into_iter().map(|inbox| CachePeers { senders: senders.clone(), inbox }).collect()
}

//! The cache: stores answers and serves them again to equivalent requests. Sharded by key: `Key::owner` names the shard that
//! holds the entry; every other shard keeps a front, which references hot entries. The parts are pure: they have no I/O, no
//! locks and no clock of their own.
//!
//! *Invariant:* two requests have the same key only if they agree on the group of callers that share answers, the operation,
//! the effective model and everything in the body that can change the answer.
//!
//! *Invariant:* an entry is served only while its owner holds it: the owner marks an entry as evicted when it drops it, and
//! no front serves an entry with that mark. So the cache obeys the owners' limits exactly.
//!
//! *Invariant:* when several callers miss a key at the same time, one of them fetches, and no caller waits in vain twice.

// The caller's `Cache-Control` restrictions.
pub mod control;

// The keyed hash, and the secret of the process.
pub mod hash;

// The key that an answer is stored under.
pub mod key;

// The canonical form of a request body.
mod canonical;

// Keys of recently seen bodies.
mod memo;

// JSON numbers, written by value.
mod number;

// A cached answer.
pub mod entry;

// Single flight: when many callers miss a key, one fetches.
pub mod flight;

// A shard's own references to hot entries of other owners.
pub mod front;

// A shard's work for the keys that it owns.
pub mod owner;

// The owner's entries, within their limits.
pub mod store;

// Entries in order of last use.
mod lru;

pub use entry::{CachedAnswer, NewEntry};
pub use flight::{After, Role, Ticket};
pub use front::{FRONT_LIMITS, Front};
pub use hash::{Fingerprint, HashKey};
pub use key::{Asked, Key, Keys, is_cacheable};
pub use lru::Limits;
pub use owner::{Answer, Owner};
pub use store::{Evictions, Store};

#[cfg(test)]
mod tests;

//! The cache: answers to requests that would be answered alike, given again. Sharded by key: `Key::owner` names the shard
//! that holds the entry; the others keep a front of what is hot. Pure parts, without I/O, locks or a clock of their own.
//!
//! *Invariant:* two requests have one key only if the group of callers that share answers, the operation, the effective model
//! and everything in the body that can change the answer are the same.
//!
//! *Invariant:* what is served is held by its owner: the owner marks an entry when it gives it up, and no front serves one
//! with that mark. So the limits are those of the owners, exactly.
//!
//! *Invariant:* of those who miss a key at the same time one fetches, and nobody waits for a second answer in vain.

pub mod control; // what the caller forbids
pub mod hash; // the keyed hash, and the secret of a process
pub mod key; // what an answer is stored under

mod canonical; // a body's canonical form
mod memo; // keys of bodies that came lately
mod number; // numbers by value

pub mod entry; // an answer that is given again
pub mod flight; // of many who miss, one fetches
pub mod front; // a shard's own way to what others own
pub mod owner; // what a shard does for the keys that it owns
pub mod store; // the owner's entries within their limits

mod lru; // entries in the order of their last use

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

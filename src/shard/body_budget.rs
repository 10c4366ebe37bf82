//! The memory that long requests take, bounded over all connections of a shard: without it twenty thousand callers with
//! ten megabytes each would be two hundred gigabytes. Owned by the shard; each connection holds its part. Short requests are
//! never counted: the number of connections bounds them.

use std::rc::Rc;

use crate::plan::Plan;
use crate::shard::Shard;

/// Requests that have come no further than this are short. The buffers of an idle connection may be as large.
pub(crate) const SHORT_BYTES: usize = 64 * 1024;

/// What one connection holds of it. Given back when dropped.
pub(crate) struct Room {
    shard: Rc<Shard>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(shard: Rc<Shard>) -> Room {
        Room { shard, bytes: 0 }
    }

    /// Makes it `bytes` in all; false if the shard has no room for that. A request is held once as it came and once as it goes
    /// to the provider, so that memory is up to twice what is counted here.
    pub(crate) fn grow(&mut self, bytes: usize, plan: &Plan) -> bool {
        if bytes <= SHORT_BYTES.max(self.bytes) {
            return true;
        }
        let held = self.shard.held_bytes.get() + (bytes - self.bytes);
        if held > max(plan, self.shard.shards) {
            return false;
        }
        self.shard.held_bytes.set(held);
        self.bytes = bytes;
        true
    }

    /// The request is over.
    pub(crate) fn give_back(&mut self) {
        self.shard.held_bytes.set(self.shard.held_bytes.get() - self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A shard's part; never less than what two of the largest requests take, so that each can come through on each shard.
fn max(plan: &Plan, shards: usize) -> usize {
    let part = usize::try_from(plan.held_bytes_max).unwrap_or(usize::MAX).div_ceil(shards);
    let largest = usize::try_from(plan.body_bytes_max).unwrap_or(usize::MAX).saturating_add(SHORT_BYTES);
    part.max(largest.saturating_mul(2))
}

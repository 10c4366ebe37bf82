//! Bounds the memory that long requests hold over all connections of a shard: without it, twenty thousand callers with ten
//! megabytes each would take two hundred gigabytes. Each connection owns its share of the budget. Short requests are not
//! counted: the number of connections bounds them.

use std::rc::Rc;

use super::ground::Ground;
use crate::plan::Plan;

/// Requests up to this size are short. The buffers of an idle connection may be as large.
pub(crate) const SHORT_BYTES: usize = 64 * 1024;

/// The bytes that one connection has taken from the shard's budget; returned on drop.
pub(crate) struct BodyBudget {
    ground: Rc<Ground>,
    bytes: usize,
}

impl BodyBudget {
    pub(crate) fn new(ground: Rc<Ground>) -> BodyBudget {
        BodyBudget { ground, bytes: 0 }
    }

    /// Raises this connection's share to `bytes`. Returns false if the shard's budget does not allow it.
    ///
    /// A request is held once as it arrived and once as it goes to the provider, so memory can reach twice what is counted
    /// here.
    pub(crate) fn grow(&mut self, bytes: usize, plan: &Plan) -> bool {
        if bytes <= SHORT_BYTES.max(self.bytes) {
            return true;
        }
        let held = self.ground.held_bytes() + (bytes - self.bytes);
        if held > held_bytes_max(plan, self.ground.shards) {
            return false;
        }
        self.ground.set_held_bytes(held);
        self.bytes = bytes;
        true
    }

    /// Returns the share when the request is over.
    pub(crate) fn release(&mut self) {
        self.ground.set_held_bytes(self.ground.held_bytes() - self.bytes);
        self.bytes = 0;
    }
}

impl Drop for BodyBudget {
    fn drop(&mut self) {
        self.release();
    }
}

/// The budget of one shard: its part of the process's, but never less than two of the largest requests, so that each of
/// them can get through on any shard.
fn held_bytes_max(plan: &Plan, shards: usize) -> usize {
    let part = usize::try_from(plan.held_bytes_max).unwrap_or(usize::MAX).div_ceil(shards);
    let largest = usize::try_from(plan.body_bytes_max).unwrap_or(usize::MAX).saturating_add(SHORT_BYTES);
    part.max(largest.saturating_mul(2))
}

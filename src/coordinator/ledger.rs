//! The merged counts of all shards since the process started. Owned by the coordinator alone.

use crate::link::Tally;

/// What all shards have counted.
#[derive(Default)]
pub(super) struct Ledger {
    total: Tally,
}

impl Ledger {
    /// Adds one shard's report.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.total.merge(tally);
    }

    /// The sum.
    pub(super) fn total(&self) -> &Tally {
        &self.total
    }
}

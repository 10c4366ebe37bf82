//! What shards report, on its way into the store: gathered for half a second, written in one transaction. Owned by the
//! coordinator. While the store takes nothing it holds on to all accounts and to as many traces as it has room for.
//!
//! *Invariant:* nothing is counted twice. What was handed to the store once is only ever handed to it again as it was, since
//! a commit that failed may have happened; the store knows each batch by its number. What was never handed to it may be
//! merged, under a number of the coordinator's own.

mod coarse; // totals with fewer keys

use crate::clock::Now;
use crate::link::trace::{Importance, Trace};
use crate::link::usage::{UsageBatch, UsageTotals};

use super::store::{Store, StoreError, StoreFault};

#[cfg(test)]
mod tests;

/// How long reports gather. With [`crate::link::REPORT_MS`] and a tick a crash loses less than a second of accounting.
const FLUSH_MS: u64 = 500;
/// Traces of one transaction, about; a whole batch at least. It takes some 40 ms, for which a question to the API waits.
const TRACES_A_FLUSH: usize = 1_024;
/// Traces that wait at most. Arbitrary: two seconds of what one transaction after the other would take.
const TRACES_MAX: usize = 8_192;
/// And what they weigh: with bodies they are large.
const TRACES_BYTES_MAX: usize = 16 << 20;
/// What a trace weighs without its bodies, about.
const TRACE_BYTES: usize = 1_024;
/// Where there are too many, so many parts of eight stay, so that not each batch is gone through anew.
const EIGHTHS_KEPT: usize = 7;
/// Batches that are kept apart, and the keys in them; beyond that their accounts are merged. Arbitrary: a minute of a machine
/// with few cores, and about 4 MB.
const BATCHES_MAX: usize = 256;
const BATCHES_KEYS_MAX: usize = 10_000;
/// Keys of merged accounts; beyond that they are made coarser, at the end by hour, provider and status. About 8 MB.
const MERGED_KEYS_MAX: usize = 20_000;
/// After so many refusals in a row a transaction goes without its traces. Arbitrary.
const REFUSALS_MAX: u32 = 3;
/// In the place of a shard's number: batches of the coordinator's own.
const OWN: u16 = u16::MAX;

/// What waits to be stored.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    /// Handed to the store, and not known to be in it.
    tried: Vec<UsageBatch>,
    /// How often in a row the store refused them.
    refusals: u32,
    /// Came since, in order.
    queue: Vec<UsageBatch>,
    /// Batches that were too many to keep apart, as one.
    merged: UsageBatch,
    /// The last number of a batch of the coordinator's own.
    sequence: u64,
    /// When the store was last tried, on the monotonic clock.
    flushed_ms: u64,
    load: Load,
    dropped: Dropped,
}

/// Traces that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    traces: usize,
    bytes: usize,
}

/// Traces that were given up, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// More came than the disk took.
    pub overload: u64,
    /// The storage took nothing.
    pub storage: u64,
}

impl WriteQueue {
    /// Takes over what a shard reports. `refused` is whether the store takes nothing at the moment.
    pub(super) fn push(&mut self, batch: UsageBatch, refused: bool) {
        self.load = batch.traces.iter().fold(self.load, Load::with);
        self.queue.push(batch);
        self.merge_oldest();
        if self.load.is_over(8) {
            let dropped = self.shed();
            *if refused { &mut self.dropped.storage } else { &mut self.dropped.overload } += dropped;
        }
    }

    /// Writes what waits, if it is time to and the store is whole. True when something was written.
    pub(super) fn flush(&mut self, store: &mut Store, now: Now) -> bool {
        let due = now.mono_ms() >= self.flushed_ms + FLUSH_MS || self.load.traces >= TRACES_A_FLUSH;
        // Of a store that is not whole, its own check finds out when it is again.
        if !due || store.fault().is_some() || !self.choose() {
            return false;
        }
        self.flushed_ms = now.mono_ms();
        match store.record(&self.tried, now.wall_ms) {
            Ok(_) => self.stored(),
            Err(error) => {
                self.refused(&error);
                return false;
            }
        }
        true
    }

    /// Writes all that waits, and waits for others' locks. True when nothing is left.
    pub(super) fn flush_all(&mut self, store: &mut Store, now: Now) -> bool {
        while self.choose() {
            let written = store.record_patiently(&self.tried, now.wall_ms).or_else(|error| {
                self.strip(&error);
                store.record_patiently(&self.tried, now.wall_ms)
            });
            match written {
                Ok(_) => self.stored(),
                Err(error) => {
                    tracing::error!(%error, requests = self.pending(), "accounting could not be stored");
                    return false;
                }
            }
        }
        true
    }

    /// Gives up what waits: there is no store any more.
    pub(super) fn give_up(&mut self) {
        let requests = self.pending();
        if requests > 0 {
            tracing::error!(requests, "accounting is not stored: the storage was switched off");
        }
        self.dropped.storage += self.load.traces as u64;
        *self = WriteQueue { sequence: self.sequence, dropped: self.dropped, ..WriteQueue::default() };
    }

    /// Requests that are not known to be stored.
    pub(super) fn pending(&self) -> u64 {
        let batches = self.tried.iter().chain(&self.queue).chain([&self.merged]);
        batches.flat_map(|batch| batch.totals.usage.values()).map(|count| count.requests).sum()
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Fills `tried` if it is empty. False when there is nothing to store.
    fn choose(&mut self) -> bool {
        if !self.tried.is_empty() {
            return true;
        }
        let mut traces = self.merged.traces.len().min(TRACES_A_FLUSH);
        if !self.merged.totals.is_empty() || traces > 0 {
            self.sequence += 1;
            let UsageBatch { boot, shard, .. } = self.merged;
            let totals = std::mem::take(&mut self.merged.totals);
            let traces = self.merged.traces.drain(..traces).collect();
            self.tried.push(UsageBatch { boot, shard, sequence: self.sequence, totals, traces });
        }
        let fits = self.queue.iter().take_while(|batch| {
            let fits = traces < TRACES_A_FLUSH;
            traces += batch.traces.len();
            fits
        });
        let fits = fits.count();
        self.tried.extend(self.queue.drain(..fits));
        !self.tried.is_empty()
    }

    fn stored(&mut self) {
        let traces = self.tried.drain(..).flat_map(|batch| batch.traces);
        self.load = traces.fold(self.load, |load, trace| load.without(&trace));
        self.refusals = 0;
    }

    fn refused(&mut self, error: &StoreError) {
        self.refusals += 1;
        if self.refusals == 1 {
            tracing::warn!(%error, requests = self.pending(), "accounting waits for the storage");
        }
        if self.refusals.is_multiple_of(REFUSALS_MAX) {
            self.strip(error);
        }
    }

    /// Takes the traces out of what was tried, unless it only waits for a lock: they may be what is in the way. With the same
    /// number it is applied without them, or was applied with them.
    fn strip(&mut self, error: &StoreError) {
        if error.fault() == Some(StoreFault::Busy) {
            return;
        }
        let traces: Vec<Trace> = self.tried.iter_mut().flat_map(|batch| std::mem::take(&mut batch.traces)).collect();
        self.load = traces.iter().fold(self.load, Load::without);
        self.dropped.storage += traces.len() as u64;
    }

    /// Merges the oldest batches until the others are within their bounds.
    fn merge_oldest(&mut self) {
        let mut keys: usize = self.queue.iter().map(|batch| coarse::keys(&batch.totals)).sum();
        let mut batches = self.queue.len();
        let too_many = self.queue.iter().take_while(|batch| {
            let over = batches > BATCHES_MAX || keys > BATCHES_KEYS_MAX;
            batches -= 1;
            keys -= coarse::keys(&batch.totals);
            over
        });
        let too_many = too_many.count();
        if too_many == 0 {
            return;
        }
        for batch in self.queue.drain(..too_many) {
            (self.merged.boot, self.merged.shard) = (batch.boot, OWN);
            self.merged.totals.merge(batch.totals);
            self.merged.traces.extend(batch.traces);
        }
        coarse::bound(&mut self.merged.totals, MERGED_KEYS_MAX);
    }

    /// Gives up the least important traces, the oldest first, until there is some room.
    fn shed(&mut self) -> u64 {
        let WriteQueue { tried, merged, queue, load, .. } = self;
        let mut dropped = 0;
        for importance in [Importance::Hit, Importance::Plain, Importance::Kept] {
            for batch in tried.iter_mut().chain([&mut *merged]).chain(queue.iter_mut()) {
                batch.traces.retain(|trace| {
                    let stays = !load.is_over(EIGHTHS_KEPT) || trace.importance() != importance;
                    if !stays {
                        *load = load.without(trace);
                        dropped += 1;
                    }
                    stays
                });
            }
        }
        dropped
    }
}

impl Load {
    fn with(self, trace: &Trace) -> Load {
        Load { traces: self.traces + 1, bytes: self.bytes + weight(trace) }
    }

    fn without(self, trace: &Trace) -> Load {
        Load { traces: self.traces.saturating_sub(1), bytes: self.bytes.saturating_sub(weight(trace)) }
    }

    /// Whether it is more than so many eighths of what may wait.
    fn is_over(self, eighths: usize) -> bool {
        self.traces > TRACES_MAX / 8 * eighths || self.bytes > TRACES_BYTES_MAX / 8 * eighths
    }
}

fn weight(trace: &Trace) -> usize {
    TRACE_BYTES + trace.captured.as_ref().map_or(0, |captured| captured.request.len() + captured.answer.len())
}

//! Queues the shards' reports for the store: it gathers them for half a second and writes them in one transaction. Owned by
//! the coordinator. While the store refuses writes, the queue keeps all usage totals, and as many traces as it has room for.
//!
//! *Invariant:* nothing is counted twice. A batch that was once handed to the store is only ever handed over again under the
//! same number and with the same totals, because a commit that reported a failure may have succeeded; the store recognizes
//! each batch by its number. Batches that were never handed over may be merged, under one of the coordinator's own numbers.

// Merges usage totals into fewer keys.
mod coarse;

use crate::clock::Now;
use crate::link::trace::{Importance, Trace};
use crate::link::usage::{UsageBatch, UsageTotals};

use super::store::{Store, StoreError, StoreFault};

#[cfg(test)]
mod tests;

/// Time for which reports are gathered. Together with [`crate::link::REPORT_MS`] and a tick it bounds the usage that a crash
/// loses to less than a second.
const FLUSH_MS: u64 = 500;
/// Approximate traces per transaction; at least one whole batch. It takes about 40 ms, and an API query waits that long.
const TRACES_A_FLUSH: usize = 1_024;
/// Most traces in the queue. Arbitrary: as many as transactions, one after the other, would write in two seconds.
const TRACES_MAX: usize = 8_192;
/// Most bytes of traces in the queue: traces with captured bodies are large.
const TRACES_BYTES_MAX: usize = 16 << 20;
/// Approximate size of a trace without its bodies, in bytes.
const TRACE_BYTES: usize = 1_024;
/// Excess traces are dropped down to this many eighths of the limits, so that not every new batch causes another pass.
const EIGHTHS_KEPT: usize = 7;
/// Most batches that are kept apart; the totals of older ones are merged. Arbitrary: a minute's batches of a machine with
/// few cores.
const BATCHES_MAX: usize = 256;
/// Most keys in the batches that are kept apart; beyond that, too, the oldest are merged. Arbitrary: about 4 MB.
const BATCHES_KEYS_MAX: usize = 10_000;
/// Most keys in the merged totals, about 8 MB. Beyond that they become coarser: in the end by hour, provider and status.
const MERGED_KEYS_MAX: usize = 20_000;
/// After this many consecutive refusals a transaction is retried without its traces. Arbitrary.
const REFUSALS_MAX: u32 = 3;
/// Replaces the shard's number in batches that the coordinator made by merging.
const OWN: u16 = u16::MAX;

/// Reports that wait to be stored.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    /// Batches that were handed to the store and are not known to be stored.
    tried: Vec<UsageBatch>,
    /// Consecutive refusals of `tried` by the store.
    refusals: u32,
    /// Batches that arrived since, in order of arrival.
    queue: Vec<UsageBatch>,
    /// The oldest batches merged into one, when there were too many to keep apart.
    merged: UsageBatch,
    /// Number of the last batch that the coordinator made by merging.
    sequence: u64,
    /// Time of the last attempt to write, in milliseconds on the monotonic clock.
    flushed_ms: u64,
    load: Load,
    dropped: Dropped,
}

/// Number and size of the traces in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    traces: usize,
    bytes: usize,
}

/// Counts of dropped traces, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Traces arrived faster than the disk could write them.
    pub overload: u64,
    /// The storage refused writes.
    pub storage: u64,
}

impl WriteQueue {
    /// Queues a shard's report. `refused` is set while the store refuses writes.
    pub(super) fn push(&mut self, batch: UsageBatch, refused: bool) {
        self.load = batch.traces.iter().fold(self.load, Load::with);
        self.queue.push(batch);
        self.merge_oldest();
        if self.load.is_over(8) {
            let dropped = self.shed();
            *if refused { &mut self.dropped.storage } else { &mut self.dropped.overload } += dropped;
        }
    }

    /// Writes one transaction if it is due and the store is healthy. Returns true when it was written.
    pub(super) fn flush(&mut self, store: &mut Store, now: Now) -> bool {
        let due = now.mono_ms() >= self.flushed_ms + FLUSH_MS || self.load.traces >= TRACES_A_FLUSH;
        // A faulty store is left alone: its own check finds out when it is healthy again.
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

    /// Writes the whole queue, and waits for locks that others hold. Returns true when nothing is left.
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

    /// Drops the whole queue, because there is no store any more.
    pub(super) fn give_up(&mut self) {
        let requests = self.pending();
        if requests > 0 {
            tracing::error!(requests, "accounting is not stored: the storage was switched off");
        }
        self.dropped.storage += self.load.traces as u64;
        *self = WriteQueue { sequence: self.sequence, dropped: self.dropped, ..WriteQueue::default() };
    }

    /// Returns the number of requests that are not known to be stored.
    pub(super) fn pending(&self) -> u64 {
        let batches = self.tried.iter().chain(&self.queue).chain([&self.merged]);
        batches.flat_map(|batch| batch.totals.usage.values()).map(|count| count.requests).sum()
    }

    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Fills `tried` if it is empty. Returns false when there is nothing to store.
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

    /// Drops the traces of the batches in `tried`, unless the write only waits for a lock: the traces may cause the failure.
    /// A batch keeps its number, so either it is now applied without its traces, or it was already applied with them.
    fn strip(&mut self, error: &StoreError) {
        if error.fault() == Some(StoreFault::Busy) {
            return;
        }
        let traces: Vec<Trace> = self.tried.iter_mut().flat_map(|batch| std::mem::take(&mut batch.traces)).collect();
        self.load = traces.iter().fold(self.load, Load::without);
        self.dropped.storage += traces.len() as u64;
    }

    /// Merges the oldest batches until the remaining ones are within their limits.
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

    /// Drops the least important traces, the oldest first, until there is some room. Returns how many it dropped.
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

    /// Returns true if the load exceeds this many eighths of the queue's limits.
    fn is_over(self, eighths: usize) -> bool {
        self.traces > TRACES_MAX / 8 * eighths || self.bytes > TRACES_BYTES_MAX / 8 * eighths
    }
}

fn weight(trace: &Trace) -> usize {
    TRACE_BYTES + trace.captured.as_ref().map_or(0, |captured| captured.request.len() + captured.answer.len())
}

//! One shard's part of a user's last minute: rings of buckets that one thread writes and every thread reads. The shard
//! that owns a slot writes it, and all shards read it. A bucket is one word, so no reader sees half of a change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::clock::Now;

/// The number of the five-second period that contains this moment.
pub(super) fn period(now: Now) -> u64 {
    now.mono_ns / PERIOD_NS
}

/// What one shard counted for one user.
#[derive(Debug)]
pub(super) struct Slot {
    shard: u32,
    pub(super) requests: Ring<32>,
    pub(super) tokens: Ring<40>,
    /// Micro-dollars that answers cost.
    pub(super) settled: Ring<40>,
    /// Micro-dollars that the requests in flight are estimated to cost. They do not expire.
    pending: AtomicU64,
    next: OnceLock<Arc<Slot>>,
}

impl Slot {
    fn new(shard: u32) -> Slot {
        Slot {
            shard,
            requests: Ring::default(),
            tokens: Ring::default(),
            settled: Ring::default(),
            pending: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    /// Replaces an estimate. Only the owner of the slot calls it. Each estimate is at most [`ESTIMATE_MAX`], so no sum
    /// overflows.
    ///
    /// `Release`: a reader that sees the lower estimate also sees the settled cost. In between, both count; never
    /// neither.
    pub(super) fn move_pending(&self, from: u64, to: u64) {
        let pending = self.pending.load(Ordering::Relaxed);
        self.pending.store(pending.wrapping_sub(from).wrapping_add(to), Ordering::Release);
    }

    /// Must be read before `settled`, see [`Slot::move_pending`].
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Whether something in the slot may still count.
    fn is_live(&self, period: u64) -> bool {
        let last = [self.requests.last(period), self.tokens.last(period), self.settled.last(period)];
        self.pending() > 0 || last.iter().any(Option::is_some)
    }
}

/// The slots of a user, one per shard that has ever seen it. The list only grows, at its end.
#[derive(Debug, Default)]
pub(super) struct Slots(OnceLock<Arc<Slot>>);

impl Slots {
    /// The slot of this shard. Creates it if necessary.
    pub(super) fn of(&self, shard: u32) -> Arc<Slot> {
        let mut end = &self.0;
        loop {
            let slot = end.get_or_init(|| Arc::new(Slot::new(shard)));
            if slot.shard == shard {
                return Arc::clone(slot);
            }
            end = &slot.next;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        std::iter::successors(self.0.get(), |slot| slot.next.get()).map(Arc::as_ref)
    }

    pub(super) fn is_live(&self, period: u64) -> bool {
        self.iter().any(|slot| slot.is_live(period))
    }

    /// The period of the last use, and the requests in the minute up to it, summed over all shards. The period is the
    /// current one while a request is in flight, and zero if no request came in the last minute.
    pub(super) fn last_use(&self, period: u64) -> (u64, u64) {
        self.iter().fold((0, 0), |(last, requests), slot| {
            let (of_slot, counted) = slot.requests.last(period).unwrap_or((0, 0));
            (last.max(if slot.pending() > 0 { period } else { of_slot }), requests + counted)
        })
    }
}

/// Sums of the last [`BUCKETS`] periods. A word packs its period (the stamp, truncated to the available bits) above a
/// value of `VALUE_BITS` bits, which saturates.
///
/// A stamp of 24 bits wraps around after 2.6 years. A count that old would count again for two minutes, if its shard
/// has not seen the user since and the user was never idle for a minute.
#[derive(Debug)]
pub(super) struct Ring<const VALUE_BITS: u32> {
    /// The sum of the buckets as of the last period in which something was counted. Nearly every reader needs only this
    /// word.
    sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl<const VALUE_BITS: u32> Default for Ring<VALUE_BITS> {
    fn default() -> Self {
        Ring { sum: AtomicU64::new(0), buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl<const VALUE_BITS: u32> Ring<VALUE_BITS> {
    const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
    const STAMP_MAX: u64 = u64::MAX >> VALUE_BITS;

    /// Counts `amount`. Returns the period under which it was counted, for [`Ring::take`]. Only the owner of the slot
    /// calls it, so a plain load and store lose nothing.
    #[inline]
    pub(super) fn add(&self, period: u64, amount: u64) -> u64 {
        let bucket = self.bucket(period);
        let word = bucket.load(Ordering::Relaxed);
        let stands_at = Self::not_before(word, period);
        let value = if Self::ahead(word, stands_at) == 0 { word & Self::VALUE_MAX } else { 0 };
        bucket.store(Self::pack(stands_at, value.saturating_add(amount)), Ordering::Relaxed);
        let sum = self.sum.load(Ordering::Relaxed);
        let summed_at = Self::not_before(sum, stands_at);
        let value = if Self::ahead(sum, stands_at) == 0 {
            (sum & Self::VALUE_MAX).saturating_add(amount)
        } else {
            self.sum_buckets(summed_at)
        };
        self.sum.store(Self::pack(summed_at, value), Ordering::Relaxed);
        stands_at
    }

    /// Removes `amount` from what was counted under this period, if that is still there.
    pub(super) fn take(&self, period: u64, amount: u64) {
        let bucket = self.bucket(period);
        let word = bucket.load(Ordering::Relaxed);
        if Self::ahead(word, period) > 0 {
            return;
        }
        bucket.store(word - amount.min(word & Self::VALUE_MAX), Ordering::Relaxed);
        let since = Self::ahead(self.sum.load(Ordering::Relaxed), period);
        // Otherwise the amount is so old that the sum no longer contains it.
        if since < BUCKETS as u64 {
            let summed_at = period + since;
            self.sum.store(Self::pack(summed_at, self.sum_buckets(summed_at)), Ordering::Relaxed);
        }
    }

    /// The sum that counts in this period.
    #[inline]
    pub(super) fn sum(&self, period: u64) -> u64 {
        let sum = self.sum.load(Ordering::Relaxed);
        if Self::ahead(sum, period) == 0 {
            sum & Self::VALUE_MAX
        } else if Self::counts(sum, period) {
            self.sum_buckets(period)
        } else {
            0
        }
    }

    fn sum_buckets(&self, period: u64) -> u64 {
        let value = |word: u64| if Self::counts(word, period) { word & Self::VALUE_MAX } else { 0 };
        self.buckets.iter().map(|bucket| value(bucket.load(Ordering::Relaxed))).sum()
    }

    /// The last period in which something was counted, and the sum as of then. `None` if it no longer counts.
    fn last(&self, period: u64) -> Option<(u64, u64)> {
        let sum = self.sum.load(Ordering::Relaxed);
        let oldest = period.saturating_sub(BUCKETS as u64 - 1);
        Self::counts(sum, period).then(|| (oldest + Self::ahead(sum, oldest), sum & Self::VALUE_MAX))
    }

    fn bucket(&self, period: u64) -> &AtomicU64 {
        &self.buckets[(period % BUCKETS as u64) as usize]
    }

    fn pack(period: u64, value: u64) -> u64 {
        (period & Self::STAMP_MAX) << VALUE_BITS | value.min(Self::VALUE_MAX)
    }

    /// This period, or the word's if that is newer: a slightly old reading of the clock must not wipe what was counted
    /// since.
    #[inline]
    fn not_before(word: u64, period: u64) -> u64 {
        let ahead = Self::ahead(word, period);
        if ahead <= BUCKETS as u64 { period + ahead } else { period }
    }

    /// Whether the word belongs to the last `BUCKETS` periods or to the next ones: another shard's clock reading may be
    /// newer.
    #[inline]
    fn counts(word: u64, period: u64) -> bool {
        Self::ahead(word, period.wrapping_sub(BUCKETS as u64 - 1)) < 2 * BUCKETS as u64
    }

    /// How many periods the word's stamp lies after this one. A stamp that lies before gives a huge number.
    #[inline]
    fn ahead(word: u64, period: u64) -> u64 {
        (word >> VALUE_BITS).wrapping_sub(period) & Self::STAMP_MAX
    }
}

/// An event counts for 60 to 65 seconds: its period and the twelve after it. So a limit per minute is never exceeded in
/// any 60 seconds, at the price of up to 5 more seconds of waiting.
pub const PERIOD_NS: u64 = 5_000_000_000;
/// The periods that make up a minute, and the one that has begun.
pub const BUCKETS: usize = 13;
const _: () = assert!((BUCKETS as u64 - 1) * PERIOD_NS == 60_000_000_000);
/// Largest estimate of one request, in micro-dollars: 4,294 dollars. The sum of 2³² requests in flight still fits.
pub(super) const ESTIMATE_MAX: u64 = u32::MAX as u64;

//! One shard's part of a user's last minute: rings of buckets that one thread writes and every thread reads.
//! Written on the shard that owns the slot, read on all. A bucket is one word, so that no reader sees half of a change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::clock::Now;

/// The number of the five seconds in which this moment lies.
pub(super) fn period(now: Now) -> u64 {
    now.mono_ns / PERIOD_NS
}

/// What one shard counted of one user.
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

    /// Only the owner calls it. Each estimate is at most [`ESTIMATE_MAX`], so that no sum overflows.
    ///
    /// `Release`: whoever sees less pending sees what was settled instead. In between both count, never neither.
    pub(super) fn move_pending(&self, from: u64, to: u64) {
        let pending = self.pending.load(Ordering::Relaxed);
        self.pending.store(pending.wrapping_sub(from).wrapping_add(to), Ordering::Release);
    }

    /// To be read before `settled`: see [`Slot::move_pending`].
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Something in it may still count.
    fn is_live(&self, period: u64) -> bool {
        let last = [self.requests.last(period), self.tokens.last(period), self.settled.last(period)];
        self.pending() > 0 || last.iter().any(Option::is_some)
    }
}

/// The slots of a user, one for each shard that ever met it: a list that only grows, at its end.
#[derive(Debug, Default)]
pub(super) struct Slots(OnceLock<Arc<Slot>>);

impl Slots {
    /// The slot of this shard, made if there is none.
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

    /// When it was last used, and how much: this period if a request is in flight, zero if none came in the last minute;
    /// and the requests in the minute up to each shard's last one.
    pub(super) fn last_use(&self, period: u64) -> (u64, u64) {
        self.iter().fold((0, 0), |(last, requests), slot| {
            let (of_slot, counted) = slot.requests.last(period).unwrap_or((0, 0));
            (last.max(if slot.pending() > 0 { period } else { of_slot }), requests + counted)
        })
    }
}

/// Sums of the last [`BUCKETS`] periods. A word packs the period that it is of (its stamp, cut to what fits) above a
/// value of `VALUE_BITS` bits, which saturates.
///
/// A stamp of 24 bits comes around after 2.6 years: what a shard counted then, and never since, of a user who was never
/// idle for a minute would count again, for two minutes.
#[derive(Debug)]
pub(super) struct Ring<const VALUE_BITS: u32> {
    /// The sum of the buckets as of the last period in which something was counted: what nearly every reader wants, in
    /// one word.
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

    /// Counts `amount`. The period under which it stands, for [`Ring::take`]. Only the owner calls it, so a plain load
    /// and store lose nothing.
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

    /// Takes `amount` out of what was counted under this period, if that is still there.
    pub(super) fn take(&self, period: u64, amount: u64) {
        let bucket = self.bucket(period);
        let word = bucket.load(Ordering::Relaxed);
        if Self::ahead(word, period) > 0 {
            return;
        }
        bucket.store(word - amount.min(word & Self::VALUE_MAX), Ordering::Relaxed);
        let since = Self::ahead(self.sum.load(Ordering::Relaxed), period);
        // Otherwise it is so old that the sum does not hold it any more.
        if since < BUCKETS as u64 {
            let summed_at = period + since;
            self.sum.store(Self::pack(summed_at, self.sum_buckets(summed_at)), Ordering::Relaxed);
        }
    }

    /// What counts now.
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

    /// The last period in which something was counted, if that counts, and the sum as of then.
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

    /// This period, or that of the word if it is newer: a reading of the clock that is a little old must not wipe what
    /// came since.
    #[inline]
    fn not_before(word: u64, period: u64) -> u64 {
        let ahead = Self::ahead(word, period);
        if ahead <= BUCKETS as u64 { period + ahead } else { period }
    }

    /// Of the last `BUCKETS` periods, or of the next ones: another shard's reading of the clock may be newer.
    #[inline]
    fn counts(word: u64, period: u64) -> bool {
        Self::ahead(word, period.wrapping_sub(BUCKETS as u64 - 1)) < 2 * BUCKETS as u64
    }

    /// How far the word's stamp lies after this period; far beyond any sense if it lies before.
    #[inline]
    fn ahead(word: u64, period: u64) -> u64 {
        (word >> VALUE_BITS).wrapping_sub(period) & Self::STAMP_MAX
    }
}

/// An event counts for 60 to 65 seconds: its period and the twelve after it. A limit per minute is so never exceeded in
/// any 60 seconds; what it costs is up to 5 seconds more of waiting.
pub const PERIOD_NS: u64 = 5_000_000_000;
/// Those that make up a minute, and the one that has begun.
pub const BUCKETS: usize = 13;
const _: () = assert!((BUCKETS as u64 - 1) * PERIOD_NS == 60_000_000_000);
/// In micro-dollars, 4,294 dollars for one request: with 2³² requests in flight their sum still fits.
pub(super) const ESTIMATE_MAX: u64 = u32::MAX as u64;

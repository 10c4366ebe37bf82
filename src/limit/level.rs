//! One limit: a generic cell rate algorithm (ITU-T I.371) whose clock counts tokens, not time. Shared by all shards. A charge
//! never loops unless another thread made progress, and a refusal writes nothing.
//!
//! The *inflow* is what has flowed in since the start, in tokens: a flow grows by `qps` a second, a grant stands still. The
//! *level* is the position on that line up to which requests are charged. A request moves the level (or the inflow, if that is
//! higher: a full bucket does not fill further) up by one token, if the level is then no more than the burst or the grant ahead
//! of the inflow. A change of the ceiling bends the line, and the level, being in tokens, stays what it was.
//!
//! # Giving back
//!
//! A request takes one token's length of that line, ahead of the inflow. Whatever the inflow has passed since is lost: had it
//! not been taken, it would have overflowed, and giving it back would let two requests through where the flow paid for one. So
//! a charge gives back a token less what has flowed in since it was made: all of it for a grant, and after `1 / qps` nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::ceiling::{Ceiling, Figures, PublishedCeiling};
use super::inflow::TOKEN;
use crate::clock::Now;

/// What may be sent to one provider. Nothing may be charged to the default one, which has no ceiling yet.
#[derive(Debug, Default)]
pub struct Limit {
    level: Level,
    ceiling: PublishedCeiling,
}

/// In units. Alone on its cache line and on the one that some processors fetch with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Level(AtomicU64);

/// Evidence that a request was charged to a limit. Only [`Limit::charge`] makes one.
#[must_use = "a charged request should be sent, or given back"]
#[derive(Debug)]
pub struct LimitCharge<'l> {
    limit: &'l Limit,
    /// What had flowed in when it was charged, in units.
    inflow: u64,
}

/// The limit has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Time until there is room for one request, if no other takes it first. Never zero. For a grant, which has no such time,
    /// [`GRANT_RETRY_AFTER`].
    pub retry_after: Duration,
    /// For the answer's headers.
    pub standing: Standing,
}

/// How much of a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests that may come at once when nothing is used up.
    pub limit: u32,
    /// Requests that may come at once now.
    pub remaining: u32,
    /// Time until `remaining` is `limit` again. For a grant that is in use, which has no such time, [`GRANT_RETRY_AFTER`].
    pub reset: Duration,
}

impl Limit {
    /// A limit of which nothing is used up.
    pub fn new(ceiling: Ceiling, now: Now) -> Limit {
        let limit = Limit::default();
        limit.restart(ceiling, now);
        limit
    }

    /// Forgets all that was charged. Only for a limit that nobody else uses at the moment.
    pub fn restart(&self, ceiling: Ceiling, now: Now) {
        self.level.0.store(0, Ordering::Relaxed);
        self.ceiling.start(ceiling, now);
    }

    /// Charges one request.
    ///
    /// # Errors
    /// There is no room for it; nothing was changed then.
    #[inline]
    pub fn charge(&self, now: Now) -> Result<LimitCharge<'_>, Limited> {
        loop {
            let (version, figures) = self.ceiling.read();
            let inflow = figures.inflow.at(now);
            let highest = inflow.saturating_add(figures.ahead_max);
            let mut level = self.level.0.load(Ordering::Relaxed);
            loop {
                let after = level.max(inflow).saturating_add(TOKEN);
                if after > highest {
                    return Err(limited(figures, level, now));
                }
                match self.level.0.compare_exchange_weak(level, after, Ordering::SeqCst, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(newer) => level = newer,
                }
            }
            let charge = LimitCharge { limit: self, inflow };
            if self.ceiling.is_current(version) {
                return Ok(charge);
            }
            // The ceiling was changed meanwhile, perhaps lowered: the new one decides.
            charge.give_back(now);
        }
    }

    /// Replaces the ceiling and keeps what is charged. Returns how many requests are, and have not flowed off or been given back:
    /// no more than that, or than the new ceiling, will be from now on.
    ///
    /// That holds because a charge writes the level before it looks whether its ceiling is still in force, and this writes the
    /// ceiling before it reads the level, all sequentially consistent. So every charge by the old ceiling is either in the
    /// returned number or finds the new ceiling and is taken back.
    pub fn set_ceiling(&self, ceiling: Ceiling, now: Now) -> u64 {
        let figures = self.ceiling.change(ceiling, now);
        let level = self.level.0.load(Ordering::SeqCst);
        level.saturating_sub(figures.inflow.at(now)).div_ceil(TOKEN)
    }

    /// How much of it is used up now.
    pub fn standing(&self, now: Now) -> Standing {
        let (_, figures) = self.ceiling.read();
        standing(figures, self.level.0.load(Ordering::Relaxed), now)
    }
}

impl LimitCharge<'_> {
    /// Takes the charge back, for a request that was never sent. As the module says, what has flowed in since the charge is not
    /// given back. `now` must be a fresh reading of the clock: an old one would give back too much.
    pub fn give_back(self, now: Now) {
        let (_, figures) = self.limit.ceiling.read();
        let (inflow, inflow_max) = (figures.inflow.at(now), figures.inflow.at_most(now));
        // Rounded down, so that many of them never add up to a request.
        let unused = TOKEN.saturating_sub(inflow_max.saturating_sub(self.inflow));
        let lowered = |level: u64| match level.saturating_sub(unused) {
            // The bucket is full again, so that nothing can add up.
            after if after <= inflow_max => Some(after.min(inflow)),
            after => Some(after),
        };
        // Always `Ok`: the closure never declines.
        let _ = self.limit.level.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lowered);
    }
}

#[cold]
fn limited(figures: Figures, level: u64, now: Now) -> Limited {
    let room_at = level.saturating_add(TOKEN).saturating_sub(figures.ahead_max);
    // At least a nanosecond: the level was read just now, and there was no room.
    let retry_after = figures.inflow.until(room_at, now).unwrap_or(GRANT_RETRY_AFTER).max(Duration::from_nanos(1));
    Limited { retry_after, standing: standing(figures, level, now) }
}

fn standing(figures: Figures, level: u64, now: Now) -> Standing {
    let free = figures.ahead_max.saturating_sub(level.saturating_sub(figures.inflow.at(now)));
    let requests = |units: u64| u32::try_from(units / TOKEN).unwrap_or(u32::MAX);
    Standing {
        limit: requests(figures.ahead_max),
        remaining: requests(free),
        reset: figures.inflow.until(level, now).unwrap_or(GRANT_RETRY_AFTER),
    }
}

/// When a caller may try a grant again that is used up. Arbitrary, since only the owner knows when it raises a grant: shorter
/// would be a busy loop, and longer would outlast most give-backs.
pub const GRANT_RETRY_AFTER: Duration = Duration::from_secs(1);

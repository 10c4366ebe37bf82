//! What every stage of a shard may use: its clock, random numbers, the current date, socket deadlines, and a few counters
//! that outlive a request. Owned by one shard thread; nothing in it blocks, waits or crosses a thread.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::{Clock, Now};
use crate::http::wire::{Deadline, Watch};

/// The shard's own basics, shared by its tasks through an `Rc`.
pub(crate) struct Ground {
    /// Which shard this is, from 0.
    pub(crate) shard: usize,
    /// How many shards the process has.
    pub(crate) shards: usize,
    /// Deadlines of all sockets of the shard.
    pub(crate) watch: Rc<Watch>,
    clock: Clock,
    rng: RefCell<fastrand::Rng>,
    date: RefCell<Date>,
    /// Set once the shard drains: until when idle callers may still send a request.
    drains_until: Cell<Option<Deadline>>,
    /// Bytes that long requests hold, see [`super::body_budget`].
    held_bytes: Cell<usize>,
}

impl Ground {
    pub(crate) fn new(shard: usize, shards: usize, clock: Clock) -> Ground {
        let ground = Ground {
            shard,
            shards,
            watch: Rc::new(Watch::default()),
            clock,
            rng: RefCell::new(seeded_rng()),
            date: RefCell::default(),
            drains_until: Cell::new(None),
            held_bytes: Cell::new(0),
        };
        ground.sweep();
        ground
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// 128 random bits.
    pub(crate) fn random(&self) -> u128 {
        self.rng.borrow_mut().u128(..)
    }

    pub(crate) fn date(&self) -> Ref<'_, Date> {
        self.date.borrow()
    }

    /// Enforces socket deadlines and updates the date. Called once per sweep.
    pub(crate) fn sweep(&self) -> Now {
        let now = self.now();
        self.watch.sweep(now.mono_ms());
        self.date.borrow_mut().refresh(now);
        now
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drains_until.get().is_some()
    }

    /// While the shard drains: until when an idle caller may still send a request.
    pub(crate) fn drains_until(&self) -> Option<Deadline> {
        self.drains_until.get()
    }

    /// Starts to drain: idle callers get `patience` for their next request.
    pub(crate) fn drain(&self, patience: Duration) {
        self.drains_until.set(Some(self.watch.deadline(patience)));
        self.watch.limit_idle_wait(patience);
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.get()
    }

    pub(crate) fn set_held_bytes(&self, bytes: usize) {
        self.held_bytes.set(bytes);
    }
}

/// Ids need to be distinct, not secret: without a seed from the system, the default one will do.
fn seeded_rng() -> fastrand::Rng {
    let mut seed = [0u8; 8];
    match getrandom::fill(&mut seed) {
        Ok(()) => fastrand::Rng::with_seed(u64::from_le_bytes(seed)),
        Err(_) => fastrand::Rng::new(),
    }
}

/// The `Date` header of answers, formatted once a second (RFC 9110 section 6.6.1).
#[derive(Default)]
pub(crate) struct Date {
    second: u64,
    text: String,
}

impl Date {
    /// Formats the date again if the second has changed.
    fn refresh(&mut self, now: Now) {
        let second = now.wall_ms / 1000;
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_changes_with_the_second() {
        let mut date = Date::default();
        date.refresh(Now { mono_ns: 0, wall_ms: 784_887_151_000 });
        assert_eq!(date.as_str(), "Tue, 15 Nov 1994 08:12:31 GMT");
        date.refresh(Now { mono_ns: 0, wall_ms: 784_887_152_500 });
        assert_eq!(date.as_str(), "Tue, 15 Nov 1994 08:12:32 GMT");
    }
}

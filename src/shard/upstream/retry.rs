//! Whether a failed attempt may be followed by another, at whom, and when. Pure. The rule, and so how often a provider can see
//! one request:
//!
//! * No connection, an error status of 500 or more, or no room (429): the next provider of the same model that was not tried
//!   yet, at once.
//! * When all were tried: again, in the same order, up to `retries` more times each. With a pause that doubles, and that is no
//!   shorter than what the provider asked for; one that asked for longer than [`RETRY_AFTER_MAX`], had no room, or could
//!   not be reached in time is not asked again.
//! * A kept connection that the provider had closed, without a byte of an answer: once more at once, on a new connection,
//!   whatever `retries` says (RFC 9112 section 9.3.1 warns of it, and every client with a pool has to).
//! * Anything else, above all after the first byte of an answer: never.
//!
//! So a provider sees a request at most `retries + 2` times, one of those only when it closed the connection on which another
//! came.

use std::time::Duration;

use super::Failure;

/// Pause before the first repetition; doubled for each further one. Arbitrary.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause of luner's own.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest pause that a provider may ask for. Arbitrary: a caller waits that long without wondering.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// The attempts of one request.
pub(crate) struct Tries {
    /// How many providers there are.
    providers: usize,
    /// Attempts that each may still be asked for, in the order in which they are tried; empty until one has failed.
    left: Vec<u32>,
    /// The provider of the attempt at hand.
    step: usize,
    /// Providers below this were tried.
    tried: usize,
    repeated: u32,
    stale_seen: bool,
}

/// The next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// At the provider of this number.
    pub(crate) step: usize,
    /// After so long.
    pub(crate) pause: Duration,
}

impl Tries {
    /// For so many providers. The first is being tried.
    pub(crate) fn new(providers: usize) -> Tries {
        Tries { providers, left: Vec::new(), step: 0, tried: 1, repeated: 0, stale_seen: false }
    }

    /// Whether the next attempt must be on a new connection.
    pub(crate) fn needs_fresh(&self) -> bool {
        self.stale_seen
    }

    /// Whether there are providers that were not tried yet.
    pub(crate) fn has_others(&self) -> bool {
        self.tried < self.providers
    }

    /// The next attempt, if there may be one. `jitter` is random: the pause is between half and all of what the doubling
    /// says, so that callers who failed together do not come back together. `retries` tells each provider's.
    pub(crate) fn again(&mut self, failure: &Failure, jitter: u32, retries: impl Fn(usize) -> u32) -> Option<Again> {
        let (repeatable, asked) = match failure {
            Failure::Stale if !self.stale_seen => {
                self.stale_seen = true;
                return Some(Again { step: self.step, pause: Duration::ZERO });
            }
            Failure::Unreachable(_) => (true, Duration::ZERO),
            Failure::ConnectTimedOut => (false, Duration::ZERO),
            Failure::Status { status, retry_after_s } => {
                let asked = Duration::from_secs(u64::from(retry_after_s.unwrap_or(0)));
                (*status >= 500 && asked <= RETRY_AFTER_MAX, asked)
            }
            _ => return None,
        };
        if self.left.is_empty() {
            self.left.extend((0..self.providers).map(|step| retries(step).saturating_add(1)));
        }
        if let Some(left) = self.left.get_mut(self.step) {
            *left = if repeatable { left.saturating_sub(1) } else { 0 };
        }
        if self.has_others() {
            self.move_to(self.tried);
            self.tried += 1;
            return Some(Again { step: self.step, pause: Duration::ZERO });
        }
        let around = (1..=self.left.len()).map(|ahead| (self.step + ahead) % self.left.len());
        let step = around.into_iter().find(|step| self.left.get(*step).is_some_and(|left| *left > 0))?;
        let full = PAUSE.saturating_mul(1 << self.repeated.min(8)).min(PAUSE_MAX);
        self.repeated += 1;
        let jittered = full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        // What one provider asks for does not bind another.
        let pause = if step == self.step { jittered.max(asked) } else { jittered };
        self.move_to(step);
        Some(Again { step, pause })
    }

    /// The provider at hand cannot be asked now: the next one that was not tried yet.
    pub(crate) fn pass_over(&mut self) -> Option<usize> {
        if !self.has_others() {
            return None;
        }
        self.move_to(self.tried);
        self.tried += 1;
        Some(self.step)
    }

    fn move_to(&mut self, step: usize) {
        if step != self.step {
            self.step = step;
            self.stale_seen = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::Status { status, retry_after_s: None }
    }

    /// Tries at providers with these `retries`.
    struct At<'r>(Tries, &'r [u32]);

    impl At<'_> {
        fn again(&mut self, failure: &Failure, jitter: u32) -> Option<Again> {
            self.0.again(failure, jitter, |step| self.1[step])
        }
    }

    fn several(retries: &[u32]) -> At<'_> {
        At(Tries::new(retries.len()), retries)
    }

    /// The providers that are asked after the first, until nobody is left.
    fn order(mut tries: At<'_>, failure: &Failure) -> Vec<usize> {
        std::iter::from_fn(|| tries.again(failure, 0).map(|again| again.step)).take(50).collect()
    }

    #[test]
    fn a_server_error_is_retried_as_often_as_configured() {
        let mut tries = several(&[2]);
        assert!(tries.again(&status(500), 0).is_some());
        assert!(tries.again(&status(503), 0).is_some());
        assert!(tries.again(&status(500), 0).is_none());
    }

    #[test]
    fn a_stale_connection_is_replaced_once_and_at_once() {
        let mut tries = several(&[0]);
        assert_eq!(tries.again(&Failure::Stale, 7), Some(Again { step: 0, pause: Duration::ZERO }));
        assert!(tries.0.needs_fresh());
        assert_eq!(tries.again(&Failure::Stale, 7), None);
    }

    #[test]
    fn what_broke_or_took_too_long_is_never_retried() {
        for failure in [Failure::TimedOut, Failure::Broken(String::new()), Failure::Abandoned] {
            assert_eq!(several(&[5, 5]).again(&failure, 0), None, "{failure:?}");
        }
    }

    #[test]
    fn the_others_come_at_once_and_the_retries_after_them() {
        let mut tries = several(&[1, 1]);
        let first = tries.again(&Failure::Unreachable(String::new()), 0);
        assert_eq!(first, Some(Again { step: 1, pause: Duration::ZERO }));
        assert!(!tries.0.has_others());
        let second = tries.again(&status(500), 0);
        assert_eq!(second, Some(Again { step: 0, pause: PAUSE / 2 }));
        assert_eq!(order(several(&[1, 0, 2]), &status(502)), [1, 2, 0, 2, 2]);
        assert_eq!(order(several(&[0, 0]), &status(502)), [1]);
    }

    #[test]
    fn who_has_no_room_or_cannot_be_reached_in_time_is_not_asked_again() {
        assert_eq!(order(several(&[3, 3]), &status(429)), [1]);
        assert_eq!(order(several(&[3, 3]), &Failure::ConnectTimedOut), [1]);
        assert_eq!(order(several(&[3]), &Failure::ConnectTimedOut), [0; 0]);
    }

    #[test]
    fn a_provider_is_given_the_pause_that_it_asks_for_within_bounds() {
        let asks = |s| Failure::Status { status: 503, retry_after_s: Some(s) };
        assert_eq!(several(&[3]).again(&asks(1), 0), Some(Again { step: 0, pause: Duration::from_secs(1) }));
        assert_eq!(several(&[3]).again(&asks(3), 0), None);
        let mut tries = several(&[3, 3]);
        assert_eq!(tries.again(&asks(1_000_000), 0), Some(Again { step: 1, pause: Duration::ZERO }));
        assert_eq!(tries.again(&asks(1), 0), Some(Again { step: 1, pause: Duration::from_secs(1) }));
    }

    #[test]
    fn pauses_double_within_their_jitter_and_stay_bounded() {
        let mut tries = several(&[20]);
        let pauses: Vec<_> = (0..20).filter_map(|_| tries.again(&status(500), u32::MAX)).map(|it| it.pause).collect();
        assert_eq!(&pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert_eq!(several(&[1]).again(&status(500), 0).map(|it| it.pause), Some(PAUSE / 2));
    }
}

//! The retry rule: whether a failed attempt is followed by another, at which provider, and when. Pure.
//!
//! * After a failed connection, a status of 500 or more, or a 429: ask the next provider of the same model that was not tried
//!   yet, at once.
//! * When all providers were tried: ask them again in the same order, each up to `retries` more times. The pause doubles and
//!   is never shorter than what the provider asked for. A provider is not asked again if it asked for longer than
//!   [`RETRY_AFTER_MAX`], answered 429, or could not be reached in time.
//! * After a stale pooled connection (the provider had closed it, and no byte of an answer came): ask once more at once, on a
//!   new connection, whatever `retries` says. RFC 9112 section 9.3.1 expects this of every client with a pool.
//! * After anything else, above all after the first byte of an answer: never.
//!
//! So a provider sees a request at most `retries + 2` times, and one of those only if it closed the connection on which
//! another one arrived.

use std::time::Duration;

use super::failure::Failure;

/// Pause before the first retry; doubled for each further one. Arbitrary.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause that luner chooses itself.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest pause that a provider may ask for. Arbitrary: a caller hardly notices it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(2);

/// The attempts of one request.
pub(crate) struct Tries {
    /// The number of providers.
    providers: usize,
    /// Attempts left at each provider, in the order in which they are tried. Empty until one has failed.
    left: Vec<u32>,
    /// Position of the provider that is being asked.
    step: usize,
    /// Providers below this position were tried.
    tried: usize,
    retries: u32,
    stale_seen: bool,
}

/// When and where to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// Position of the provider to ask.
    pub(crate) step: usize,
    /// How long to wait first.
    pub(crate) pause: Duration,
}

impl Tries {
    /// For this many providers, of which the first is being asked.
    pub(crate) fn new(providers: usize) -> Tries {
        Tries { providers, left: Vec::new(), step: 0, tried: 1, retries: 0, stale_seen: false }
    }

    /// Whether the next attempt must use a new connection.
    pub(crate) fn needs_fresh(&self) -> bool {
        self.stale_seen
    }

    /// Whether there are providers that were not tried yet.
    pub(crate) fn has_others(&self) -> bool {
        self.tried < self.providers
    }

    /// The next attempt, or `None` if there may not be one. `jitter` is random: the pause is between half and all of the doubled
    /// pause, so that callers who failed together do not come back together. `retries` is the configured number by position.
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
        let full = PAUSE.saturating_mul(1 << self.retries.min(8)).min(PAUSE_MAX);
        self.retries += 1;
        let jittered = full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        // What one provider asks for does not apply to another.
        let pause = if step == self.step { jittered.max(asked) } else { jittered };
        self.move_to(step);
        Some(Again { step, pause })
    }

    /// Skips a provider that cannot be asked now. Returns the position of the next one that was not tried yet.
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

    /// Tries with the configured `retries` of each provider.
    struct At<'r>(Tries, &'r [u32]);

    impl At<'_> {
        fn again(&mut self, failure: &Failure, jitter: u32) -> Option<Again> {
            self.0.again(failure, jitter, |step| self.1[step])
        }
    }

    fn several(retries: &[u32]) -> At<'_> {
        At(Tries::new(retries.len()), retries)
    }

    /// The providers that are asked after the first, until none is left.
    fn order(mut tries: At<'_>, failure: &Failure) -> Vec<usize> {
        std::iter::from_fn(|| tries.again(failure, 0).map(|again| again.step)).take(50).collect()
    }

    #[test]
    fn server_error_is_retried_as_often_as_configured() {
        let mut tries = several(&[2]);
        assert!(tries.again(&status(500), 0).is_some());
        assert!(tries.again(&status(503), 0).is_some());
        assert!(tries.again(&status(500), 0).is_none());
    }

    #[test]
    fn stale_connection_is_replaced_once_without_a_pause() {
        let mut tries = several(&[0]);
        assert_eq!(tries.again(&Failure::Stale, 7), Some(Again { step: 0, pause: Duration::ZERO }));
        assert!(tries.0.needs_fresh());
        assert_eq!(tries.again(&Failure::Stale, 7), None);
    }

    #[test]
    fn broken_or_late_answer_is_never_retried() {
        for failure in [Failure::TimedOut, Failure::Broken(String::new()), Failure::Abandoned] {
            assert_eq!(several(&[5, 5]).again(&failure, 0), None, "{failure:?}");
        }
    }

    #[test]
    fn other_providers_come_before_retries() {
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
    fn overloaded_or_unreachable_provider_is_not_asked_again() {
        assert_eq!(order(several(&[3, 3]), &status(429)), [1]);
        assert_eq!(order(several(&[3, 3]), &Failure::ConnectTimedOut), [1]);
        assert_eq!(order(several(&[3]), &Failure::ConnectTimedOut), [0; 0]);
    }

    #[test]
    fn provider_gets_the_pause_it_asks_for_within_bounds() {
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

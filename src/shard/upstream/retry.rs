//! Whether a failed attempt may be followed by another. Pure. The rule, and so how often a provider can see one request:
//!
//! * No connection, or an error status of 500 or more: again, up to the provider's `retries`.
//! * A kept connection that the provider had closed, without a byte of an answer: once more at once, on a new connection,
//!   whatever `retries` says (RFC 9112 section 9.3.1 warns of it, and every client with a pool has to).
//! * Anything else, above all after the first byte of an answer: never.
//!
//! So a provider sees a request at most `retries + 2` times, the second of those only when it closed the connection on which
//! the first came.

use std::time::Duration;

use super::Failure;

/// Pause before the first repetition; doubled for each further one. Arbitrary.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The attempts of one request.
pub(super) struct Tries {
    left: u32,
    repeated: u32,
    stale_seen: bool,
}

impl Tries {
    /// `retries` more attempts than one.
    pub(super) fn new(retries: u32) -> Tries {
        Tries { left: retries, repeated: 0, stale_seen: false }
    }

    /// Whether the next attempt must be on a new connection.
    pub(super) fn needs_fresh(&self) -> bool {
        self.stale_seen
    }

    /// The pause before the next attempt, if there may be one. `jitter` is random: the pause is between half and all of
    /// what the doubling says, so that callers who failed together do not come back together.
    pub(super) fn again(&mut self, failure: &Failure, jitter: u32) -> Option<Duration> {
        match failure {
            Failure::Stale if !self.stale_seen => {
                self.stale_seen = true;
                Some(Duration::ZERO)
            }
            Failure::Unreachable(_) | Failure::Status { .. } if self.left > 0 => {
                self.left -= 1;
                let full = PAUSE.saturating_mul(1 << self.repeated.min(8)).min(PAUSE_MAX);
                self.repeated += 1;
                Some(full / 2 + (full / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::Status { status, retry_after_s: None }
    }

    #[test]
    fn a_server_error_is_retried_as_often_as_configured() {
        let mut tries = Tries::new(2);
        assert!(tries.again(&status(500), 0).is_some());
        assert!(tries.again(&status(503), 0).is_some());
        assert!(tries.again(&status(500), 0).is_none());
    }

    #[test]
    fn a_stale_connection_is_replaced_once_and_at_once() {
        let mut tries = Tries::new(0);
        assert_eq!(tries.again(&Failure::Stale, 7), Some(Duration::ZERO));
        assert!(tries.needs_fresh());
        assert_eq!(tries.again(&Failure::Stale, 7), None);
    }

    #[test]
    fn what_broke_or_took_too_long_is_never_retried() {
        for failure in [Failure::TimedOut, Failure::Broken(String::new()), Failure::Abandoned] {
            assert_eq!(Tries::new(5).again(&failure, 0), None, "{failure:?}");
        }
    }

    #[test]
    fn pauses_double_within_their_jitter_and_stay_bounded() {
        let mut tries = Tries::new(20);
        let pauses: Vec<_> = (0..20).filter_map(|_| tries.again(&status(500), u32::MAX)).collect();
        assert_eq!(&pauses[..3], [PAUSE, PAUSE * 2, PAUSE * 4]);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert_eq!(Tries::new(1).again(&status(500), 0), Some(PAUSE / 2));
    }
}

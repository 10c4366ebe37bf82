//! Prompts and answers for the trace, where the operator wants them kept. Held by the request's record, bounded; no header
//! comes here, and so no key.

use crate::config::Capture;
use crate::link::trace::Captured;

/// Of a request and of an answer, each. Arbitrary: a long conversation; what is beyond is cut and said to be.
const BYTES_MAX: usize = 64 * 1024;

/// What was kept of one request.
#[derive(Default)]
pub(crate) struct Kept {
    capture: Capture,
    captured: Captured,
}

impl Kept {
    /// A request under a plan that keeps so much.
    pub(crate) fn new(capture: Capture, body: &[u8]) -> Kept {
        let mut kept = Kept { capture, captured: Captured::default() };
        if capture != Capture::None {
            append(body, &mut kept.captured.request, &mut kept.captured.cut);
        }
        kept
    }

    /// Takes the next bytes of the answer.
    pub(crate) fn answer(&mut self, bytes: &[u8]) {
        if self.capture != Capture::None {
            append(bytes, &mut self.captured.answer, &mut self.captured.cut);
        }
    }

    /// What the trace holds of it.
    pub(crate) fn captured(&self, went_wrong: bool) -> Option<Captured> {
        let is_wanted = match self.capture {
            Capture::None => false,
            Capture::Errors => went_wrong,
            Capture::All => true,
        };
        is_wanted.then(|| self.captured.clone())
    }
}

fn append(bytes: &[u8], to: &mut Vec<u8>, cut: &mut bool) {
    let room = BYTES_MAX.saturating_sub(to.len());
    *cut |= bytes.len() > room;
    to.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_says_so() {
        let mut kept = Kept::new(Capture::All, b"prompt");
        kept.answer(&[b'x'; BYTES_MAX - 1]);
        assert!(!kept.captured(false).expect("all are kept").cut);
        kept.answer(b"yz");
        let captured = kept.captured(false).expect("all are kept");
        assert_eq!(
            (captured.request.as_slice(), captured.answer.len(), captured.cut),
            (&b"prompt"[..], BYTES_MAX, true)
        );
        assert!(captured.answer.ends_with(b"xy"));
    }

    #[test]
    fn only_what_the_operator_wants_is_kept() {
        let kept = |capture| {
            let mut kept = Kept::new(capture, b"prompt");
            kept.answer(b"answer");
            [false, true].map(|went_wrong| kept.captured(went_wrong).is_some())
        };
        assert_eq!(kept(Capture::None), [false, false]);
        assert_eq!(kept(Capture::Errors), [false, true]);
        assert_eq!(kept(Capture::All), [true, true]);
        assert!(Kept::new(Capture::None, b"prompt").captured.request.is_empty());
    }
}

//! Keeps prompts and answers for the trace, if the operator wants them. Owned by the request's record and bounded. It never
//! sees a header, and so never a key.

use crate::config::Capture;
use crate::link::trace::{CAPTURED_BODY_BYTES_MAX, Captured};

/// The captured bodies of one request.
#[derive(Default)]
pub(crate) struct BodyCapture {
    mode: Capture,
    captured: Captured,
}

impl BodyCapture {
    /// Starts with the request's body.
    pub(crate) fn new(mode: Capture, body: &[u8]) -> BodyCapture {
        let mut capture = BodyCapture { mode, captured: Captured::default() };
        if mode != Capture::None {
            append(body, &mut capture.captured.request, &mut capture.captured.cut);
        }
        capture
    }

    /// Adds the next bytes of the answer.
    pub(crate) fn add_answer(&mut self, bytes: &[u8]) {
        if self.mode != Capture::None {
            append(bytes, &mut self.captured.answer, &mut self.captured.cut);
        }
    }

    /// The bodies that the trace keeps. `failed` says whether the request went wrong.
    pub(crate) fn captured(&self, failed: bool) -> Option<Captured> {
        let wanted = match self.mode {
            Capture::None => false,
            Capture::Errors => failed,
            Capture::All => true,
        };
        wanted.then(|| self.captured.clone())
    }
}

fn append(bytes: &[u8], to: &mut Vec<u8>, cut: &mut bool) {
    let room = CAPTURED_BODY_BYTES_MAX.saturating_sub(to.len());
    *cut |= bytes.len() > room;
    to.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_bodies_are_bounded_and_marked_as_cut() {
        let mut kept = BodyCapture::new(Capture::All, b"prompt");
        kept.add_answer(&[b'x'; CAPTURED_BODY_BYTES_MAX - 1]);
        assert!(!kept.captured(false).expect("all are kept").cut);
        kept.add_answer(b"yz");
        let captured = kept.captured(false).expect("all are kept");
        assert_eq!(
            (captured.request.as_slice(), captured.answer.len(), captured.cut),
            (&b"prompt"[..], CAPTURED_BODY_BYTES_MAX, true)
        );
        assert!(captured.answer.ends_with(b"xy"));
    }

    #[test]
    fn only_requested_bodies_are_captured() {
        let kept = |mode| {
            let mut kept = BodyCapture::new(mode, b"prompt");
            kept.add_answer(b"answer");
            [false, true].map(|failed| kept.captured(failed).is_some())
        };
        assert_eq!(kept(Capture::None), [false, false]);
        assert_eq!(kept(Capture::Errors), [false, true]);
        assert_eq!(kept(Capture::All), [true, true]);
        assert!(BodyCapture::new(Capture::None, b"prompt").captured.request.is_empty());
    }
}

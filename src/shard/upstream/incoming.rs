//! The body of a provider's answer on its way in: reads, transfer decoding, and what it means when nothing more comes.

use super::pool::Line;
use super::{Answer, Failure, Forward, READ_BYTES, connect};
use crate::http::body::BodyDecoder;
use crate::http::wire::ShutdownReason;

/// A body that is being read from a line.
pub(crate) struct Incoming {
    pub(crate) decoder: BodyDecoder,
    /// Where in the line's buffer the next undecoded byte stands.
    at: usize,
}

impl Incoming {
    /// The body of `answer`, whose first bytes may stand behind the head in the line's buffer.
    pub(crate) fn new(answer: &Answer) -> Incoming {
        Incoming { decoder: BodyDecoder::new(answer.framing), at: answer.head_len }
    }

    /// Appends the payload of what was read. True when the body is over.
    pub(crate) fn decode(&mut self, line: &Line, into: &mut Vec<u8>) -> Result<bool, Failure> {
        let fresh = line.buf.get(self.at..).unwrap_or_default();
        self.at += self.decoder.feed(fresh, into).map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(self.decoder.is_done())
    }

    /// Reads more, all of what was read before being decoded. False is a legal end of the body.
    pub(crate) async fn more(&mut self, line: &mut Line, forward: &Forward<'_>) -> Result<bool, Failure> {
        line.buf.clear();
        self.at = 0;
        let until = line.wire.deadline(forward.provider.stream_idle_timeout);
        match (line.wire.read(&mut line.buf, READ_BYTES, until).await, line.wire.shutdown_reason()) {
            (Ok(n), _) if n > 0 => Ok(true),
            (_, ShutdownReason::DeadlinePassed) => Err(Failure::TimedOut),
            (_, ShutdownReason::CallerLeft) => Err(Failure::Abandoned),
            (Ok(_), ShutdownReason::None) => {
                self.decoder.end_of_input().map(|()| false).map_err(|error| Failure::Broken(error.to_string()))
            }
            (Err(error), ShutdownReason::None) => Err(Failure::Broken(connect::reason(&error))),
        }
    }

    /// Whether the body ended where it should, with nothing behind it: only then may the line carry another request.
    pub(crate) fn at_clean_end(&self, line: &Line) -> bool {
        self.decoder.is_done() && self.at == line.buf.len() && line.wire.shutdown_reason() == ShutdownReason::None
    }
}

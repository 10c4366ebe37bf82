//! The body of a provider's answer while it arrives: reads, transfer decoding, and what an end of the connection means.

use super::attempt::AnswerHead;
use super::failure::{Failure, reason};
use super::pool::{READ_BYTES, UpstreamConn};
use crate::http::body::BodyDecoder;
use crate::http::wire::ShutdownReason;
use crate::plan::Provider;

/// A body that is being read from a connection.
pub(crate) struct IncomingBody {
    pub(crate) decoder: BodyDecoder,
    /// Offset of the next undecoded byte in the connection's buffer.
    at: usize,
}

impl IncomingBody {
    /// The body behind `head`. Its first bytes may be in the connection's buffer already.
    pub(crate) fn new(head: &AnswerHead) -> IncomingBody {
        IncomingBody { decoder: BodyDecoder::new(head.framing), at: head.head_len }
    }

    /// Decodes what was read and appends it to `into`. Returns true when the body is over.
    pub(crate) fn decode(&mut self, conn: &UpstreamConn, into: &mut Vec<u8>) -> Result<bool, Failure> {
        let fresh = conn.buf.get(self.at..).unwrap_or_default();
        self.at += self.decoder.feed(fresh, into).map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(self.decoder.is_done())
    }

    /// Reads more. Everything read before must have been decoded. Returns false if the connection ended where the body may.
    pub(crate) async fn read(&mut self, conn: &mut UpstreamConn, provider: &Provider) -> Result<bool, Failure> {
        conn.buf.clear();
        self.at = 0;
        let until = conn.wire.deadline(provider.stream_idle_timeout);
        match (conn.wire.read(&mut conn.buf, READ_BYTES, until).await, conn.wire.shutdown_reason()) {
            (Ok(n), _) if n > 0 => Ok(true),
            (_, ShutdownReason::DeadlinePassed) => Err(Failure::TimedOut),
            (_, ShutdownReason::CallerLeft) => Err(Failure::Abandoned),
            (Ok(_), ShutdownReason::None) => {
                self.decoder.end_of_input().map(|()| false).map_err(|error| Failure::Broken(error.to_string()))
            }
            (Err(error), ShutdownReason::None) => Err(Failure::Broken(reason(&error))),
        }
    }

    /// Whether the body ended where it should, with nothing behind it. Only then may the connection carry another request.
    pub(crate) fn ended_cleanly(&self, conn: &UpstreamConn) -> bool {
        self.decoder.is_done() && self.at == conn.buf.len() && conn.wire.shutdown_reason() == ShutdownReason::None
    }
}

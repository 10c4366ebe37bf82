//! Why an attempt gave no answer to pass on, and what follows from it for the caller, the circuit breaker and the metrics.
//! Pure.

use crate::breaker::CallResult;
use crate::link::AttemptOutcome;
use crate::plan::Provider;
use crate::shard::answer::refusal::Refusal;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection.
    Unreachable(String),
    /// No connection in time: the provider has not seen the request.
    ConnectTimedOut,
    /// The answer did not begin, or stopped arriving, in time.
    TimedOut,
    /// The connection broke, or the answer is not valid.
    Broken(String),
    /// A pooled connection turned out to be closed before it gave a byte.
    Stale,
    /// An error status.
    Status { status: u16, retry_after_s: Option<u32> },
    /// The caller left.
    Abandoned,
}

impl Failure {
    pub(crate) fn outcome(&self) -> AttemptOutcome {
        match self {
            Failure::Unreachable(_) => AttemptOutcome::Unreachable,
            Failure::ConnectTimedOut | Failure::TimedOut => AttemptOutcome::TimedOut,
            Failure::Broken(_) => AttemptOutcome::Broken,
            Failure::Stale => AttemptOutcome::Stale,
            Failure::Status { .. } => AttemptOutcome::ServerError,
            Failure::Abandoned => AttemptOutcome::Abandoned,
        }
    }

    /// What the failure says about the provider's health.
    pub(crate) fn call_result(&self) -> CallResult {
        match self {
            Failure::Unreachable(_) | Failure::ConnectTimedOut | Failure::TimedOut | Failure::Broken(_) => {
                CallResult::Failure
            }
            Failure::Status { status, .. } => CallResult::of_status(*status),
            Failure::Stale | Failure::Abandoned => CallResult::Unknown,
        }
    }

    /// Whether it is certain that no byte of the request left luner: there was no connection to send it on.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Failure::Unreachable(_) | Failure::ConnectTimedOut)
    }

    /// The refusal for the caller, or `None` if the caller has left.
    pub(crate) fn refusal(self, provider: &Provider) -> Option<Refusal> {
        let provider = provider.name.clone();
        match self {
            Failure::Unreachable(reason) => Some(Refusal::Unreachable { provider, reason: reason.into() }),
            Failure::ConnectTimedOut | Failure::TimedOut => Some(Refusal::UpstreamTimeout { provider }),
            Failure::Broken(reason) => Some(Refusal::InvalidAnswer { provider, reason: reason.into() }),
            Failure::Stale => {
                Some(Refusal::InvalidAnswer { provider, reason: "it closed the connection without an answer".into() })
            }
            Failure::Status { status, retry_after_s } => {
                Some(Refusal::ProviderStatus { provider, status, retry_after_s })
            }
            Failure::Abandoned => None,
        }
    }

    /// Reason, type and code for the error event that ends a broken stream.
    pub(crate) fn stream_error(&self) -> (&str, &'static str, &'static str) {
        match self {
            Failure::TimedOut => ("nothing came in time", "timeout", "upstream_timeout"),
            Failure::Broken(reason) | Failure::Unreachable(reason) => (reason, "server_error", "provider_error"),
            _ => ("it ended early", "server_error", "provider_error"),
        }
    }
}

/// A short reason for an I/O error. It names no address: callers must not learn about the network behind the gateway.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        std::io::ErrorKind::ConnectionReset => "connection reset".into(),
        std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable => "no route to it".into(),
        std::io::ErrorKind::UnexpectedEof => "it closed the connection in the middle of a record".into(),
        kind => kind.to_string(),
    }
}

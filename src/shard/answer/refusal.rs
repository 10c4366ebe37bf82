//! Every reason to refuse a request: one enum, and one table with the status, type, code and source of each. Owned by the
//! request that is refused; only shards make refusals. A refusal never holds an amount, a key or a body.

use std::borrow::Cow;
use std::time::Duration;

use crate::dialect::openai::error::ErrorBody;
use crate::dialect::openai::facts_error::FactsError;
use crate::http::body::BodyError;
use crate::http::head::HeadError;
use crate::limit::{self, Limited};

/// Why a request gets no answer from a provider.
#[derive(Debug)]
pub enum Refusal {
    /// The head is malformed or ambiguous.
    Head(HeadError),
    /// The body's framing is malformed.
    Body(BodyError),
    /// The body is longer than the configuration allows, in bytes.
    BodyTooLarge { max: u64 },
    /// The caller closed its side in the middle of a request.
    Truncated,
    /// Bytes follow a request that ends the connection.
    BytesAfterClose,
    /// Head or body did not arrive in time.
    RequestTimeout,
    /// `Expect` asks for something other than `100-continue`.
    Expectation,
    /// `Upgrade` asks for another protocol.
    Upgrade,
    /// The body is not plain JSON.
    MediaType { header: &'static str },
    /// The path exists, but only for these methods.
    Method { allowed: &'static str },
    /// An identity header is too long or not printable.
    Identity { header: &'static str },
    /// A field of the body is missing, invalid or ambiguous.
    Facts(FactsError),
    /// No such path.
    NotFound,
    /// No provider for this model.
    ModelNotFound { model: Box<str> },
    /// A policy blocked it: the policy matched, or it failed to evaluate and blocks to be safe.
    Policy { policy: Box<str>, message: Option<Box<str>>, failed: bool },
    /// The model has no price, and the configuration allows only models that have one.
    Unpriced { model: Box<str> },
    /// The provider's rate limit is used up.
    RateLimited { provider: Box<str>, limited: Limited },
    /// The provider's circuit breaker is open.
    CircuitOpen { provider: Box<str>, retry_after: Duration },
    /// No connection to the provider.
    Unreachable { provider: Box<str>, reason: Cow<'static, str> },
    /// The provider's answer is not valid.
    InvalidAnswer { provider: Box<str>, reason: Cow<'static, str> },
    /// The provider answered with an error of its own.
    ProviderStatus { provider: Box<str>, status: u16, retry_after_s: Option<u32> },
    /// The provider did not answer in time.
    UpstreamTimeout { provider: Box<str> },
    /// The shard has reached its connection limit.
    TooManyConnections,
    /// The budget for the bodies of long requests is used up.
    BodyBudgetExhausted,
    /// The coordinator did not answer a management request in time.
    CoordinatorTimeout,
}

/// Who caused a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    /// The request is wrong.
    Caller,
    /// The operator's rules forbid the request.
    Policy,
    /// The provider failed.
    Provider,
    /// luner failed.
    Gateway,
}

impl ErrorSource {
    /// The value of the metric label `fault`.
    pub fn label(self) -> &'static str {
        match self {
            ErrorSource::Caller => "caller",
            ErrorSource::Policy => "policy",
            ErrorSource::Provider => "provider",
            ErrorSource::Gateway => "gateway",
        }
    }
}

/// How a refusal looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalRow {
    /// HTTP status.
    pub status: u16,
    /// OpenAI's `error.type`.
    pub kind: &'static str,
    /// OpenAI's `error.code`.
    pub code: Option<&'static str>,
    /// Who caused it.
    pub source: ErrorSource,
}

const fn row(status: u16, kind: &'static str, code: Option<&'static str>, source: ErrorSource) -> RefusalRow {
    RefusalRow { status, kind, code, source }
}

impl Refusal {
    /// The table.
    pub fn row(&self) -> RefusalRow {
        use ErrorSource::{Caller, Gateway, Policy, Provider};
        const INVALID: &str = "invalid_request_error";
        const FORBIDDEN: &str = "permission_error";
        match self {
            Refusal::Head(error) if error.is_too_large() => row(431, INVALID, Some("request_too_large"), Caller),
            Refusal::Head(_) | Refusal::Body(_) | Refusal::Truncated | Refusal::BytesAfterClose => {
                row(400, INVALID, None, Caller)
            }
            Refusal::Upgrade => row(400, INVALID, Some("upgrade_not_supported"), Caller),
            Refusal::Identity { .. } => row(400, INVALID, Some("invalid_identity"), Caller),
            Refusal::Facts(error) => row(400, INVALID, error.code(), Caller),
            Refusal::Policy { .. } => row(403, FORBIDDEN, Some("policy_violation"), Policy),
            Refusal::Unpriced { .. } => row(403, FORBIDDEN, Some("model_not_priced"), Policy),
            Refusal::NotFound => row(404, INVALID, Some("not_found"), Caller),
            Refusal::ModelNotFound { .. } => row(404, INVALID, Some("model_not_found"), Caller),
            Refusal::Method { .. } => row(405, INVALID, Some("method_not_allowed"), Caller),
            Refusal::RequestTimeout => row(408, "timeout", Some("request_timeout"), Caller),
            Refusal::BodyTooLarge { .. } => row(413, INVALID, Some("request_too_large"), Caller),
            Refusal::MediaType { .. } => row(415, INVALID, Some("unsupported_media_type"), Caller),
            Refusal::Expectation => row(417, INVALID, Some("expectation_failed"), Caller),
            Refusal::RateLimited { .. } => row(429, "requests", Some("rate_limit_exceeded"), Policy),
            Refusal::CircuitOpen { .. } => row(503, "service_unavailable_error", Some("overloaded"), Provider),
            Refusal::Unreachable { .. } | Refusal::InvalidAnswer { .. } => {
                row(502, "server_error", Some("provider_error"), Provider)
            }
            // Reached only when no other provider could be asked instead.
            Refusal::ProviderStatus { status: 429, .. } => row(429, "requests", Some("rate_limit_exceeded"), Provider),
            Refusal::ProviderStatus { status: 503, .. } => {
                row(503, "service_unavailable_error", Some("overloaded"), Provider)
            }
            Refusal::ProviderStatus { status: 504, .. } => row(504, "timeout", Some("upstream_timeout"), Provider),
            Refusal::ProviderStatus { .. } => row(502, "server_error", Some("provider_error"), Provider),
            Refusal::UpstreamTimeout { .. } => row(504, "timeout", Some("upstream_timeout"), Provider),
            Refusal::TooManyConnections | Refusal::BodyBudgetExhausted | Refusal::CoordinatorTimeout => {
                row(503, "service_unavailable_error", Some("overloaded"), Gateway)
            }
        }
    }

    /// What went wrong and where, for the caller. Quotes what the caller sent, never what the gateway holds.
    pub fn message(&self) -> Cow<'static, str> {
        match self {
            Refusal::Head(error) => format!("The request's head is not valid: {error}.").into(),
            Refusal::Body(error) => format!("The request's body is not valid: {error}.").into(),
            Refusal::BodyTooLarge { max } => {
                format!("The request's body is longer than the {max} bytes allowed.").into()
            }
            Refusal::Truncated => "The connection was closed in the middle of the request.".into(),
            Refusal::BytesAfterClose => "More bytes follow a request that ends the connection.".into(),
            Refusal::RequestTimeout => "The request did not arrive in time.".into(),
            Refusal::Expectation => "Only `Expect: 100-continue` is supported.".into(),
            Refusal::Upgrade => "Only HTTP/1.1 is supported; the header `upgrade` asks for another protocol.".into(),
            Refusal::MediaType { header } => {
                format!("The body must be plain JSON in UTF-8; see the header `{header}`.").into()
            }
            Refusal::Method { allowed } => format!("This method is not allowed on this path, only {allowed}.").into(),
            Refusal::Identity { header } => {
                format!("The header `{header}` must be at most 256 printable ASCII characters.").into()
            }
            Refusal::Facts(error) => error.to_string().into(),
            Refusal::NotFound => "There is no such path. The API is served under /v1.".into(),
            Refusal::ModelNotFound { model } => {
                format!("The model `{}` does not exist or no provider is configured for it.", printable(model)).into()
            }
            Refusal::Policy { policy, failed: true, .. } => {
                format!("The policy `{policy}` could not be evaluated for this request, so it is blocked.").into()
            }
            Refusal::Policy { policy, message: Some(message), .. } => {
                format!("Blocked by the policy `{policy}`: {message}").into()
            }
            Refusal::Policy { policy, .. } => format!("Blocked by the policy `{policy}`.").into(),
            Refusal::Unpriced { model } => {
                format!("The model `{}` has no price, and only models with a price may be used.", printable(model))
                    .into()
            }
            Refusal::RateLimited { provider, .. } => {
                format!("The rate limit of the provider `{provider}` is used up; try again later.").into()
            }
            Refusal::CircuitOpen { provider, .. } => {
                format!("The provider `{provider}` has failed too often and is paused; try again later.").into()
            }
            Refusal::Unreachable { provider, reason } => {
                format!("The provider `{provider}` could not be reached: {reason}.").into()
            }
            Refusal::InvalidAnswer { provider, reason } => {
                format!("The provider `{provider}` did not give a valid answer: {reason}.").into()
            }
            Refusal::ProviderStatus { provider, status, .. } => {
                format!("The provider `{provider}` answered with status {status}.").into()
            }
            Refusal::UpstreamTimeout { provider } => {
                format!("The provider `{provider}` did not answer in time.").into()
            }
            Refusal::TooManyConnections => "The gateway has reached its connection limit; try again.".into(),
            Refusal::BodyBudgetExhausted => {
                "The gateway is holding as many long requests as its memory budget allows; try again.".into()
            }
            Refusal::CoordinatorTimeout => "The gateway's coordinator did not answer in time; try again.".into(),
        }
    }

    /// OpenAI's `error.param`: the field of the request that is wrong.
    pub fn param(&self) -> Option<&str> {
        match self {
            Refusal::Facts(error) => error.param.as_deref(),
            Refusal::ModelNotFound { .. } | Refusal::Unpriced { .. } => Some("model"),
            _ => None,
        }
    }

    /// Appends the body.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        let row = self.row();
        ErrorBody { message: &self.message(), kind: row.kind, param: self.param(), code: row.code }.write(out);
    }

    /// The methods that the path allows, if the method was the problem.
    pub fn allowed(&self) -> Option<&'static str> {
        match self {
            Refusal::Method { allowed } => Some(allowed),
            _ => None,
        }
    }

    /// The policy that blocked the request.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Refusal::Policy { policy, .. } => Some(policy),
            _ => None,
        }
    }

    /// Appends the headers that say when to try again.
    pub fn write_retry_headers(&self, out: &mut Vec<u8>) {
        let line = |name: &str, write: &dyn Fn(&mut Vec<u8>), out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            write(out);
            out.extend_from_slice(b"\r\n");
        };
        let wait = |wait: Duration, out: &mut Vec<u8>| {
            line("retry-after", &|out| limit::write_retry_after_s(wait, out), out);
            line("retry-after-ms", &|out| limit::write_retry_after_ms(wait, out), out);
        };
        let count = |name: &str, count: u32, out: &mut Vec<u8>| {
            line(name, &|out| out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()), out);
        };
        match self {
            Refusal::ProviderStatus { retry_after_s: Some(seconds), .. } => count("retry-after", *seconds, out),
            Refusal::CircuitOpen { retry_after, .. } => wait(*retry_after, out),
            Refusal::RateLimited { limited: Limited { retry_after, standing }, .. } => {
                wait(*retry_after, out);
                count("x-ratelimit-limit-requests", standing.limit, out);
                count("x-ratelimit-remaining-requests", standing.remaining, out);
                line("x-ratelimit-reset-requests", &|out| limit::write_reset(standing.reset, out), out);
            }
            _ => {}
        }
    }
}

/// A caller's text for use in a message: control characters are replaced, and at most 100 characters are kept.
fn printable(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

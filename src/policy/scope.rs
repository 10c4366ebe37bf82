//! A request's variables as CEL values, handed to the interpreter by reference.
//! Built for each request on the stack of its shard.
//! Never allocates, and never copies a string.

use cel::common::types::{CelBool, CelDouble, CelInt, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::DateTime;

use crate::who::Who;

/// Everything that a policy can read about a request. [`super::Variable`] describes each variable. `Default` is a request
/// that specifies nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inputs<'a> {
    pub model: &'a str,
    /// Source of the variables `user_id`, `tenant_id` and `agent`.
    pub who: Who<&'a str>,
    pub provider: &'a str,
    pub endpoint: &'a str,
    pub stream: bool,
    pub temperature: f64,
    pub max_tokens: i64,
    pub request_count: i64,
    pub cost_usd: f64,
    pub tokens_used: i64,
    pub est_input_tokens: i64,
    pub est_cost_usd: f64,
    /// Milliseconds since 1970, UTC.
    pub now_ms: u64,
}

impl Default for Inputs<'_> {
    fn default() -> Self {
        Inputs {
            model: "",
            who: Who::default(),
            provider: "",
            endpoint: "",
            stream: false,
            temperature: 1.0, // OpenAI's default
            max_tokens: 0,
            request_count: 0,
            cost_usd: 0.0,
            tokens_used: 0,
            est_input_tokens: 0,
            est_cost_usd: 0.0,
            now_ms: 0,
        }
    }
}

/// End of the year 9999, in milliseconds since 1970. CEL has no later timestamps.
const NOW_MS_MAX: u64 = 253_402_300_799_999;

/// Resolves variable names to their values, and `@0`, `@1`, … to the constants of the plan's policies.
pub(super) struct Scope<'a> {
    model: CelString<'a>,
    who: Who<CelString<'a>>,
    provider: CelString<'a>,
    endpoint: CelString<'a>,
    stream: CelBool,
    temperature: CelDouble,
    max_tokens: CelInt,
    request_count: CelInt,
    cost_usd: CelDouble,
    tokens_used: CelInt,
    est_input_tokens: CelInt,
    est_cost_usd: CelDouble,
    now: CelTimestamp,
    constants: &'a [Box<dyn Val>],
}

impl<'a> Scope<'a> {
    pub(super) fn new(inputs: &Inputs<'a>, constants: &'a [Box<dyn Val>]) -> Scope<'a> {
        let now_ms = inputs.now_ms.min(NOW_MS_MAX) as i64;
        Scope {
            model: inputs.model.into(),
            who: inputs.who.map(Into::into),
            provider: inputs.provider.into(),
            endpoint: inputs.endpoint.into(),
            stream: inputs.stream.into(),
            temperature: inputs.temperature.into(),
            max_tokens: inputs.max_tokens.into(),
            request_count: inputs.request_count.into(),
            cost_usd: inputs.cost_usd.into(),
            tokens_used: inputs.tokens_used.into(),
            est_input_tokens: inputs.est_input_tokens.into(),
            est_cost_usd: inputs.est_cost_usd.into(),
            now: DateTime::from_timestamp_millis(now_ms).unwrap_or_default().fixed_offset().into(),
            constants,
        }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let value: &'b (dyn Val + 'b) = match name {
            "model" => &self.model,
            "user_id" => &self.who.user,
            "tenant_id" => &self.who.tenant,
            "agent" => &self.who.agent,
            "provider" => &self.provider,
            "endpoint" => &self.endpoint,
            "stream" => &self.stream,
            "temperature" => &self.temperature,
            "max_tokens" => &self.max_tokens,
            "request_count" => &self.request_count,
            "cost_usd" => &self.cost_usd,
            "tokens_used" => &self.tokens_used,
            "est_input_tokens" => &self.est_input_tokens,
            "est_cost_usd" => &self.est_cost_usd,
            "now" => &self.now,
            _ => self.constants.get(name.strip_prefix('@')?.parse::<usize>().ok()?)?.as_ref(),
        };
        Some(CowVal::Borrowed(value))
    }
}

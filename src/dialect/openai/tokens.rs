//! The names of token counts that luner took over from OpenAI for its own logs, REST fields and exports. Callers rely on
//! them, so they stay, whatever dialect a provider speaks. Plain values.

use schemars::JsonSchema;
use serde::Serialize;

/// Log field and export column of the input tokens.
pub const PROMPT_TOKENS: &str = "prompt_tokens";
/// Log field and export column of the output tokens.
pub const COMPLETION_TOKENS: &str = "completion_tokens";

/// Token counts under these names, to be flattened into an object of the REST API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TokenFields {
    /// Part of `total_tokens`.
    #[serde(rename = "prompt_tokens")]
    pub input: u64,
    /// Part of `total_tokens`.
    #[serde(rename = "completion_tokens")]
    pub output: u64,
    /// Part of `prompt_tokens`: read from the provider's cache.
    #[serde(rename = "cached_tokens")]
    pub cache_read: u64,
    /// Part of `prompt_tokens`: written to the provider's cache.
    #[serde(rename = "cache_write_tokens")]
    pub cache_write: u64,
    /// Part of `completion_tokens`.
    #[serde(rename = "reasoning_tokens")]
    pub reasoning: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_the_names_on_which_callers_rely() {
        let fields = TokenFields { input: 1, output: 2, cache_read: 3, cache_write: 4, reasoning: 5 };
        let expected = serde_json::json!({
            PROMPT_TOKENS: 1, COMPLETION_TOKENS: 2, "cached_tokens": 3, "cache_write_tokens": 4,
            "reasoning_tokens": 5,
        });
        assert_eq!(serde_json::to_value(fields).expect("numbers serialise"), expected);
    }
}

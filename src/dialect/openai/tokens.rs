//! The names of token counts that luner took over from OpenAI for its own logs, REST fields and exports. Callers rely on
//! them, so they stay, whatever dialect a provider speaks. Plain values.

/// Log field and export column of the input tokens.
pub const PROMPT_TOKENS: &str = "prompt_tokens";
/// Log field and export column of the output tokens.
pub const COMPLETION_TOKENS: &str = "completion_tokens";

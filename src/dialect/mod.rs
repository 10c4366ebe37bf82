//! Provider dialects: each submodule reads and writes the wire shapes of one vendor's API, and nothing outside this folder
//! names a vendor's fields. Pure functions, used on every shard.

// OpenAI: chat completions, completions, embeddings, responses, models.
pub mod openai;

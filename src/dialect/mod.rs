//! Provider dialects: each submodule reads and writes the wire formats of one vendor's API. Nothing outside this folder
//! names a vendor's fields. Pure functions, used on every shard.

// OpenAI: chat completions, completions, embeddings, responses, models.
pub mod openai;

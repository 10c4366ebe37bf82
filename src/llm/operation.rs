//! The operations that luner governs, and their names in OpenTelemetry's conventions.
//! The paths that a vendor gives them are in its dialect.

/// The kind of work that a caller requests from a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A conversation as a list of messages.
    Chat,
    /// The continuation of a plain text prompt.
    Completion,
    /// Vectors for texts.
    Embeddings,
    /// A conversation as a list of items, with state at the provider if the caller wants it.
    Responses,
}

impl Operation {
    /// Every operation, in the order of their discriminants: tables by operation are indexed with `operation as usize`.
    pub const ALL: [Operation; 4] =
        [Operation::Chat, Operation::Completion, Operation::Embeddings, Operation::Responses];

    /// `gen_ai.operation.name` of OpenTelemetry's GenAI conventions. They list no name for Responses and require a
    /// well-known value wherever one applies, so a Responses call is a `chat`.
    pub fn gen_ai_name(self) -> &'static str {
        match self {
            Operation::Chat | Operation::Responses => "chat",
            Operation::Completion => "text_completion",
            Operation::Embeddings => "embeddings",
        }
    }
}

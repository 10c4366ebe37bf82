//! The paths of the OpenAI API, and the option that differs between its operations.
//! Pure tables.

use crate::llm::Operation;

/// The path of an operation, as in the request line.
pub fn of(operation: Operation) -> &'static str {
    match operation {
        Operation::Chat => "/v1/chat/completions",
        Operation::Completion => "/v1/completions",
        Operation::Embeddings => "/v1/embeddings",
        Operation::Responses => "/v1/responses",
    }
}

/// The operation of exactly this path.
pub fn operation(path: &str) -> Option<Operation> {
    Operation::ALL.into_iter().find(|&operation| of(operation) == path)
}

/// Returns whether a stream reports its usage only if `stream_options.include_usage` asks for it. Responses always
/// reports it and has no such option; embeddings do not stream.
pub fn reports_usage_on_request(operation: Operation) -> bool {
    matches!(operation, Operation::Chat | Operation::Completion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_operation_are_inverse() {
        for operation in Operation::ALL {
            assert_eq!(super::operation(of(operation)), Some(operation));
        }
        for path in ["/v1/chat/completions/", "/V1/embeddings", "/v1/chat", ""] {
            assert_eq!(super::operation(path), None);
        }
    }
}

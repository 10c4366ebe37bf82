//! Answers of the REST API: at once, from the store's reader, or later. Values, made on the coordinator.

use serde::Serialize;

use super::error::ApiError;
use super::media::JSON;
use crate::coordinator::helpers::read_thread::{NoReader, Question};
use crate::coordinator::store::reader::Reader;
use crate::link::ApiAnswer;

/// What is to become of a call.
pub(crate) enum Reply {
    Now(ApiAnswer),
    /// The store is to be asked.
    Read(Question),
    /// Somebody else answers.
    Later,
}

impl Reply {
    /// An answer that the store is needed for.
    pub(crate) fn read(work: impl FnOnce(&Reader) -> Result<ApiAnswer, ApiError> + Send + 'static) -> Reply {
        Reply::Read(Box::new(move |reader: Result<&Reader, NoReader>| {
            reader.map_err(ApiError::from).and_then(work).unwrap_or_else(Into::into)
        }))
    }
}

impl From<ApiAnswer> for Reply {
    fn from(answer: ApiAnswer) -> Reply {
        Reply::Now(answer)
    }
}

/// 200, 201, …, with a value as JSON.
pub(crate) fn json(status: u16, value: &impl Serialize) -> ApiAnswer {
    whole(status, serde_json::to_vec(value).expect("numbers, texts and maps with texts as keys serialise"))
}

pub(crate) fn whole(status: u16, body: Vec<u8>) -> ApiAnswer {
    ApiAnswer { status, content_type: JSON, headers: Vec::new(), body, stream: None }
}

/// 204, with these headers.
pub(crate) fn nothing(headers: Vec<(&'static str, String)>) -> ApiAnswer {
    ApiAnswer { headers, ..whole(204, Vec::new()) }
}

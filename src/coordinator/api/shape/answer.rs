//! Answers of the REST API: given at once, by the thread that reads the store, or by somebody else later. Plain values.

use serde::Serialize;

use super::error::ApiError;
use super::media::JSON;
use crate::coordinator::helpers::read_thread::{NoReader, Question};
use crate::coordinator::store::reader::Reader;
use crate::link::ApiAnswer;

/// How a call gets its answer.
pub(crate) enum Reply {
    Now(ApiAnswer),
    /// The thread that reads the store answers this.
    Read(Question),
    /// The handler has passed the call on to somebody who answers it.
    Later,
}

impl Reply {
    /// An answer made from the store.
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

/// An answer with `value` as JSON.
pub(crate) fn json(status: u16, value: &impl Serialize) -> ApiAnswer {
    json_text(status, serde_json::to_vec(value).expect("numbers, texts and maps with texts as keys serialise"))
}

/// An answer with a body that is JSON already.
pub(crate) fn json_text(status: u16, body: Vec<u8>) -> ApiAnswer {
    ApiAnswer { status, content_type: JSON, headers: Vec::new(), body, stream: None }
}

/// 204 with these headers.
pub(crate) fn no_content(headers: Vec<(&'static str, String)>) -> ApiAnswer {
    ApiAnswer { headers, ..json_text(204, Vec::new()) }
}

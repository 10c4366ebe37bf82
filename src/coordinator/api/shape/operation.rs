//! One operation of the REST API as a value: what the router, the parameter reader and the OpenAPI document need to know
//! about it, and the function that answers it. Constants alone.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::answer::Reply;
use super::error::ApiError;
use super::parameter::{Query, Values};
use crate::coordinator::state::State;
use crate::http::head::Method;
use crate::link::ApiCall;

/// One method of one path.
pub(crate) struct ApiOperation {
    pub(crate) method: Method,
    /// A segment in braces matches any segment that is not empty.
    pub(crate) path: &'static str,
    /// `operationId` in the document.
    pub(crate) name: &'static str,
    pub(crate) handler: Handler,
    /// One line for the document.
    pub(crate) summary: &'static str,
    pub(crate) access: Access,
    pub(crate) query: Query,
    /// Schema of the request's body, if it has one.
    pub(crate) body: Option<ShapeOf>,
    /// Statuses and contents of the answers that are not refusals.
    pub(crate) answers: &'static [(u16, Content)],
    /// Statuses of refusals, besides those that follow from the other fields.
    pub(crate) refusals: &'static [u16],
    /// Whether it changes something that a process that takes over would not know of.
    pub(crate) changes_state: bool,
    /// Whether the answer must include what the shards counted until now.
    pub(crate) needs_fresh_counts: bool,
}

/// Answers an operation.
pub(crate) type Handler = fn(&mut State, Arguments<'_>) -> Result<Reply, ApiError>;

/// The inputs of a handler.
pub(crate) struct Arguments<'a> {
    pub(crate) call: &'a ApiCall,
    pub(crate) values: Values,
    /// The segment of the path that stands where the operation's path has braces; empty if it has none.
    pub(crate) id: String,
    /// The caller as the audit names it; empty on open operations.
    pub(crate) actor: String,
}

impl Arguments<'_> {
    pub(crate) fn body(&self) -> &[u8] {
        &self.call.request.body
    }
}

/// The callers that may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone: the answer shows nothing about callers, keys or policies.
    Open,
    /// Everyone, to sign in and out.
    SignIn,
    /// Callers that the access rules let through.
    Guarded,
}

/// The body of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nothing,
    Json(ShapeOf),
    /// Text of this media type.
    Text(&'static str),
    /// Rows as JSON of this shape, or as CSV.
    Rows(ShapeOf),
}

/// Generates the schema of a type.
pub(crate) type ShapeOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub(crate) fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// The schema of a value that is an `A` or a `B`.
pub(crate) fn either<A: JsonSchema, B: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    let (a, b) = (of::<A>(schemas), of::<B>(schemas));
    schemars::json_schema!({ "anyOf": [a, b] })
}

impl ApiOperation {
    /// A guarded operation without parameters and body that answers 204.
    pub(crate) const fn new(
        method: Method,
        path: &'static str,
        name: &'static str,
        handler: Handler,
        summary: &'static str,
    ) -> ApiOperation {
        ApiOperation {
            method,
            path,
            name,
            handler,
            summary,
            access: Access::Guarded,
            query: Query::Known(&[]),
            body: None,
            answers: &[(204, Content::Nothing)],
            refusals: &[],
            changes_state: false,
            needs_fresh_counts: false,
        }
    }

    pub(crate) const fn open_to(self, access: Access) -> ApiOperation {
        ApiOperation { access, ..self }
    }

    pub(crate) const fn query(self, query: Query) -> ApiOperation {
        ApiOperation { query, ..self }
    }

    pub(crate) const fn takes(self, body: ShapeOf) -> ApiOperation {
        ApiOperation { body: Some(body), ..self }
    }

    pub(crate) const fn answers(self, answers: &'static [(u16, Content)]) -> ApiOperation {
        ApiOperation { answers, ..self }
    }

    pub(crate) const fn refuses(self, refusals: &'static [u16]) -> ApiOperation {
        ApiOperation { refusals, ..self }
    }

    pub(crate) const fn changes_state(self) -> ApiOperation {
        ApiOperation { changes_state: true, ..self }
    }

    pub(crate) const fn needs_fresh_counts(self) -> ApiOperation {
        ApiOperation { needs_fresh_counts: true, ..self }
    }
}

/// The method as HTTP spells it.
pub(crate) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        _ => "DELETE",
    }
}

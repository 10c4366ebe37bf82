//! Makes the OpenAPI 3.1 document from the table of operations and the types that are sent. Pure; every process of one
//! version makes the same.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::error::ErrorDetail;
use super::media::{CSV, JSON};
use super::operation::{Access, ApiOperation, Content, method_name};
use super::parameter::Parameter;
use crate::names;

const COMPONENTS: &str = "/components/schemas";

/// The document as text.
pub(crate) fn document(operations: &[ApiOperation]) -> String {
    let mut text = serde_json::to_string_pretty(&value(operations)).expect("texts and maps serialise");
    text.push('\n');
    text
}

/// Generators of schemas, one for answers and one for bodies: a field with a default is always present in an answer and may
/// be missing in a body.
struct Schemas {
    sent: SchemaGenerator,
    taken: SchemaGenerator,
}

fn value(operations: &[ApiOperation]) -> Value {
    let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = COMPONENTS.into());
    let mut schemas = Schemas {
        sent: settings().for_serialize().into_generator(),
        taken: settings().for_deserialize().into_generator(),
    };
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[method_name(operation.method).to_ascii_lowercase()] = schemas.operation(operation);
    }
    let mut components = schemas.sent.take_definitions(true);
    for (name, schema) in schemas.taken.take_definitions(true) {
        components.entry(name).or_insert(schema);
    }
    components.insert("Error".into(), error_schema().into());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "luner",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Traces, sums, policies and state of the AI gateway luner.",
            "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "server.admin.token" },
                "session": { "type": "apiKey", "in": "cookie", "name": names::SESSION_COOKIE },
            },
        },
    })
}

impl Schemas {
    fn operation(&mut self, operation: &ApiOperation) -> Value {
        let mut parameters: Vec<Value> = path_parameter(operation.path).into_iter().collect();
        parameters.extend(operation.query.parameters().map(query_parameter));
        let mut shown = json!({
            "operationId": operation.name,
            "summary": operation.summary,
            "responses": self.responses(operation),
        });
        if !parameters.is_empty() {
            shown["parameters"] = parameters.into();
        }
        if let Some(body) = operation.body {
            let schema = body(&mut self.taken);
            shown["requestBody"] = json!({ "required": true, "content": { JSON: { "schema": schema } } });
        }
        if operation.access == Access::Guarded {
            // The empty one is for callers on the same machine, who need nothing while no token is set.
            shown["security"] = json!([{ "token": [] }, { "session": [] }, {}]);
        }
        shown
    }

    fn responses(&mut self, operation: &ApiOperation) -> Value {
        let mut responses = Map::new();
        for status in refusals(operation) {
            let content = json!({ JSON: { "schema": { "$ref": format!("#{COMPONENTS}/Error") } } });
            responses.insert(status.to_string(), json!({ "description": "refused", "content": content }));
        }
        for (status, content) in operation.answers {
            let content = match content {
                Content::Nothing => json!({}),
                Content::Json(shape) => json!({ JSON: { "schema": shape(&mut self.sent) } }),
                Content::Text(media) => json!({ *media: { "schema": { "type": "string" } } }),
                Content::Rows(shape) => json!({
                    JSON: { "schema": shape(&mut self.sent) },
                    CSV.split(';').next().unwrap_or_default(): { "schema": { "type": "string" } },
                }),
            };
            let key = status.to_string();
            let mut response = json!({ "description": if *status < 300 { "done" } else { "refused" } });
            if content != json!({}) {
                response["content"] = content;
            }
            if let Some(refusal) = responses.get(&key) {
                let either = [&refusal["content"][JSON]["schema"], &response["content"][JSON]["schema"]];
                response["content"][JSON]["schema"] = json!({ "anyOf": either });
            }
            responses.insert(key, response);
        }
        responses.into()
    }
}

/// Every status that may refuse an operation.
fn refusals(operation: &ApiOperation) -> Vec<u16> {
    // The shard itself refuses with these: the head is malformed, or the coordinator is busy.
    let mut refusals = vec![400, 503];
    if operation.access == Access::Guarded {
        refusals.extend([401, 403, 429]);
    }
    if operation.body.is_some() {
        refusals.extend([413, 415]);
    }
    if operation.path.contains('{') {
        refusals.push(404);
    }
    refusals.extend(operation.refusals);
    refusals.sort_unstable();
    refusals.dedup();
    refusals
}

fn path_parameter(path: &str) -> Option<Value> {
    let (name, _) = path.split_once('{')?.1.split_once('}')?;
    let schema = match name {
        "trace_id" => json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
        _ => json!({ "type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$" }),
    };
    Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
}

fn query_parameter(parameter: &Parameter) -> Value {
    let Parameter { name, kind, about } = parameter;
    json!({ "name": name, "in": "query", "description": about, "schema": kind.schema() })
}

/// OpenAI's error, with the list of mistakes in a body beside it.
fn error_schema() -> Schema {
    // Inlined, because it is small and used nowhere else.
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let detail = generator.subschema_for::<ErrorDetail>();
    json_schema!({
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "param": { "type": ["string", "null"] },
                    "code": { "type": ["string", "null"] },
                },
                "required": ["message", "type", "param", "code"],
                "additionalProperties": false,
            },
            "details": { "type": "array", "items": detail },
        },
        "required": ["error"],
        "additionalProperties": false,
    })
}

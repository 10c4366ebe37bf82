//! The OpenAPI 3.1 document, made of the table of operations and of the types that are sent. Pure; the same for all
//! processes of one version. It never describes what the router does not know.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::error::Detail;
use super::media::{CSV, JSON};
use super::parameter::Parameter;
use crate::coordinator::api::operations::OPERATIONS;
use crate::coordinator::api::route::{Access, Content, Operation, Query, name};
use crate::names;

/// As it is sent and written into the tree.
pub(crate) static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).expect("texts and maps serialise");
    text.push('\n');
    text
});

/// One generator for what is sent, one for what is taken: a field with a default is always there in an answer, and may be
/// missing in a body.
struct Schemas {
    sent: SchemaGenerator,
    taken: SchemaGenerator,
}

fn document() -> Value {
    let settings = || SchemaSettings::draft2020_12().with(|it| it.definitions_path = COMPONENTS.into());
    let mut schemas = Schemas {
        sent: settings().for_serialize().into_generator(),
        taken: settings().for_deserialize().into_generator(),
    };
    let mut paths = Map::new();
    for operation in &OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[name(operation.method).to_ascii_lowercase()] = schemas.operation(operation);
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

const COMPONENTS: &str = "/components/schemas";

impl Schemas {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut parameters: Vec<Value> = path_parameter(operation.path).into_iter().collect();
        if let Query::Known(known) = operation.query {
            parameters.extend(known.iter().map(|parameter| query_parameter(parameter)));
        }
        let mut shown = json!({
            "operationId": format!("{:?}", operation.does),
            "summary": operation.about,
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
            // Or none: without a token, callers on the same machine need nothing.
            shown["security"] = json!([{ "token": [] }, { "session": [] }, {}]);
        }
        shown
    }

    fn responses(&mut self, operation: &Operation) -> Value {
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

/// Every status with which an operation may be refused.
fn refusals(operation: &Operation) -> Vec<u16> {
    // What the shard itself refuses: a head that is none, and a coordinator that is busy.
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

/// OpenAI's error, and beside it each thing that is wrong with a body.
fn error_schema() -> Schema {
    // `Detail` is small and stands nowhere else.
    let mut generator = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true).into_generator();
    let detail = generator.subschema_for::<Detail>();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let known = document["components"]["schemas"].as_object().unwrap();
        let mut open = vec![&document];
        let mut references = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        references += 1;
                        let name = target.strip_prefix("#/components/schemas/").unwrap();
                        assert!(known.contains_key(name), "{target}");
                    }
                    open.extend(map.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
        assert!(references > 50, "{references}");
    }

    #[test]
    fn the_tree_holds_the_document_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/openapi.json");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == *TEXT, "run `make openapi`");
    }
}

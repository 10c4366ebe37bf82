//! The JSON Schemas of single values whose type says too little. The `x-` keywords are for `check.rs` only.
//! Used when the schema is generated, on the coordinator or by `luner schema`.
//! Never published as they are: `schema.rs` removes the `x-` keywords.

use schemars::{Schema, SchemaGenerator, json_schema};

pub(super) fn listen(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": ":[0-9]{1,5}$", "x-check": "listen" })
}

pub(super) fn base_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^/([A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)?$", "maxLength": 256, "x-check": "base_path" })
}

pub(super) fn timeout(_: &mut SchemaGenerator) -> Schema {
    duration("1ms", "24h")
}

pub(super) fn ttl(_: &mut SchemaGenerator) -> Schema {
    duration("1s", "365d")
}

pub(super) fn head_bytes(_: &mut SchemaGenerator) -> Schema {
    bytes("1KiB", "1MiB")
}

pub(super) fn body_bytes(_: &mut SchemaGenerator) -> Schema {
    bytes("1KiB", "1GiB")
}

pub(super) fn held_bytes(_: &mut SchemaGenerator) -> Schema {
    bytes("1MiB", "16TiB")
}

pub(super) fn cache_bytes(_: &mut SchemaGenerator) -> Schema {
    bytes("64KiB", "16TiB")
}

pub(super) fn database_bytes(_: &mut SchemaGenerator) -> Schema {
    bytes("1MiB", "1024TiB")
}

pub(super) fn token(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "x-check": "token", "x-secret": true })
}

pub(super) fn api_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "x-check": "api_key", "x-secret": true })
}

pub(super) fn hosts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": "^[A-Za-z0-9._:\\[\\]-]+$", "x-check": "host" } })
}

pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$", "x-check": "name" })
}

pub(super) fn base_url(_: &mut SchemaGenerator) -> Schema {
    // Marked as secret so that no message repeats it: it may wrongly contain a password.
    json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^@?#\\s]+$", "x-check": "base_url", "x-secret": true })
}

pub(super) fn models(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "items": { "type": "string", "pattern": "^([^*\\s]+\\*?|\\*)$", "maxLength": 256, "x-check": "model_pattern" },
    })
}

pub(super) fn downgrade(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "type": "string", "x-check": "model" },
        "additionalProperties": { "type": "string", "pattern": "^[^*\\s]+$", "maxLength": 256, "x-check": "model" },
    })
}

pub(super) fn path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "x-check": "path" })
}

fn duration(least: &str, most: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": "^([0-9]+(d|h|ms|m|s))+$", "x-check": "duration", "x-min": least, "x-max": most })
}

fn bytes(least: &str, most: &str) -> Schema {
    json_schema!({
        "type": ["string", "integer"],
        "pattern": "^[0-9]+ ?([KMGTkmgt]?[Ii]?[Bb])?$",
        "minimum": 0,
        "x-check": "bytes",
        "x-min": least,
        "x-max": most,
    })
}

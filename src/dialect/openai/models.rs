//! The answers to `GET /v1/models` and `GET /v1/models/{id}`.
//! Pure. Names and owners come from the configuration.

use crate::json::write_string;

/// Appends `{"id":…,"object":"model","created":…,"owned_by":…}`; `created` is in seconds since 1970.
pub fn write_model(id: &str, owned_by: &str, created: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    write_string(id, out);
    out.extend_from_slice(b",\"object\":\"model\",\"created\":");
    out.extend_from_slice(itoa::Buffer::new().format(created).as_bytes());
    out.extend_from_slice(b",\"owned_by\":");
    write_string(owned_by, out);
    out.push(b'}');
}

/// Appends `{"object":"list","data":[…]}` for pairs of id and owner. All models share one `created`.
pub fn write_models<'a>(models: impl IntoIterator<Item = (&'a str, &'a str)>, created: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (at, (id, owned_by)) in models.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_model(id, owned_by, created, out);
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_models_has_openais_format() {
        let mut out = Vec::new();
        write_models([("gpt-4o", "openai"), ("a\"b", "x")], 1_700_000_000, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            r#"{"object":"list","data":[{"id":"gpt-4o","object":"model","created":1700000000,"owned_by":"openai"},{"id":"a\"b","object":"model","created":1700000000,"owned_by":"x"}]}"#
        );
        out.clear();
        write_models([], 0, &mut out);
        assert_eq!(out, br#"{"object":"list","data":[]}"#);
    }
}
